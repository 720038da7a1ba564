"""Baselines' lines across: a name a line, and none on another, however close they are."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalora_kit.figures.pictures.across import NAME_HEIGHT, RIVAL_LINES, name_spots, rival_lines
from lalora_kit.trial.rivals import Rival

CLOSE = [Rival("head-only", 3.0, 8, 1.0, [[0.52]]), Rival("linear", 3.0, 8, 1.0, [[0.5]])]


@given(st.lists(st.floats(0.1, 0.95), max_size=RIVAL_LINES))
def test_names_keep_a_distance_and_the_order_of_their_lines(levels):
    spots = name_spots(levels)
    assert all(high - low >= 0.99 * NAME_HEIGHT for low, high in itertools.pairwise(sorted(spots)))
    pairs = list(zip(levels, spots, strict=True))
    assert all(one < other for low, one in pairs for high, other in pairs if low < high)
    assert all(0 <= spot <= 1 + NAME_HEIGHT for spot in spots)


@given(st.lists(st.floats(0.1, 0.7), min_size=1, max_size=RIVAL_LINES))
def test_no_line_goes_through_a_name(levels):
    spots = name_spots(levels)
    assert all(abs(spot - line) >= 0.49 * NAME_HEIGHT for spot in spots for line in levels)


def test_a_name_stands_apart_from_its_line_and_is_no_part_of_it():
    first, second, blank = rival_lines(CLOSE, (0.0, 10.0))
    assert first["y"][:3] == [0.52] * 3 and first["y"][3] is None and first["x"] == [0.0, 5.0, 10.0, None, 10.0]
    assert first["text"][-1] == "head-only 52.0%" and first["hovertemplate"] == "52.0%"
    assert first["y"][4] > 0.52 and second["y"][4] < 0.5 and blank["x"] == []
    assert rival_lines(CLOSE, (0.0, 10.0), named_left=True)[0]["x"][-1] == 0.0
    assert name_spots([]) == [] and name_spots([0.5]) == [pytest.approx(0.5 + NAME_HEIGHT / 2)]
    assert not any(math.isnan(spot) for spot in name_spots([0.3] * 3))
