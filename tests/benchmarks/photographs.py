"""What an adapter gains on `mnist`, each side at its best rate: the margins in the backbone's record.

    python -m tests.benchmarks.photographs --epsilon 3      # some 110 runs, half a minute each on one core
    python -m tests.benchmarks.photographs

How rates are chosen: `tests/benchmarks/study.py`, by seeds 10 to 12, from one grid for adapters, heads and linear
models; reported are seeds 0 to 9. Everything else is as usual on the task (`lalora_kit/runs/usual.py`). Grid, seeds and
the camera were fixed before the first reported run; the camera's k is chosen for the margins of dp-lora and ffa-lora.
"""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.study import HEAD_ONLY, LINEAR_MODELS, Study

GRID = (0.5, 1.0, 2.0, 4.0, 8.0)
TUNING = (10, 11, 12)
EPSILONS = ("3", "1", "8", "inf")

STUDY = Study(
    command="python -m tests.benchmarks.photographs",
    task="mnist",
    results=Path(__file__).parent / "results" / "photographs.jsonl",
    rates=dict.fromkeys(EPSILONS, GRID),
    head_rates=dict.fromkeys(EPSILONS, GRID),
    tuning_seeds=dict.fromkeys(EPSILONS, TUNING),
    against=(HEAD_ONLY, *LINEAR_MODELS),
    reported=tuple(range(10)),
    last=True,
)

if __name__ == "__main__":
    STUDY.main(__doc__)
