"""The rows of the claims in RESULTS, from the runs that ship: `python -m tests.benchmarks.trial mnist`.

A second table has the accuracies behind them, wherever LA-LoRA is compared with its rivals. With `gallery` it is what
RESULTS says of the gallery's trial, with `gallery --write` also its JSON beside the runs. Nothing is run: `lalora
claims` and `lalora compare --gallery` make the runs, and the tests of RESULTS hold each row to what this prints.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator

from lalora_kit.runs.usual import DEFAULT_TASK
from lalora_kit.trial.claim_runs import SHIPPED, shipped
from lalora_kit.trial.claims import POINTS, claims_on, exact_claims
from lalora_kit.trial.designs import at_best, chosen, design_of, run_of
from lalora_kit.trial.effects import Effect
from lalora_kit.trial.gallery.design import gallery_trial
from lalora_kit.trial.gallery.runs import FILE
from lalora_kit.trial.gallery.said import sentences, write
from lalora_kit.trial.gallery.said import shipped as shipped_gallery
from lalora_kit.trial.gallery.table import tables
from lalora_kit.trial.verdicts import Row, judge

TASKS = tuple(sorted(path.stem for path in SHIPPED.glob("*.jsonl")))
HEAD = "| claim | paper | at best rate | at equal rate | verdict here |\n|---|---|---|---|---|"
METHODS = ("la-lora", "dp-lora", "ffa-lora", "rolora")
ACCURACIES = f"| where | {' | '.join(METHODS)} | head-only |\n|---{'|---' * len(METHODS)}|---|"
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


def accuracies(task: str) -> Iterator[str]:
    """A row for each place where LA-LoRA meets its rivals: mean ± standard deviation over the design's first seeds.

    Each side is at its best rate, which stands in brackets; for head-only it is the head's, which is all sides'.
    """
    yield ACCURACIES
    runs, design = shipped(task), design_of(task)
    places: dict[str, dict[str, str]] = {}
    for row in judged(task):
        claim = row.claim
        if not claim.key.startswith("over-"):
            continue
        best = chosen(runs, claim, design)
        place = places.setdefault(claim.text.partition(" at ")[2], {})
        for arm, rate in zip(claim.arms, best.rates[claim.epsilon], strict=True):
            moved = {**claim.moved, "head_learning_rate": best.heads[claim.epsilon]}
            cells = [run_of(at_best(arm), rate, claim.epsilon, seed, design, **moved) for seed in design.seeds]
            ended = [runs[cell]["curve"][-1] for cell in cells]
            place[at_best(arm)] = f"{statistics.fmean(ended):.3f} ± {statistics.stdev(ended):.3f} ({rate:g})"
        place["head-only"] = f"{row.head_only:.3f} ({best.heads[claim.epsilon]:g})"
    for where, told in places.items():
        yield f"| {where} | {' | '.join(told[name] for name in (*METHODS, 'head-only'))} |"


def gallery(task: str = DEFAULT_TASK) -> Iterator[str]:
    """The gallery's accuracies, points over LA-LoRA, and sentences; points over the baselines are in the JSON."""
    found = shipped_gallery(task)
    for block in tables(found)[:2]:
        yield f"{block}\n"
    yield from (f"- {sentence}" for sentence in sentences(found, gallery_trial(task)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("asked", choices=[*TASKS, "gallery"])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.asked == "gallery":
        print("\n".join(gallery()))
        if options.write:
            write(FILE / f"{DEFAULT_TASK}.jsonl", gallery_trial(DEFAULT_TASK), FILE / f"{DEFAULT_TASK}.json")
    else:
        print("\n".join([*table(options.asked), "", *accuracies(options.asked)]))
