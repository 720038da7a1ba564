"""Accuracy of the methods and of `head-only` on `digits`, each at its best rates: the table of RESULTS.md.

    python -m tests.benchmarks.accuracy
    python -m tests.benchmarks.accuracy --epsilon 3 --methods la-lora dp-lora head-only

How rates are chosen: `tests/benchmarks/study.py`. Five seeds choose at the default ε, two elsewhere: a run takes
seconds, the whole table hundreds of them.
"""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.study import Study

STUDY = Study(
    command="python -m tests.benchmarks.accuracy",
    task="digits",
    results=Path(__file__).parent / "results" / "accuracy.jsonl",
    rates={
        "inf": (1.0, 2.0, 4.0),
        "8": (0.5, 1.0, 2.0),
        "3": (0.25, 0.5, 1.0, 2.0),
        "1": (0.25, 0.5, 1.0),
    },
    head_rates={"inf": (1.0, 2.0, 4.0), "8": (0.5, 1.0, 2.0), "3": (0.25, 0.5, 1.0), "1": (0.125, 0.25, 0.5)},
    tuning_seeds={"inf": (5, 6), "8": (5, 6), "3": (5, 6, 7, 8, 9), "1": (5, 6)},
)

if __name__ == "__main__":
    STUDY.main(__doc__)
