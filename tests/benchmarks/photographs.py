"""What an adapter gains on `mnist`, each side at its best rate: the margins in the backbone's record.

    python -m tests.benchmarks.photographs --epsilon 3      # 175 runs, at most half a minute each on one core
    python -m tests.benchmarks.photographs --write          # nothing new: the margins at ε = 3 into the record

How rates are chosen: `tests/benchmarks/study.py`, by seeds 10 to 12, from one grid for adapters, heads and linear
models; reported are seeds 0 to 9. Everything else is as usual on the task (`lalora_kit/runs/usual.py`). Grid, seeds and
the camera were fixed before the first reported run; the camera's k is chosen for the margins of dp-lora and ffa-lora.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from lalora_kit.base.files import dumps, write_atomically
from lalora_kit.tasks.assets.letters.pretrain import RECORD
from lalora_kit.trial.designs import design_of
from lalora_kit.trial.effects import effect_at
from lalora_kit.trial.rivals import LINEARS
from lalora_kit.trial.study import curves
from tests.benchmarks.study import HEAD_ONLY, Done, Row, Study

DESIGN = design_of("mnist")
GRID, TUNING = tuple(DESIGN.rates), DESIGN.tuning_seeds
EPSILONS = ("3", "1", "8", "inf")
ADAPTERS = ("dp-lora", "ffa-lora", "la-lora", "rolora")
PLACE = Path(__file__).parents[2] / "lalora_kit" / "tasks" / "assets" / "letters" / RECORD

STUDY = Study(
    command="python -m tests.benchmarks.photographs",
    task="mnist",
    results=Path(__file__).parent / "results" / "photographs.jsonl",
    rates=dict.fromkeys(EPSILONS, GRID),
    head_rates=dict.fromkeys(EPSILONS, GRID),
    tuning_seeds=dict.fromkeys(EPSILONS, TUNING),
    against=(HEAD_ONLY, *LINEARS),
    reported=DESIGN.seeds,
    last=True,
)


def final(study: Study, done: Done, method: str, epsilon: str, seeds: tuple[int, ...]) -> list[float]:
    """Accuracies of a method at its best rate, seed by seed."""
    row: Row = (method, epsilon, study.usual.clients)
    return [done[cell][-1] for cell in study.cells(row, study.best(row, done), seeds)]


def best_adapter(study: Study, adapters: tuple[str, ...], done: Done, epsilon: str) -> str:
    """The method that is best on the seeds that choose."""
    return max(
        adapters, key=lambda name: statistics.fmean(final(study, done, name, epsilon, study.tuning_seeds[epsilon]))
    )


def margins_of(study: Study, adapters: tuple[str, ...], done: Done, epsilon: str) -> dict[str, Any]:
    """Points of the best adapter over each baseline, seed by seed, with the 95 % interval of their mean."""
    best, seeds = best_adapter(study, adapters, done, epsilon), study.reported
    own = final(study, done, best, epsilon, seeds)
    over = {}
    for name in study.against:
        others = final(study, done, name, epsilon, seeds)
        gained = effect_at([100 * (a - b) for a, b in zip(own, others, strict=True)])
        over[name] = {"points": round(gained.mean, 2), "from": round(gained.low, 2), "to": round(gained.high, 2)}
    accuracy = {n: round(statistics.fmean(final(study, done, n, epsilon, seeds)), 4) for n in (*adapters, *over)}
    return {"epsilon": float(epsilon), "seeds": list(seeds), "best adapter": best, "accuracy": accuracy, "over": over}


def margins(done: Done, epsilon: str = "3") -> dict[str, Any]:
    """`margins_of` this study."""
    return margins_of(STUDY, ADAPTERS, done, epsilon)


def rows(done: Done, epsilon: str = "3") -> list[str]:
    """The table of RESULTS.md in Markdown: accuracy with the rates, and each adapter's points over each baseline."""
    table = []
    for name in (*ADAPTERS, *STUDY.against):
        row: Row = (name, epsilon, STUDY.usual.clients)
        gains = [STUDY.gain(row, other, done, STUDY.reported) if name in ADAPTERS else "" for other in STUDY.against]
        table.append(f"| {' | '.join([name, STUDY.shown(row, done, STUDY.reported), *gains])} |")
    return table


def write() -> None:
    """Put the margins of the kept runs into the record beside the weights."""
    record = json.loads(PLACE.read_text(encoding="utf-8"))
    record["margins"] = margins(curves(STUDY.results))
    write_atomically(PLACE, dumps(record) + "\n")


if __name__ == "__main__":
    write() if sys.argv[1:] == ["--write"] else STUDY.main(__doc__)
