"""Pictures: drawn from the numbers that they are given, whole without motion, and told in words."""

import re

import numpy as np
import pytest

from lalora_kit.figures.pictures.digits import digits_picture
from lalora_kit.figures.pictures.frame import tag
from lalora_kit.figures.pictures.round import LOOKS, round_picture
from lalora_kit.lessons.oneround import OneRound

PATHS = [[(0.0, 0.0), (1.0, 1.0), (2.0, 1.0)], [(0.0, 0.0), (1.0, -1.0), (2.0, -1.0)]]
SEEN = OneRound(PATHS, (2.0, 0.0), ["B", "A"], [2.5, 2.5], 2.0)


def test_a_round_draws_every_step_of_every_client_in_its_factors_look():
    body = round_picture(SEEN, "A round").body
    for factor in "BA":
        assert len(re.findall(rf"<line [^>]*stroke='{LOOKS[factor][0]}'", body)) == 2
    assert "1: B trains" in body and "2: A trains" in body and "2.50" in body and "2.00" in body
    assert LOOKS["B"][1] != LOOKS["A"][1], "dashes tell them apart in grey print"
    x1, x2 = (float(x) for x in re.search(r"<line x1='([\d.]+)'[^>]*x2='([\d.]+)'[^>]*stroke-width='4'", body).groups())
    ends = [float(x) for x in re.findall(r"<circle cx='([\d.]+)'[^>]*r='4'", body)]
    assert ends == [pytest.approx(x2, abs=0.02)] * 2 and x2 > x1, "one scale for clients and average"


def test_a_round_of_many_clients_says_how_many_bars_are_left_out():
    many = OneRound([PATHS[0]] * 40, (2.0, 0.0), ["B", "A"], [2.5] * 40, 2.0)
    body = round_picture(many, "A round").body
    left = int(re.search(r"and (\d+) more clients", body)[1])
    assert left + len(re.findall(r">client \d+<", body)) == 40
    heights = [float(y) for y in re.findall(r"<text [^>]*\by='([\d.]+)'", body)]
    assert max(heights[-left:]) < 2000, "no text runs away"


def test_a_round_says_in_words_what_it_draws():
    said = round_picture(SEEN, "A round").alt
    assert "2 clients" in said and "B trains, then A trains" in said and "2.50, 2.50" in said


def test_what_is_named_wrongly_is_in_brackets():
    drawn = digits_picture(
        {"as it is": np.zeros((2, 4, 4))}, ["3", "5"], {"one": ["3", "6"], "other": ["3", "5"]}, "Two digits"
    )
    assert drawn.body.count("(6)") == 1 and ">3<" in drawn.body and drawn.body.count("<image") == 2
    assert "one names 1 of 2 rightly; other names 2 of 2 rightly" in drawn.alt


def test_what_stands_in_a_picture_cannot_break_out_of_it():
    assert tag("text", x="'><script>") == "<text x='&#x27;&gt;&lt;script&gt;'></text>"
