"""Pictures of lessons 07 and 08: what is drawn is what was given, in marks that grey print tells apart."""

import re

import pytest

from lalora_kit.figures.pictures.crowd import BAR, crowd_picture
from lalora_kit.figures.pictures.pays import LEFT, RIGHT, pays_picture, scale_of, x_of


def test_bars_are_as_long_as_the_noise_and_each_crowd_has_as_many_dots():
    picture = crowd_picture({250: 10.0, 1000: 2.5}, 16, "cheap")
    bars = [float(w) for w in re.findall(r"<rect x='190'[^>]*width='([\d.]+)'", picture.body)]
    assert bars == pytest.approx([BAR, BAR / 4])
    assert picture.body.count("<circle") == 32 and "1,000 people need σ = 2.50" in picture.alt
    squares = [float(w) for w in re.findall(r"<rect x='4'[^>]*width='([\d.]+)'", picture.body)]
    assert squares[1] / squares[0] == pytest.approx(2), "areas are as people"
    assert max(190 + bar for bar in bars) + 50 <= picture.width, "the longest bar's number is not cut"


def test_owners_lie_where_their_accuracy_is_and_a_gain_is_not_called_a_loss():
    picture = pays_picture([(2, 12), (84, 465)], [0.40, 0.45], [0.35, 0.46], 1.0, "who pays")
    low, high = scale_of([0.40, 0.45, 0.35, 0.46])
    assert low < 0.35 and high > 0.46
    for value in (0.40, 0.35, 0.45, 0.46):
        x = x_of(value, low, high)
        assert LEFT <= x <= RIGHT and f"{x:.2f}".rstrip("0").rstrip(".") in picture.body
    assert "lost 5.0" in picture.body and "gained 1.0" in picture.body
    assert "owners of 2 to 12 sentences: 40.0% without noise, 35.0% with it" in picture.alt
