"""The grid that the lessons draw: every method at a task's usual settings but for one, several seeds each.

    python -m lalora_kit.trial.grid                       # all of it, on mnist: hours of one core
    python -m lalora_kit.trial.grid --task digits         # about 600 runs of some seconds
    python -m lalora_kit.trial.grid --axis learning_rate --seeds 0 1
    python -m lalora_kit.trial.grid --baselines linear linear-hog

A second call goes on where the first one stopped. What has no adapter lies in the same file, at its best rate for each
ε and number of clients (`rivals`). A task has a file of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from lalora_kit.base.files import read_lines
from lalora_kit.methods import METHODS
from lalora_kit.methods.controls import CONTROLS, PASSED
from lalora_kit.trial.designs import LESSONS, RATE, Design, design_of
from lalora_kit.trial.study import Cell, curves, ensure, find, made_with

TASK = LESSONS.task  # what the lessons' grid is made on
KEPT = Path(__file__).parent / "kept" / "grid"
FILE = KEPT / f"{TASK}.jsonl"
COMMAND = "python -m lalora_kit.trial.grid"
SEEDS = LESSONS.drawn
AXES = LESSONS.axes
#: name of a line in the picture -> (method, factor of the adapter's learning rate)
SERIES: dict[str, tuple[str, float]] = {
    **{name: (name, 1.0) for name in (*METHODS, *CONTROLS)},
    f"la-lora-nofilter × {PASSED}": ("la-lora-nofilter", PASSED),
    "dp-lora × 0.71": ("dp-lora", 0.71),
    "dp-lora × 0.5": ("dp-lora", 0.5),
}


def cell(series: str, axis: str, value: float, seed: int, design: Design = LESSONS) -> Cell:
    """The run behind one point of a line. A method that trains no factor has one for all adapter rates."""
    method, factor = SERIES[series]
    values = {name: getattr(design.usual, name) for name in design.axes}
    if find(method).trained_in(1, design.usual.local_steps) or axis != RATE:
        values[axis] = value
    rate = round(factor * values.pop(RATE), 9)
    return design.run(method, rate, values.pop("epsilon"), seed, **values)


def cells(axes: Iterable[str], series: Iterable[str], seeds: Iterable[int], design: Design = LESSONS) -> list[Cell]:
    """All runs asked for, each once, seed by seed, so that a grid cut short has every point at least once."""
    wanted = [
        cell(name, axis, x, seed, design) for seed in seeds for axis in axes for name in series
        for x in design.axes[axis]
    ]  # fmt: skip
    return list(dict.fromkeys(wanted))


def file_of(task: str) -> Path:
    """Where a task's runs are kept; a name with a slash has none."""
    return KEPT / f"{task.replace('/', '-')}.jsonl"


def load(path: Path = FILE) -> dict[Cell, list[float]]:
    """Accuracy after each round, of every run that is done."""
    return curves(path)


def task_in(path: Path = FILE) -> str:
    """The task that a grid's runs were made on, as it stands beside them."""
    heads = [line for line in read_lines(path) if "task" in line] if path.exists() else []
    return str(heads[-1]["task"]["task"]) if heads else TASK


def main() -> None:
    """Run what is missing of the grid, or of the part asked for."""
    from lalora_kit.tasks import load_task
    from lalora_kit.tasks.heads.linear import linear_views
    from lalora_kit.trial import rivals

    parser = argparse.ArgumentParser(prog=COMMAND, description="Run what is missing of the grid of the lessons.")
    parser.add_argument("--task", default=TASK)
    parser.add_argument("--axis", nargs="+", choices=list(AXES), default=list(AXES))
    parser.add_argument("--series", nargs="+", choices=list(SERIES), default=list(SERIES), metavar="NAME")
    parser.add_argument("--baselines", nargs="*", choices=rivals.TRAINED, help="These alone; by default all that fit.")
    parser.add_argument("--seeds", nargs="+", type=int, help="By default the design's.")
    parser.add_argument("--workers", type=int, help="Processes; by default one a core.")
    parser.add_argument("--out", type=Path, help="By default the shipped file of the task.")
    options = parser.parse_args()
    path, made, design = options.out or file_of(options.task), made_with(COMMAND, options.task), design_of(options.task)
    seeds = tuple(options.seeds or design.drawn)
    if options.baselines is None:
        ensure(cells(options.axis, options.series, seeds, design), made, path, options.workers)
    fit = (rivals.HEAD_ONLY, *linear_views(load_task(options.task)))
    wanted = [name for name in options.baselines or fit if name in fit]
    rivals.fill(path, made, wanted, design, seeds=seeds, workers=options.workers)


if __name__ == "__main__":
    main()
