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
from typing import Any

from lalora_kit.base.files import dumps, write_atomically
from lalora_kit.tasks.assets.language.distil import RECORD
from lalora_kit.trial.study import curves
from tests.benchmarks.photographs import margins_of
from tests.benchmarks.study import HEAD_ONLY, Done, Study

#: The adapters whose runs are kept; `--methods` adds others to the file.
ADAPTERS = ("dp-lora", "ffa-lora", "la-lora")
EPSILONS = ("8",)
#: Points over each baseline that would earn a backbone its place, each interval clear of zero.
LEAST = {"linear": 5, "head-only": 3}
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


def margins(done: Done) -> dict[str, Any]:
    """`margins_of` this study, and over which baselines they are as large as they ought to be."""
    found = margins_of(STUDY, ADAPTERS, done, "8")
    over = found["over"]
    earned = {name: over[name]["points"] >= least and over[name]["from"] > 0 for name, least in LEAST.items()}
    return {**found, "at least": LEAST, "earned": earned}


def write() -> None:
    """Put the margins of the kept runs into the record beside the weights."""
    record = json.loads(PLACE.read_text(encoding="utf-8"))
    record["margins"] = margins(curves(STUDY.results))
    write_atomically(PLACE, dumps(record) + "\n")


if __name__ == "__main__":
    write() if sys.argv[1:] == ["--write"] else STUDY.main(__doc__)
