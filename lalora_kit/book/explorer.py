"""One page for a class without kernels: sliders that move through the grid of finished runs, offline.

Every point is a run that was really made; nothing is computed in between. What the grid does not hold yet is a gap.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lalora_kit.base.files import make_folder
from lalora_kit.book.pages import fill, get_plotlyjs
from lalora_kit.figures.ablation import AXIS_NAMES, place, series_look
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.trial import grid
from lalora_kit.trial.study import DEFAULTS

SHOWN_FIRST = ("la-lora", "dp-lora", "ffa-lora", "rolora", "head-only")


def explorer(out_html: Path, path: Path = grid.FILE) -> int:
    """Write the page of the grid at `path`; return how many runs it holds.

    Raises ValueError where too few are there for any slider to move.
    """
    runs = grid.load(path)
    axes = {axis: found for axis in grid.AXES if moves(found := points(runs, axis))}
    if not axes:
        raise ValueError(
            f"{path} holds no two runs that differ in one setting; make some with `{grid.COMMAND} --out {path}`"
        )
    make_folder(out_html.parent)
    data = {"axes": axes, "looks": looks(axes), "shown": SHOWN_FIRST, "rounds": DEFAULTS.rounds}
    quoted = json.dumps(data).replace("<", "\\u003c")  # so that nothing in it can end the script that holds it
    rest = f"ε {epsilon_text(DEFAULTS.epsilon)}, rank {DEFAULTS.rank}, {DEFAULTS.clients} clients"
    rest += f", adapter's learning rate {DEFAULTS.learning_rate:g}"
    text = fill("explorer.html.j2", data=quoted, count=len(runs), rest=rest, plotly=get_plotlyjs())
    out_html.write_text(text, encoding="utf-8")
    return len(runs)


def points(runs: dict[grid.Cell, list[float]], axis: str) -> dict[str, Any]:
    """One setting: its values, and by series and value the curves that are done, one a seed; none is an empty list."""
    values = grid.AXES[axis]
    series = {
        name: [
            [runs[cell] for seed in grid.SEEDS if (cell := grid.cell(name, axis, value, seed)) in runs]
            for value in values
        ]
        for name in grid.SERIES
    }
    return {
        "name": AXIS_NAMES[axis],
        "labels": [epsilon_text(value) for value in values],
        "places": [place(value, values) for value in values],
        "start": values.index(getattr(DEFAULTS, axis)),
        "series": {name: curves for name, curves in series.items() if any(curves)},
    }


def moves(found: dict[str, Any]) -> bool:
    """Whether any line has runs at two values or more, so that its slider would show something."""
    return any(sum(map(bool, curves)) > 1 for curves in found["series"].values())


def looks(axes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Line and marker of every series, as in the lessons."""
    return {name: series_look(name) for axis in axes.values() for name in axis["series"]}
