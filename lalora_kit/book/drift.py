"""Drift: what two runs of the same notebooks say differently, such as last week's versions and today's.

Compares two files that `lalora ci --json` wrote: versions, parameters, figures and claims, a line a difference. Only
what held and holds no longer is a loss; a figure that moved is told, for nothing says which of the two is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

from lalora_kit.base.checks import require
from lalora_kit.base.files import read_object

TOLERANCE = 0.05
"""Relative difference up to which a figure counts as unmoved."""

REMEDY = "name a file that `lalora ci --json FILE` wrote"
NOTHING = "–"
TOLD_ALONE = ("Date",)  # differs between any two runs


@dataclass(frozen=True)
class Difference:
    """One line: where (a run's name, or `versions`), what, its old and new value; `lost` if it held and does no more.

    `moved` is the relative difference of a figure, |new − old| over the larger of the two in size; None elsewhere.
    """

    where: str
    what: str
    old: object
    new: object
    lost: bool = False
    moved: float | None = None


def read_report(path: Path) -> dict[str, Any]:
    """What `lalora ci --json` wrote, or ValueError for anything else."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; {REMEDY}")
    told = read_object(path, REMEDY)
    runs = told.get("notebooks")
    named = isinstance(runs, list) and all(isinstance(run, dict) and isinstance(run.get("name"), str) for run in runs)
    if not named or not isinstance(told.get("made_with"), dict):
        raise ValueError(f"{path} tells of no runs of notebooks; {REMEDY}")
    return told


def drift(old: Mapping[str, Any], new: Mapping[str, Any], tolerance: float = TOLERANCE) -> list[Difference]:
    """Every difference between two reports, versions first, then run by run in the old one's order.

    Raises ValueError for a tolerance that is no number from 0 to below 1.
    """
    rule, remedy = "it is a relative difference, from 0 to below 1", "use a number such as 0.05"
    require("tolerance", tolerance, 0 <= tolerance < 1, rule, remedy)
    found = list(of_values("versions", "", old["made_with"], new["made_with"]))
    before, after = ({run["name"]: run for run in told["notebooks"]} for told in (old, new))
    for name in [*before, *(name for name in after if name not in before)]:
        found += of_run(name, before.get(name), after.get(name), tolerance)
    return found


def of_run(
    name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, tolerance: float
) -> Iterator[Difference]:
    """Differences of one run; figures and claims are compared where it passed both times at equal parameters."""
    before, after = ended(old), ended(new)
    if before != after:
        yield Difference(name, "run", before, after, lost=before == "passed")
    if old is None or new is None or (before, after) != ("passed", "passed"):
        return
    given = list(of_values(name, "parameter ", told(old, "parameters"), told(new, "parameters")))
    if given:  # another experiment: whether its claims still hold, nobody can say
        yield from (replace(change, lost=True) for change in given)
        return
    yield from of_figures(name, told(old, "figures"), told(new, "figures"), tolerance)
    for change in of_values(name, "claim: ", told(old, "seen"), told(new, "seen")):
        yield replace(change, lost=change.old is True)


def ended(run: Mapping[str, Any] | None) -> str:
    """How a run ended, in a word."""
    return NOTHING if run is None else "passed" if run.get("ok") else "failed"


def told(run: Mapping[str, Any], part: str) -> dict[str, Any]:
    """A part of a notebook's own record; parameters that it was given count with those that it tells of."""
    own = (run.get("record") or {}).get(part) or {}
    return {**own, **(run.get("parameters") or {})} if part == "parameters" else own


def of_values(where: str, prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    """Names whose values are not the same, those that only one side has included."""
    for name in [*old, *(name for name in new if name not in old)]:
        values = old.get(name, NOTHING), new.get(name, NOTHING)
        if values[0] != values[1] and name not in TOLD_ALONE:
            yield Difference(where, f"{prefix}{name}", *values)


def of_figures(name: str, old: Mapping[str, Any], new: Mapping[str, Any], tolerance: float) -> Iterator[Difference]:
    """Figures that moved by more than the tolerance, or are numbers on one side only."""
    for change in of_values(name, "figure: ", old, new):
        if not (is_number(change.old) and is_number(change.new)):
            yield change
            continue
        moved = abs(change.new - change.old) / max(abs(change.new), abs(change.old))
        if moved > tolerance:
            yield Difference(name, change.what, change.old, change.new, moved=moved)


def is_number(value: object) -> TypeGuard[float]:
    """Not null, which stands for an infinity, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def table(found: list[Difference], compared: int, tolerance: float = TOLERANCE) -> str:
    """A line a difference, and a last one that counts; a loss is marked `LOST`."""
    rows = [
        (
            "LOST" if line.lost else "",
            line.where,
            line.what,
            shown(line.old),
            shown(line.new),
            "" if line.moved is None else f"{line.moved:.1%}",
        )
        for line in found
    ]
    rows.insert(0, ("", "where", "what", "old", "new", "moved by"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lost = sum(line.lost for line in found)
    last = f"{compared} runs, figures told beyond {tolerance:g} of the larger"
    lines.append(f"{last}: {len(found)} differences, {lost} lost")
    return "\n".join(lines)


def shown(value: object) -> str:
    """A value in few characters; a claim as seen or not."""
    if isinstance(value, bool):
        return "seen" if value else "not seen"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
