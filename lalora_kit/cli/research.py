"""The researcher's commands: `lalora claims` and `compare`. They parse, call the library and print."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lalora_kit.base.threads import usable_cores
from lalora_kit.cli import tables
from lalora_kit.cli.waiting import begin, loading_torch
from lalora_kit.runs.usual import DEFAULT_TASK

if TYPE_CHECKING:
    from lalora_kit.trial.beside import Baseline
    from lalora_kit.trial.claims import Exact
    from lalora_kit.trial.designs import Design
    from lalora_kit.trial.verdicts import Row

app = typer.Typer(add_completion=False)

#: Options that take several values in one go, by command: `--epsilon 1 3`.
SEVERAL = {"claims": ("--rates",), "compare": ("--epsilon", "--rates")}

TaskName = Annotated[str, typer.Option(help="See `lalora tasks`.")]
Count = Annotated[
    int | None,
    typer.Option(
        help="How many seeds are reported; those that choose rates are others. Default: 10 on mnist, and 10 more of "
        "the rows that these leave undecided; else 5.",
        min=2, max=1000, show_default=False,
    ),
]  # fmt: skip
Out = Annotated[
    Path | None,
    typer.Option(help="Runs and tables; a second call goes on there.", show_default="runs/COMMAND-TASK"),
]
Rates = Annotated[
    list[float] | None,
    typer.Option(help="To choose from, the same for all; in one go: 0.5 1 2.", show_default="the task's own"),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes; each keeps to one thread.", min=1, max=256, show_default="one a core granted"),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")]


def spread(arguments: Sequence[str]) -> list[str]:
    """`compare a b --epsilon 1 3` as click reads it: `compare a b --epsilon 1 --epsilon 3`."""
    several, out, option = SEVERAL.get(arguments[0] if arguments else "", ()), list(arguments[:1]), ""
    for argument in arguments[1:]:
        if argument.startswith("-"):
            option = argument if argument in several else ""
        elif option and out[-1] != option:
            out.append(option)
        out.append(argument)
    return out


def designed(task: str, seeds: int | None, rates: Sequence[float] | None) -> Design:
    """The task's design with the rates that are asked for, and as many seeds that chose no rate, looked at once."""
    from lalora_kit.trial.claim_runs import checked_rates
    from lalora_kit.trial.designs import design_of

    own = design_of(task)
    own = replace(own, rates=checked_rates(rates or own.rates))
    if seeds is None:
        return own
    free = [seed for seed in range(seeds + len(own.tuning_seeds)) if seed not in own.tuning_seeds]
    return replace(own, seeds=tuple(free[:seeds]), more=())


def folder(command: str, task: str) -> Path:
    """Where a command keeps its runs: runs on two tasks do not compare, so each task has a folder."""
    return Path("runs") / f"{command}-{task}"


@app.command()
def claims(
    task: TaskName = DEFAULT_TASK,
    seeds: Count = None,
    rates: Rates = None,
    out: Out = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Put the paper's claims on trial: choose rates, run every pair over seeds, and print the verdicts.

    On mnist that takes hours; a second call goes on where the first one stopped. On digits it takes minutes.
    """
    out = out or folder("claims", task)
    at_once = workers or usable_cores()
    told = f"{seeds} seeds" if seeds else "its own seeds"
    begin(f"putting the paper's claims on trial on {task}: {told}, {at_once} processes, kept in {out}")
    with loading_torch():
        from lalora_kit.trial.beside import run_beside
        from lalora_kit.trial.claim_runs import run_claims
        from lalora_kit.trial.claims import claims_on, exact_claims
        from lalora_kit.trial.study import lines
        from lalora_kit.trial.tables import RUNS, write_tables

    design, asked = designed(task, seeds, rates), claims_on(task)
    rows, exact = run_claims(out, design, claims=asked, workers=workers), exact_claims()
    compared = run_beside(out, lines(out / RUNS), asked, design, workers=workers)
    finish(rows, exact, write_tables(out, rows, exact, design), design, as_json, compared)


@app.command()
def compare(
    methods: Annotated[
        list[str] | None,
        typer.Argument(help="Names, or file.py:NAME of your own; the first against each.", show_default=False),
    ] = None,
    gallery: Annotated[
        bool, typer.Option("--gallery", help="All methods and baselines, by the trial's design.")
    ] = False,
    epsilon: Annotated[list[float] | None, typer.Option(help="One or more. Default: 3.", show_default=False)] = None,
    task: TaskName = DEFAULT_TASK,
    seeds: Count = None,
    rates: Rates = None,
    out: Out = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Compare methods by the grid, controls, intervals and rule of the claims; `file.py:NAME` is code and is run."""
    if gallery:
        fixed = {"METHODS": methods, "--epsilon": epsilon, "--seeds": seeds, "--rates": rates}
        on_trial(task, out or folder("gallery", task), workers, as_json, fixed)
        return
    methods = methods or []
    out, targets = out or folder("compare", task), epsilon or [3.0]
    told = f"{' with '.join(methods)} on {task} at ε={', '.join(f'{target:g}' for target in targets)}"
    count = f"{seeds} seeds" if seeds else "its own seeds"
    begin(f"comparing {told}: {count}, {workers or usable_cores()} processes, kept in {out}")
    with loading_torch():
        from lalora_kit.trial.beside import choosing_runs, run_beside
        from lalora_kit.trial.claim_runs import comparison, run_claims, tuning_note
        from lalora_kit.trial.study import lines
        from lalora_kit.trial.tables import RUNS, write_tables

    claims, design = comparison(methods, targets), designed(task, seeds, rates)
    command = f"lalora compare {methods}"
    rows = run_claims(out, design, claims=claims, workers=workers, command=command)
    runs = lines(out / RUNS)
    compared = run_beside(out, runs, claims, design, workers=workers, command=command)
    finish(rows, [], write_tables(out, rows, [], design), design, as_json, compared)
    typer.echo(tuning_note(runs, design, choosing_runs(out, design)), err=as_json)


def on_trial(task: str, out: Path, workers: int | None, as_json: bool, fixed: Mapping[str, object]) -> None:
    """The gallery's trial, whose methods, ε, seeds and rates stand in its design."""
    given = [name for name, value in fixed.items() if value]
    if given:
        raise ValueError(
            f"{', '.join(given)} cannot be given with --gallery: what it runs was fixed before its first run; leave it "
            "out, or name methods without --gallery"
        )
    begin(f"the gallery's trial on {task}: hours, {workers or usable_cores()} processes, kept in {out}")
    with loading_torch():
        from lalora_kit.records import SEED_KNOWN
        from lalora_kit.trial.gallery.design import gallery_trial
        from lalora_kit.trial.gallery.runs import count, facts, run_gallery
        from lalora_kit.trial.gallery.said import TABLE, sentences, write
        from lalora_kit.trial.gallery.table import tables

    trial = gallery_trial(task)
    path = run_gallery(out, trial, workers=workers)
    found = write(path, trial)
    if as_json:
        typer.echo((out / TABLE).read_text("utf-8"))
        return
    for line in (*(f"{table}\n" for table in tables(found)), *sentences(found, trial)):
        typer.echo(line)
    typer.echo(f"{count(trial, facts(path)[1])} runs, {SEED_KNOWN}; kept in {path} and {out / TABLE}")


def finish(
    rows: Sequence[Row], exact: Sequence[Exact], files: Sequence[Path], design: Design, as_json: bool,
    compared: Sequence[Baseline] = (),
) -> None:  # fmt: skip
    """Print the table, the baselines beside it, which best rates a wider grid might better, and where it is kept."""
    from lalora_kit.records import SEED_KNOWN
    from lalora_kit.trial.claim_runs import at_an_end
    from lalora_kit.trial.tables import as_records

    if as_json:
        typer.echo(json.dumps([*as_records(rows, exact), *(baseline.to_json() for baseline in compared)]))
        return
    tables.verdicts(rows, exact)
    if rows:
        among = rows[0].best.among
        typer.echo(f"all {among} intervals of this table hold together at 95 %; the verdicts are read off them")
    for baseline in compared:
        typer.echo(baseline.text)
    if compared:
        most = ", ".join(dict.fromkeys(end for baseline in compared for end in baseline.at_an_end)) or "none"
        typer.echo(f"head's rates {', '.join(f'{r:g}' for r in design.head_rates)}; best at an end of them: {most}")
    ends = ", ".join(at_an_end(rows, design.rates)) or "none"
    typer.echo(f"rates {', '.join(f'{rate:g}' for rate in design.rates)}; best rate at an end of them: {ends}")
    typer.echo(f"{SEED_KNOWN}; kept in {' and '.join(map(str, files))}")
