"""One page for a class without kernels: sliders that move through the grid of finished runs, offline.

Every point is a run that was really made; nothing is computed in between. What the grid does not hold yet is a gap.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean
from typing import Any

from lalora_kit.base.files import make_folder
from lalora_kit.book.templates import fill, get_plotlyjs
from lalora_kit.figures.ablation import AXIS_NAMES, RIVAL_LOOKS, place, rival_look, series_look
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.methods import METHODS
from lalora_kit.runs.standing import AHEAD, NOTHING, sentence
from lalora_kit.trial import grid, rivals
from lalora_kit.trial.beside import standing
from lalora_kit.trial.designs import LESSONS, Design, design_of
from lalora_kit.trial.effects import effect_at

SHOWN_FIRST = ("la-lora", "dp-lora", "ffa-lora", "rolora", *rivals.NAMES)
BASIS = "{} seeds, 95 % for each pair alone; adapters at the common rate, baselines at their best head's rate"
Curves = list[list[list[float]]]  # by value of the setting, a curve a seed


def explorer(out_html: Path, path: Path = grid.FILE) -> int:
    """Write the page of the grid at `path`; return how many runs it holds.

    Raises ValueError where too few are there for any slider to move.
    """
    runs, guess, design = grid.load(path), rivals.guess_in(path), design_of(grid.task_in(path))
    usual = design.usual
    axes = {axis: found for axis in design.axes if moves(found := points(runs, axis, guess, design))}
    if not axes:
        raise ValueError(
            f"{path} holds no two runs that differ in one setting; make some with `{grid.COMMAND} --out {path}`"
        )
    make_folder(out_html.parent)
    named = [name for name in rivals.NAMES if any(name in axis["series"] for axis in axes.values())]
    data = {"axes": axes, "looks": looks(axes), "shown": SHOWN_FIRST, "rivals": named, "rounds": usual.rounds}
    quoted = json.dumps(data).replace("<", "\\u003c")  # so that nothing in it can end the script that holds it
    rest = f"ε {epsilon_text(usual.epsilon)}, rank {usual.rank}, {usual.clients} clients"
    rest += f", adapter's learning rate {usual.learning_rate:g}"
    default = ", ".join(name for name in named if name not in baselines(runs, next(iter(axes)), guess, design))
    told = {"count": len(runs), "rest": rest, "task": design.task, "default": default}
    out_html.write_text(fill("explorer.html.j2", data=quoted, plotly=get_plotlyjs(), **told), encoding="utf-8")
    return len(runs)


def points(
    runs: dict[grid.Cell, list[float]], axis: str, guess: float = math.nan, design: Design = LESSONS
) -> dict[str, Any]:
    """One setting: its values, and by series and value the curves that are done, one a seed; none is an empty list.

    Baselines are among the series, at the ε and clients of each value; `said` is what is to say of them there.
    """
    values = design.axes[axis]
    series = {
        name: [
            [runs[cell] for seed in design.drawn if (cell := grid.cell(name, axis, value, seed, design)) in runs]
            for value in values
        ]
        for name in grid.SERIES
    }
    bare = baselines(runs, axis, guess, design)
    series |= bare
    return {
        "name": AXIS_NAMES[axis],
        "labels": [epsilon_text(value) for value in values],
        "places": [place(value, values) for value in values],
        "start": values.index(getattr(design.usual, axis)),
        "series": {name: curves for name, curves in series.items() if any(curves)},
        "said": [said(series, bare, at, design) for at in range(len(values))],
    }


def baselines(runs: dict[grid.Cell, list[float]], axis: str, guess: float, design: Design) -> dict[str, Curves]:
    """Each baseline's curves by value; where a value is no matter to it, they are those of the defaults.

    One whose rate was not chosen at every value is left out: at its best here and not there it would mislead.
    """
    found: dict[str, Curves] = {name: [] for name in rivals.NAMES}
    usual = design.usual
    for value in design.axes[axis]:
        epsilon = value if axis == "epsilon" else usual.epsilon
        clients = int(value) if axis == "clients" else usual.clients
        there: list[rivals.Rival | None] = [
            rivals.rival(runs, name, epsilon, clients, design) for name in rivals.TRAINED
        ]
        curves = {
            one.name: one.curves for one in (*there, *rivals.untrained(guess, design)) if one is not None and one.chosen
        }
        for name, lines in found.items():
            lines.append([list(curve) for curve in curves.get(name, [])])
    return {name: lines for name, lines in found.items() if all(lines)}


def said(series: dict[str, Curves], bare: dict[str, Curves], at: int, design: Design = LESSONS) -> list[str]:
    """A sentence for each baseline that is level with an adapter at a value, or ahead of one, after the last round.

    Seeds are paired, so only methods with a run of every seed are held against it; a public guess has no seeds.
    """
    found, count = [], len(design.drawn)
    methods = [m for m in METHODS if m not in rivals.NAMES and len(series.get(m, [[]] * (at + 1))[at]) == count]
    for name, curves in bare.items():
        own = [curve[-1] for curve in curves[at]] * (count if name == rivals.UNTRAINED else 1)
        against = {}
        for method in methods if len(own) == count else ():
            ends = [curve[-1] for curve in series[method][at]]
            effect = effect_at([100 * (one - other) for one, other in zip(ends, own, strict=True)])
            against[method] = (fmean(ends), standing(effect))
        if any(stands != AHEAD for _, stands in against.values()):
            found.append(sentence(name, fmean(own), against, BASIS.format(count)))
    return found or [f"{NOTHING}."]


def moves(found: dict[str, Any]) -> bool:
    """Whether any method has runs at two values or more, so that its slider would show something."""
    methods = [curves for name, curves in found["series"].items() if name not in rivals.NAMES]
    return any(sum(map(bool, curves)) > 1 for curves in methods)


def looks(axes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Line and marker of every series, as in the lessons; baselines are grey."""
    names = {name for axis in axes.values() for name in axis["series"]}
    return {name: rival_look(name) if name in RIVAL_LOOKS else series_look(name) for name in sorted(names)}
