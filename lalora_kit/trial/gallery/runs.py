"""The runs of the gallery's trial: which are needed, in the order of the design, and those that are kept already."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lalora_kit.base.files import append_line, make_folder, read_lines
from lalora_kit.methods import find_method
from lalora_kit.runs.yardsticks import HEAD_ONLY, UNTRAINED
from lalora_kit.trial import grid
from lalora_kit.trial.beside import Side, bare
from lalora_kit.trial.claim_runs import Report
from lalora_kit.trial.designs import Runs, head_rate, head_runs, run_of, tuned
from lalora_kit.trial.gallery.design import Trial
from lalora_kit.trial.gallery.traffic import traffic
from lalora_kit.trial.study import Cell, computed, ensure, lines, made_with

RUNS, SENT, VIEWS = "gallery.jsonl", "sent", "views"
KEPT = Path(grid.__file__).parent / "kept"
FILE = KEPT / "gallery"  # finished trials that ship, under the name of their task
COMMAND = "lalora compare --gallery"


def head_at(runs: Runs, trial: Trial, epsilon: float) -> float:
    """The head's rate of all methods at an ε; NaN where a run that chooses it is missing."""
    return head_rate(runs, epsilon, trial.design, {})


def rate_of(runs: Runs, trial: Trial, name: str, epsilon: float) -> float:
    """A method's own rate at an ε; NaN where a run that chooses it is missing."""
    return tuned(runs, name, epsilon, trial.design, {"head_learning_rate": head_at(runs, trial, epsilon)})


def choosing(runs: Runs, trial: Trial, names: Iterable[str], epsilon: float) -> list[Cell]:
    """The runs that choose the rates of these methods, at the head's rate that is chosen."""
    design, head = trial.design, head_at(runs, trial, epsilon)
    return [
        run_of(name, rate, epsilon, seed, design, head_learning_rate=head)
        for name in names for rate in design.rates for seed in design.tuning_seeds
    ]  # fmt: skip


def reported(runs: Runs, trial: Trial, name: str, epsilon: float) -> list[Cell]:
    """The runs of a method that are told."""
    head, rate = head_at(runs, trial, epsilon), rate_of(runs, trial, name, epsilon)
    return [run_of(name, rate, epsilon, seed, trial.design, head_learning_rate=head) for seed in trial.design.seeds]


def told_of(side: Side, runs: Runs) -> list[Cell]:
    """The runs of a baseline that are told."""
    return [side.run(side.chosen(runs)[1], seed) for seed in side.design.seeds]


def run_gallery(
    out: Path, trial: Trial, *, workers: int | None = None, report: Report | None = None, kept: Path = KEPT
) -> Path:
    """Run what is missing, in the order of the design, into `out`/gallery.jsonl; a second call goes on there.

    Raises:
        ValueError: if the file holds runs on another task or at other defaults.
    """
    path, made = out / RUNS, made_of(trial)
    make_folder(out)
    take_kept(path, made, trial, kept)

    def run(cells: Iterable[Cell]) -> Runs:
        ensure(cells, made, path, workers, last=True, report=report)
        return lines(path)

    if not path.exists():
        append_line(path, made)
    for epsilon in trial.epsilons:
        sides = bare(epsilon, made[VIEWS], trial.design)
        heads = [cell for cells in head_runs(epsilon, trial.design, {}).values() for cell in cells]
        runs = run([*heads, *(cell for side in sides for cell in side.choosing())])
        runs = run([cell for side in sides for cell in told_of(side, runs)])
        for group in trial.groups:
            runs = run(choosing(runs, trial, group, epsilon))
            runs = run([cell for name in group for cell in reported(runs, trial, name, epsilon)])
    return path


def made_of(trial: Trial) -> dict[str, Any]:
    """What the runs are made with, and the numbers that each method sends and receives a round on this task."""
    from lalora_kit.tasks import load_task
    from lalora_kit.tasks.heads.linear import linear_views

    task = load_task(trial.design.task)
    sent = {name: traffic(find_method(name), task, trial.design.usual) for name in (HEAD_ONLY, *trial.names)}
    return {**made_with(COMMAND, trial.design.task), SENT: sent, VIEWS: list(linear_views(task))}


def possible(trial: Trial, views: Sequence[str]) -> set[Cell]:
    """Every run that the trial could come to need, whatever rates are chosen."""
    design, usual = trial.design, trial.design.usual
    heads = {*design.head_rates, usual.head_learning_rate}
    found = set()
    for epsilon in trial.epsilons:
        for seed in (*design.seeds, *design.tuning_seeds):
            found |= {side.run(head, seed) for side in bare(epsilon, views, design) for head in heads}
            found |= {
                run_of(name, rate, epsilon, seed, design, head_learning_rate=head)
                for name in trial.names for rate in design.rates for head in heads
            }  # fmt: skip
    return found


def take_kept(path: Path, made: dict[str, Any], trial: Trial, kept: Path = KEPT) -> int:
    """Copy runs that ship, with what they were made with, where task, settings and versions agree; how many.

    Only into a trial that begins.
    """
    if path.exists():
        return 0
    wanted, taken = possible(trial, made[VIEWS]), dict[Cell, tuple[dict[str, Any], dict[str, Any]]]()
    for file in sorted(kept.rglob(f"{trial.design.task}.jsonl")):
        heads = {line["made"]: line for line in read_lines(file) if "curve" not in line}
        for cell, line in lines(file).items():
            head = heads.get(line.get("made"))
            if cell in wanted and head is not None and agrees(head, made):
                taken[cell] = head, line
    if taken:
        append_line(path, made)
    for head in {head["made"]: head for head, _ in taken.values()}.values():
        append_line(path, head)
    for _, line in taken.values():
        append_line(path, line)
    return len(taken)


def agrees(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether runs of two makers can stand in one table."""
    return all(
        name in one and computed(one[name]) == computed(other[name]) for name in ("task", "settings", "versions")
    )


def count(trial: Trial, views: Sequence[str]) -> int:
    """How many runs the whole trial has, those that are kept already among them."""
    design = trial.design
    chosen = len(design.tuning_seeds)
    bares = len(bare(trial.epsilons[0], views, design)) * len(design.head_rates) * chosen
    methods = len(trial.names) * len(design.rates) * chosen
    told = (len(bare(trial.epsilons[0], views, design)) + len(trial.names)) * len(design.seeds)
    return len(trial.epsilons) * (bares + methods + told)


def facts(path: Path) -> tuple[dict[str, tuple[float, float]], list[str], float]:
    """What stands beside the runs: numbers up and down by method, the linear models of the task, and its guess."""
    [*_, head] = [line for line in read_lines(path) if SENT in line]
    guess = head.get(UNTRAINED)
    sent = {name: (up, down) for name, (up, down) in head[SENT].items()}
    return sent, head[VIEWS], math.nan if guess is None else float(guess)
