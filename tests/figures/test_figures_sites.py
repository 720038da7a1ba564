"""Figures of lesson 09: they draw what they are given, and their titles say what was found."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lalora_kit.figures.sites.across import (
    KINDS,
    AcrossView,
    across_figure,
    across_title,
    ledgers_figure,
    replay_figure,
)
from lalora_kit.figures.sites.picture import Drawn, federation

ROUNDS = [SimpleNamespace(round=t, accuracy=t / 10) for t in (1, 2)]
TRAVELS = dict(zip(KINDS, (21_000, 20_000, 400), strict=True))
VIEW = AcrossView(ROUNDS, ROUNDS, 5, 0.0, 2, TRAVELS, 1.25, 700_000)


@pytest.mark.parametrize("done", [[], ROUNDS])
def test_both_curves_and_a_bar_a_kind_whatever_there_is(done):
    figure = across_figure(replace(VIEW, sites=done, simulator=done, apart=0.0 if done else None))
    assert len(figure.data) == 2 + len(KINDS) + 1
    assert [len(trace.x) for trace in figure.data[:2]] == [len(done)] * 2
    assert [trace.x[0] for trace in figure.data[2:]] == [21, 20, 0.4, 700] and figure.data[4].text == ("400 B",)
    assert figure.data[3].text == ("20 kB, σ 1.25",)
    json.loads(figure.to_json())


def test_the_title_says_how_far_apart_the_two_are_or_what_would_be_sent():
    assert "to the last bit" in across_title(VIEW)
    assert "3e-08 apart" in across_title(replace(VIEW, apart=3e-8))
    assert "20 kB a round, and no sample" in across_title(replace(VIEW, apart=None, sites=[], simulator=[]))


def test_a_replay_is_drawn_against_the_truth():
    figure = replay_figure([0.0, 1.0], [5.0, -5.0], [0.0, 1.0], "a finding")
    assert figure.data[0].y == (5.0, -5.0) and figure.data[2].y == figure.data[2].x == (0.0, 1.0)


def test_ledgers_are_a_bar_a_site_each():
    figure = ledgers_figure({"own": [1.0, 2.0], "server": [1.0, 2.5]}, ["north", "south"], "a finding")
    assert [trace.y for trace in figure.data] == [(1.0, 2.0), (1.0, 2.5)]
    assert len({(trace.marker.color, trace.marker.pattern.shape) for trace in figure.data}) == 2


@pytest.mark.parametrize(("count", "more"), [(1, ""), (2, ""), (3, "and 1 more site"), (5, "and 3 more sites")])
def test_the_picture_holds_numbers_and_samples_and_tells_of_sites_that_are_not_drawn(count, more):
    sample = np.linspace(0, 1, 64).reshape(8, 8)
    picture = federation(
        [Drawn(f"<{n}>", 1100 + n, [sample] * 4) for n in range(count)], 21_232, 20_632, "What travels"
    )
    root = ET.fromstring(picture.svg())
    said = " ".join(root.itertext())
    assert "<0>" in said and "1,100 samples" in said and "up: 21 kB" in said and more in said
    assert ("more" in said) == bool(more) and "20,632 bytes up" in picture.alt
    images = list(root.iter("{http://www.w3.org/2000/svg}image"))
    assert len(images) == 3 * min(count, 2) and all(one.get("href").startswith("data:image/png") for one in images)
    ways = [one for one in root.iter("{http://www.w3.org/2000/svg}circle") if "moves" in one.get("class")]
    assert len(ways) == 2 * min(count, 2), "a dot each way, still for whoever asks for less motion"
