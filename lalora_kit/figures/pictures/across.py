"""Baselines in a figure of accuracies: a line across at each one's mean, and its name, clear of the other names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lalora_kit.figures.common import NEUTRAL
from lalora_kit.runs.yardsticks import HEAD_ONLY, UNTRAINED
from lalora_kit.tasks.heads.linear import HOG, LINEAR
from lalora_kit.trial.rivals import Rival

#: baseline -> (dash, marker): all are grey, so each is told by its dash and by its name, written at its line
RIVAL_LOOKS = {
    HEAD_ONLY: ("dot", "x-thin-open"),
    LINEAR: ("dash", "cross-thin-open"),
    HOG: ("longdash", "asterisk-open"),
    UNTRAINED: ("dashdot", "line-ew-open"),
}
RIVAL_LINES = 3  # at most: the head alone, the stronger linear model, the public guess
NAME_HEIGHT = 0.07  # of a baseline's name, in accuracy, on the lowest of these figures


def rival_look(name: str) -> dict[str, Any]:
    """Line and marker of a baseline."""
    dash, symbol = RIVAL_LOOKS[name]
    return {
        "line": {"color": NEUTRAL, "dash": dash, "width": 1.5},
        "marker": {"color": NEUTRAL, "symbol": symbol, "size": 8},
    }


def rival_lines(found: Sequence[Rival], ends: tuple[float, float], *, named_left: bool = False) -> list[dict[str, Any]]:
    """x, y, name and look of `RIVAL_LINES` traces: a line across at each baseline's mean, and its name at one end.

    A trace's last point is the name's place, apart from the line: names of baselines that are close keep a distance.
    """
    middle, at = (ends[0] + ends[1]) / 2, ends[not named_left]
    drawn: list[dict[str, Any]] = [
        {
            "x": [ends[0], middle, ends[1], None, at], "y": [y, y, y, None, spot], "text": [*[""] * 4, one.text],
            "name": one.name, "textposition": f"middle {'right' if named_left else 'left'}",
            "line": rival_look(one.name)["line"], "hovertemplate": f"{y:.1%}",
        }
        for one, spot in zip(found, name_spots([one.accuracy for one in found]), strict=True) for y in [one.accuracy]
    ]  # fmt: skip
    blank: dict[str, Any] = {"x": [], "y": [], "text": [], "name": "", "line": {}}
    return [*drawn, *([blank] * (RIVAL_LINES - len(drawn)))]


def name_spots(levels: Sequence[float]) -> list[float]:
    """Heights of names on an axis from 0 to 1: the lowest below its line, the others above theirs; none on another.

    Where that would leave the axis at the top, the highest stands above its line, and the others below theirs.

    >>> [round(spot, 3) for spot in name_spots([0.5, 0.48])], [round(spot, 3) for spot in name_spots([0.97, 0.96])]
    ([0.535, 0.445], [1.005, 0.925])
    """

    def from_below(heights: Sequence[float]) -> list[float]:
        spots, last = [0.0] * len(heights), math.nan
        for place in sorted(range(len(heights)), key=lambda place: heights[place]):
            if math.isnan(last) and len(heights) > 1:
                spot = heights[place] - NAME_HEIGHT / 2
            else:
                spot = max(heights[place] + NAME_HEIGHT / 2, last + NAME_HEIGHT)
                for line in sorted(heights):
                    spot = line + NAME_HEIGHT / 2 if abs(line - spot) < 0.499 * NAME_HEIGHT else spot
            spots[place] = last = spot
        return spots

    spots = from_below(levels)
    return spots if max(spots, default=0) < 1 else [1 - spot for spot in from_below([1 - level for level in levels])]


def rival_style() -> dict[str, Any]:
    """What stays as it is in a trace of `rival_lines`."""
    font = {"size": 12, "color": NEUTRAL}
    return {"mode": "lines+text", "textfont": font, "showlegend": False, "cliponaxis": False}
