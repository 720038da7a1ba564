"""The runs behind the claims and the comparisons: which are needed, in which order, and the tables they end in.

    lalora claims --task digits           # all rows: some 450 runs of some seconds
    lalora claims                         # on mnist: many more, of ten seconds and longer
    lalora compare la-lora mine.py:MINE   # a method of one's own, by the same grid, controls and rule

Rates are chosen first, on seeds that are not reported. Runs that the shipped grid holds already are taken from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lalora_kit.base.files import append_line, make_folder, read_lines
from lalora_kit.runs.yardsticks import HEAD_ONLY
from lalora_kit.trial import grid
from lalora_kit.trial.claims import CLAIMS, POINTS, Claim
from lalora_kit.trial.designs import (
    DIGITS,
    LESSONS,
    Design,
    Grid,
    Runs,
    at_best,
    has_rate,
    head_rate,
    head_runs,
    run_of,
    tuned,
)
from lalora_kit.trial.study import Cell, computed, ensure, find, lines, made_with
from lalora_kit.trial.tables import RUNS
from lalora_kit.trial.verdicts import Row, judge

SHIPPED = Path(__file__).parent / "kept" / "claims"  # what `lalora claims` wrote, under the name of its task
Report = Callable[[int, int], None]


def tuning_runs(runs: Runs, claims: Iterable[Claim], design: Design) -> list[Cell]:
    """The runs that choose each side's rate: the same grid and seeds for all; `runs` chose the head's."""
    wanted = []
    for claim in claims:
        for epsilon in claim.epsilons:
            moved = {**claim.moved, "head_learning_rate": head_rate(runs, epsilon, design, claim.moved)}
            wanted += [
                run_of(at_best(arm), rate, epsilon, seed, design, **moved)
                for arm in claim.arms for rate in design.rates for seed in design.tuning_seeds
            ]  # fmt: skip
    return list(dict.fromkeys(wanted))


def reported_runs(runs: Runs, claims: Iterable[Claim], design: Design) -> dict[bool, list[Cell]]:
    """The runs that are judged, on seeds that chose nothing: by whether they need the diagnostics beside accuracy."""
    wanted: dict[bool, list[Cell]] = {False: [], True: []}
    usual = design.usual.learning_rate
    for claim in claims:
        for epsilon in claim.epsilons:
            best = {**claim.moved, "head_learning_rate": head_rate(runs, epsilon, design, claim.moved)}
            sides = [(arm, usual, claim.moved) for arm in claim.arms]
            sides += [(at_best(arm), tuned(runs, arm, epsilon, design, best), best) for arm in claim.arms]
            sides += [(claim.control, usual, claim.moved)] if claim.control else []
            wanted[claim.unit.probe] += [
                run_of(arm, rate, epsilon, seed, design, **moved) for arm, rate, moved in sides for seed in design.seeds
            ]
            wanted[False] += [run_of(HEAD_ONLY, usual, epsilon, seed, design, **best) for seed in design.seeds]
    return {probe: list(dict.fromkeys(cells)) for probe, cells in wanted.items()}


def run_claims(
    out: Path, design: Design = LESSONS, *, claims: Sequence[Claim] = CLAIMS,
    workers: int | None = None, command: str = "lalora claims", report: Report | None = None,
) -> list[Row]:  # fmt: skip
    """Run what is missing, keep it in `out`/claims.jsonl, and judge; a second call goes on where the first stopped.

    Args:
        out: folder of the runs.
        design: task, grids and seeds; see `designs.design_of`.
        claims: the rows.
        workers: processes, by default as many as cores are granted.
        command: what is written beside the runs as their maker.
        report: called with how many of the runs at hand are done, and how many there are.

    Raises:
        ValueError: if the file holds runs on another task or at other defaults, a seed is among the tuning seeds, or
            the rates are no grid.
    """
    checked_rates(design.rates)
    chosen = sorted({*design.seeds, *design.more} & {*design.tuning_seeds})
    if chosen or not design.seeds:
        raise ValueError(
            f"seeds={list(design.seeds)}: {chosen or 'none'} cannot be reported; seeds that chose the rates may not "
            f"judge them; use other seeds than {list(design.tuning_seeds)}"
        )
    path, made = out / RUNS, made_with(command, design.task)
    make_folder(out)
    take_from_grid(path, made, claims, design)
    heads = [head_runs(e, design, claim.moved) for claim in claims for e in claim.epsilons]
    run = partial(ensure, made=made, path=path, workers=workers, last=True, report=report)  # only ends are judged
    run([cell for rates in heads for cells in rates.values() for cell in cells])
    run(tuning_runs(lines(path), claims, design))

    def tell(some: Sequence[Claim], seeds: tuple[int, ...]) -> list[Row]:
        """Run what these seeds tell of some claims, and judge all."""
        wanted = reported_runs(lines(path), some, replace(design, seeds=seeds))
        for probe, cells in sorted(wanted.items(), reverse=True):
            run(cells, probe=probe)
        return judge(lines(path), claims, design)

    rows = tell(claims, design.seeds)
    return tell([row.claim for row in rows if row.undecided], design.more) if design.more else rows


def checked_rates(rates: Grid) -> Grid:
    """The rates in order.

    Raises:
        ValueError: if there are fewer than two, or one is not a positive number.
    """
    if len(set(rates)) < 2 or not all(0 < rate < math.inf for rate in rates):
        raise ValueError(
            f"rates={list(rates)}: a grid to choose from has two or more different rates, each above 0 and finite; "
            "leave it out for the task's own"
        )
    return tuple(sorted(set(rates)))


def at_an_end(rows: Iterable[Row], rates: Grid) -> list[str]:
    """Sides whose best rate lies at an end of the grid, so that a wider one might hold a better; `method at ε=1`."""
    named = [
        f"{at_best(arm)} at ε={row.claim.epsilon:g}"
        for row in rows
        for arm, rate in zip(row.claim.arms, row.rates, strict=True)
        if has_rate(arm) and rate in (rates[0], rates[-1])
    ]
    return list(dict.fromkeys(named))


def take_from_grid(path: Path, made: dict[str, Any], claims: Sequence[Claim], design: Design) -> None:
    """Copy the runs of the shipped grid that can be used, with what they were made with, where that agrees."""
    file = grid.file_of(design.task)
    kept = read_lines(file) if file.exists() and not path.exists() else []
    heads = [line for line in kept if "curve" not in line]
    if not heads or any(
        computed(line[name]) != computed(made[name]) for line in heads for name in ("task", "settings", "versions")
    ):
        return
    sides = {(arm, e) for c in claims for e in c.epsilons for arm in (*c.arms, c.control or c.other, HEAD_ONLY)}
    useful = {run_of(arm, rate, e, seed, design) for arm, e in sides for rate in design.rates for seed in design.seeds}
    runs = [line for cell, line in lines(file).items() if cell in useful]
    for line in [*heads, *runs] if runs else []:
        append_line(path, line)


def comparison(methods: Sequence[str], epsilons: Sequence[float]) -> list[Claim]:
    """The first method over each other one at each ε, by the claims' rule; the other at half its rate beside it.

    Raises:
        ValueError: if there are fewer than two methods, one is unknown, or one is named twice.
    """
    if len(methods) < 2 or len(set(methods)) < len(methods):
        raise ValueError(f"methods={list(methods)}: a comparison needs two or more different ones; name them")
    for name in methods:
        find(name)
    first, *others = methods
    return [
        Claim(f"{first}-over-{other}-{e:g}", f"{first} is more accurate than {other} at ε={e:g}", first, other, e,
              POINTS, None, "this comparison", f"{other} × 0.5")
        for other in others for e in epsilons
    ]  # fmt: skip


def tuning_note(runs: Runs, design: Design, more: int = 0) -> str:
    """What the choice of rates would have cost on private data: it must be charged or declared; `more` runs beside."""
    count = sum(cell.seed in design.tuning_seeds for cell in runs) + more
    return (
        f"declared: {count} runs chose the rates by test accuracy, taken to be public here; on private data each of "
        "them would be charged to the ledger, or declared beside its ε"
    )


def shipped_task(task: str = LESSONS.task) -> str:
    """The task whose finished runs the kit has: this one, or else `digits`."""
    return task if (SHIPPED / f"{task}.jsonl").exists() else DIGITS.task


def shipped(task: str) -> Runs:
    """The finished runs on a task that ship with the kit (see `shipped_task`)."""
    return lines(SHIPPED / f"{task}.jsonl")


def shipped_on(task: str) -> dict[str, Any]:
    """What the shipped runs were trained on, as in a run's `identity`: task, data, backbone, and Python's version."""
    return next(line["task"] for line in reversed(read_lines(SHIPPED / f"{task}.jsonl")) if "curve" not in line)
