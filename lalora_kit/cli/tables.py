"""Tables that commands print: drawn by rich on a terminal, plain text with the same words anywhere else."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lalora_kit.runs.forecast import Forecast
    from lalora_kit.runs.results import Results, Scores
    from lalora_kit.runs.spent import Spent
    from lalora_kit.runs.yardsticks import Yardstick
    from lalora_kit.settings import Settings
    from lalora_kit.trial.claims import Exact
    from lalora_kit.trial.verdicts import Row


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> None:
    """Print rows of text under a head; the columns `numbers`, counted from 0, are set to the right."""
    if sys.stdout.isatty():
        drawn(head, rows, numbers)
    else:
        typer.echo(plain(head, rows, numbers))


def drawn(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> None:
    """With rules, and as wide as the terminal is: what is longer than its column goes on below."""
    from rich.box import ROUNDED
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = Table(box=ROUNDED, header_style="bold")
    for place, name in enumerate(head):
        found.add_column(name, justify="right" if place in numbers else "left", overflow="fold")
    for row in rows:
        found.add_row(*map(Text, row))  # as it is: a bracket is no markup
    Console().print(found)


def plain(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A line a row, two spaces between columns.

    >>> print(plain(["site", "n"], [["north", "7"], ["s", "12"]], numbers=[1]))
    site    n
    north   7
    s      12
    """
    lines = [head, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join(
        "  ".join(
            f"{cell:>{width}}" if place in numbers else f"{cell:<{width}}"
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def plan(found: Forecast, settings: Settings, unit: str) -> None:
    """A row a site, what to mend, and how to read it."""
    head = ("site", "n", "q", "batch", "σ", "noise", "signal/noise", "ε")
    widths = (4, 8, 8, 8, 9, 10, 14, 8)
    rows: list[tuple[str, ...]] = [
        (
            str(number), str(s.samples), f"{s.sample_rate:.3g}", f"{s.expected_batch:.4g}", f"{s.noise_multiplier:.3f}",
            f"{s.noise_std:.3g}", f"{s.signal_to_noise:.3g}", f"{s.epsilon:.3f}",
        )
        for number, s in enumerate(found.sites, start=1)
    ]  # fmt: skip
    if sys.stdout.isatty():
        drawn(head, rows, range(len(head)))
    else:
        for cells in (head, *rows):
            typer.echo("".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    for line in reading(found, settings, unit):
        typer.echo(line)


def reading(found: Forecast, settings: Settings, unit: str) -> list[str]:
    """What a plan's table means, and what to mend."""
    from lalora_kit.privacy.ledger import guarantee
    from lalora_kit.records import NO_NOISE

    lines = [f"the server's mean of one step over all sites: signal/noise {found.signal_to_noise:.3g}"]
    lines += [f"site {number}: {said}" for number, s in enumerate(found.sites, start=1) for said in s.remedies]
    lines.append(
        f"noise: standard deviation on each number of a step, σC/(q·n) with C={settings.clip_norm:g}. signal/noise: "
        f"the most that a step can have, q·n/(σ·√d) with d={found.parameters} numbers that train in it. {found.steps} "
        f"steps a site at δ={settings.delta:g}; "
        + (f"ε holds {guarantee(unit)}." if settings.private else f"{NO_NOISE}.")
        + " No data were touched."
    )
    if found.refused:
        lines.append("lalora train would refuse this plan as it stands: see the sites above")
    return lines


def results(found: Results) -> None:
    """A row a site, a row a class, and the ε spent."""
    from lalora_kit.runs import results as told

    if not sys.stdout.isatty():
        typer.echo(told.text(found))
        return
    typer.echo(told.headline(found))
    rows = [(n, *scored(s), told.shown(found.epsilons[n]), str(found.held[n])) for n, s in found.sites.items()]
    head = ("site", "test", "accuracy", "balanced", "ε", f"{found.unit}s")
    drawn(head, [*rows, ("all", *scored(found.overall), "", "")], range(1, len(head)))
    recalls = zip(found.classes, map(told.shown, found.overall.recalls), strict=True)
    drawn(("class", "recall"), list(recalls), [1])
    for line in told.spent(found):
        typer.echo(line)


def baselines(unit: str, measured: list[Yardstick], total: Spent) -> None:
    """A row a baseline, and what they cost."""
    from lalora_kit.runs import yardsticks
    from lalora_kit.runs.results import shown

    if not sys.stdout.isatty():
        typer.echo(yardsticks.text(unit, measured, total))
        return
    rows, refused = [], []
    for y in measured:
        if y.overall is None:
            refused.append(f"{y.name} could not train: {y.refused}")
        own = "" if y.own is None else f"{shown(y.own.accuracy)} of {y.own.samples}"
        rows.append((y.name, *scored(y.overall), shown(y.epsilon), own))
    head = ("baseline", "test", "accuracy", "balanced", "ε", "accuracy on its own site")
    drawn(head, rows, range(1, len(head)))
    for line in (*refused, yardsticks.cost(unit, total)):
        typer.echo(line)


def scored(s: Scores | None) -> Sequence[str]:
    """Samples and both accuracies; nothing for what could not train."""
    from lalora_kit.runs.results import shown

    return ("", "", "") if s is None else (str(s.samples), shown(s.accuracy), shown(s.balanced_accuracy))


def verdicts(rows: Sequence[Row], exact: Sequence[Exact]) -> None:
    """A row a claim: on a terminal a drawn table, elsewhere a line."""
    names = ("equal", "best", "control")
    effects = [[getattr(row, name) for name in names] for row in rows]
    shown = [
        [f"{e.mean:+.2f} [{e.low:+.2f}, {e.high:+.2f}]" if math.isfinite(e.mean) else "" for e in of] for of in effects
    ]
    if sys.stdout.isatty():
        table = [[r.claim.text, r.verdict, *said, r.claim.unit.name] for r, said in zip(rows, shown, strict=True)]
        drawn(
            ("claim", "verdict", *names, "unit"),
            [*table, *([e.text, e.verdict, e.found, "", "", ""] for e in exact)],
            [],
        )
        return
    width = max(map(len, [*(row.claim.text for row in rows), *(statement.text for statement in exact)]))
    words = max(map(len, [*(row.verdict for row in rows), *(statement.verdict for statement in exact)])) + 2
    for row, said in zip(rows, shown, strict=True):
        figures = "  ".join(f"{name} {text}" for name, text in zip(names, said, strict=True) if text)
        typer.echo(f"{row.claim.text:<{width}}  {row.verdict:<{words}}{figures}  ({row.claim.unit.name})")
    for statement in exact:
        typer.echo(f"{statement.text:<{width}}  {statement.verdict:<{words}}{statement.found}")
