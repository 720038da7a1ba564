"""Whether seeds side by side pay: `python -m tests.benchmarks.workers`, on a machine where nothing else runs.

Seconds that `ensure` takes for short runs of a study (head-only, other seeds each), by one worker and by as many as
cores are granted, in turn; each worker is a process of one thread, and its start is counted. The median of the ratios
of neighbours: below one, side by side pays.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from lalora_kit.base.threads import usable_cores
from lalora_kit.book import notebooks
from lalora_kit.trial.study import DEFAULTS, Cell, ensure, made_with


def seconds(cells: list[Cell], made: dict[str, Any], workers: int) -> float:
    """What all cells take, kept in a fresh file."""
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        ensure(cells, made, Path(place) / "runs.jsonl", workers, report=lambda done, of: None)
        return time.perf_counter() - started


def main() -> None:
    """Measure, and print a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="head-only")
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    many, about = usable_cores(), notebooks.made_with()
    cells = [
        Cell(options.method, DEFAULTS.learning_rate, DEFAULTS.epsilon, DEFAULTS.rank, DEFAULTS.clients, seed)
        for seed in range(options.runs)
    ]
    made = made_with("python -m tests.benchmarks.workers", "digits")
    print(
        f"{about['Machine']}, torch {about['torch']}, {many} cores granted, load {os.getloadavg()[0]:.1f}", flush=True
    )
    pairs = []
    for _ in range(options.pairs):
        pairs.append((seconds(cells, made, many), seconds(cells, made, 1)))
        print(f"{many} workers {pairs[-1][0]:.1f} s, one {pairs[-1][1]:.1f} s", flush=True)
    ratio = statistics.median(side / turn for side, turn in pairs)
    print(f"{options.runs} runs of {options.method}, side by side / in turn: × {ratio:.2f}")
    print(f"load at the end {os.getloadavg()[0]:.1f}; median of {options.pairs} pairs")


if __name__ == "__main__":
    main()
