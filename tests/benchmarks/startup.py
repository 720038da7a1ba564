"""What one waits for: `python -m tests.benchmarks.startup`, on a machine where nothing else runs.

Seconds until the first line of `lalora train` (of any stream), until its first round, and until it has ended: in a
fresh `--out`, resumed there after its first round, and without `--out`; and of `lalora --help` and of importing the
kit. Medians of `--repeats` runs, which go round the rows in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lalora_kit.base.threads import usable_cores
from lalora_kit.book.notebooks import made_with

TRAIN = ["-u", "-m", "lalora_kit", "train"]
FRESH = [*TRAIN, "--task", "digits", "--seed", "0", "--rounds", "2"]
BROKEN_OFF = (
    "from pathlib import Path; from lalora_kit import METHODS, Settings, load_task;"
    "from lalora_kit.runs.checkpoint import save_rounds;"
    "next(save_rounds(load_task('digits'), METHODS['la-lora'], Settings(seed=0, rounds=2), Path({!r})))"
)
ROWS = ("train, fresh --out", "train --resume", "train, no --out", "lalora --help", "import lalora_kit")


def command(row: str, place: Path) -> list[str]:
    """What a row runs, after what it needs has been made in `place`."""
    if row == "train, fresh --out":
        return [*FRESH, "--out", str(place / "run")]
    if row == "train --resume":
        subprocess.run([sys.executable, "-c", BROKEN_OFF.format(str(place / "run"))], check=True)
        return [*TRAIN, "--resume", str(place / "run")]
    if row == "train, no --out":
        return FRESH
    return ["-m", "lalora_kit", "--help"] if row == "lalora --help" else ["-c", "import lalora_kit"]


def timed(words: list[str]) -> tuple[float, float, float]:
    """Seconds until the first line, the first new round and the end; NaN for what does not come."""
    first = shown = float("nan")
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        new = "round   2/" if "--resume" in words else "round   1/"
        for line in process.stdout:
            now = time.perf_counter() - started
            first = min(first, now) if first == first else now
            shown = now if line.startswith(new) and shown != shown else shown
    assert process.returncode == 0, words
    return first, shown, time.perf_counter() - started


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    about, load = made_with(), os.getloadavg()[0]
    print(f"{about['Machine']}, {usable_cores()} cores granted, torch {about['torch']}, load {load:.1f}", flush=True)
    found: dict[str, list[tuple[float, float, float]]] = {row: [] for row in ROWS}
    for _ in range(repeats):
        for row in ROWS:
            with tempfile.TemporaryDirectory() as place:
                found[row].append(timed(command(row, Path(place))))
    print(f"{'seconds until':<22}{'first line':>12}{'first round':>13}{'the end':>10}")
    for row, times in found.items():
        medians = [statistics.median(column) for column in zip(*times, strict=True)]
        shown = ["–" if value != value else f"{value:.2f}" for value in medians]
        print(f"{row:<22}{shown[0]:>12}{shown[1]:>13}{shown[2]:>10}")
    print(f"load at the end {os.getloadavg()[0]:.1f}; medians of {repeats}")


if __name__ == "__main__":
    main()
