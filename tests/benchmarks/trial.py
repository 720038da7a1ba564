"""The rows of the claims in RESULTS, from the runs that ship: `python -m tests.benchmarks.trial mnist`.

Nothing is run: `lalora claims` makes the runs, and the test of RESULTS holds each row to what this prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from lalora_kit.trial.claim_runs import SHIPPED, shipped
from lalora_kit.trial.claims import POINTS, claims_on, exact_claims
from lalora_kit.trial.designs import design_of
from lalora_kit.trial.effects import Effect
from lalora_kit.trial.verdicts import Row, judge

TASKS = tuple(sorted(path.stem for path in SHIPPED.glob("*.jsonl")))
HEAD = "| claim | paper | at best rate | at equal rate | verdict here |\n|---|---|---|---|---|"
SUFFIX = {"points of accuracy": "", "c_W": " (c_W)"}


def judged(task: str) -> list[Row]:
    """Every row that the task is asked, from the runs that ship."""
    return judge(shipped(task), claims_on(task), design_of(task))


def row_text(row: Row) -> str:
    """A row of RESULTS."""
    claim, digits = row.claim, 1 if row.claim.unit is POINTS else 2

    def told(effect: Effect) -> str:
        return f"{effect.mean:+.{digits}f} [{effect.low:+.{digits}f}, {effect.high:+.{digits}f}]"

    paper = "–" if claim.paper is None else f"{claim.paper:+.{digits}f}"
    text = claim.text + SUFFIX.get(claim.unit.name, " (ln of the ratio)")
    return f"| {text} | {paper} | {told(row.best)} | {told(row.equal)} | **{row.verdict}** |"


def table(task: str) -> Iterator[str]:
    """The whole table."""
    yield HEAD
    yield from map(row_text, judged(task))
    for exact in exact_claims():
        yield f"| {exact.text} | exact | {exact.found} | | **{exact.verdict}** |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    print("\n".join(table(parser.parse_args().task)))
