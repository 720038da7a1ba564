"""What an adapter gains on `stdlib-docs-distilled`, each side at its best rate: the margins in the backbone's record.

    python -m tests.benchmarks.sentences --epsilon 8 --methods dp-lora ffa-lora la-lora head-only
    python -m tests.benchmarks.sentences --write          # nothing new: the margins at ε = 8 into the record

How rates are chosen: `tests/benchmarks/study.py`, by seeds 10 to 12, from one grid for adapters and one for heads and
the linear model; reported are seeds 0 to 4. Everything else is as usual on the task (`lalora_kit/runs/usual.py`). Grid
and seeds were fixed before the first reported run. The sentences are this Python's: compare numbers of one version.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lalora_kit.base.files import dumps, write_atomically
from lalora_kit.tasks.assets.language.distil import RECORD
from lalora_kit.trial.study import curves
from tests.benchmarks.photographs import margins_of
from tests.benchmarks.study import HEAD_ONLY, Study

ADAPTERS = ("dp-lora", "ffa-lora", "la-lora")
EPSILONS = ("8",)
PLACE = Path(__file__).parents[2] / "lalora_kit" / "tasks" / "assets" / "language" / RECORD

STUDY = Study(
    command="python -m tests.benchmarks.sentences",
    task="stdlib-docs-distilled",
    results=Path(__file__).parent / "results" / "sentences.jsonl",
    rates=dict.fromkeys(EPSILONS, (0.5, 1.0, 2.0, 4.0)),
    head_rates=dict.fromkeys(EPSILONS, (1.0, 2.0, 4.0, 8.0)),
    tuning_seeds=dict.fromkeys(EPSILONS, (10, 11, 12)),
    against=(HEAD_ONLY, "linear"),
    last=True,
)


def write() -> None:
    """Put the margins of the kept runs into the record beside the weights."""
    record = json.loads(PLACE.read_text(encoding="utf-8"))
    record["margins"] = margins_of(STUDY, ADAPTERS, curves(STUDY.results), "8")
    write_atomically(PLACE, dumps(record) + "\n")


if __name__ == "__main__":
    write() if sys.argv[1:] == ["--write"] else STUDY.main(__doc__)
