"""What else runs on the cores, and what a round then costs: `python -m tests.benchmarks.threads`.

Seconds a round of `digits` (la-lora, the default settings), quiet, beside a second training, and beside a busy process
on each core: once with the threads that the kit chooses, once with a thread for each core that spins while it waits,
as torch begins by itself. Medians of the rounds after the first; each is told as a ratio to its own quiet time.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

from lalora_kit.base.threads import usable_cores
from lalora_kit.book.notebooks import made_with

ROUNDS = 6
TRAIN = ["-m", "lalora_kit", "train", "--task", "digits", "--seed", "0", "--rounds", str(ROUNDS), "--json"]
KIT = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MKL_", "LALORA_"))}
WAYS = {
    "the kit's choice": KIT,
    "a spinning thread a core": {**KIT, "OMP_NUM_THREADS": str(usable_cores()), "OMP_WAIT_POLICY": "ACTIVE"},
}


def begin(environment: dict[str, str]) -> subprocess.Popen[str]:
    """One training in a process of its own."""
    command, out, nothing = [sys.executable, *TRAIN], subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdout=out, stderr=nothing, text=True)


def seconds(process: subprocess.Popen[str]) -> float:
    """Its median round, without the first."""
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return statistics.median(json.loads(line)["seconds"] for line in said.splitlines()[1:])


def measured(environment: dict[str, str]) -> dict[str, float]:
    """Seconds a round: alone, with a second training, with every core busy."""
    quiet = seconds(begin(environment))
    two = [begin(environment) for _ in range(2)]
    beside = statistics.mean(map(seconds, two))
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(usable_cores())]
    try:
        busy = seconds(begin(environment))
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    return {"quiet": quiet, "two trainings": beside, "busy cores": busy}


def main() -> None:
    """Measure both ways, and print a table."""
    about = made_with()
    print(f"{about['Machine']}, torch {about['torch']}, {usable_cores()} cores granted")
    print(f"{'threads':<26}{'quiet':>8}{'two trainings':>22}{'busy cores':>22}")
    for name, environment in WAYS.items():
        found = measured(environment)
        cells = (f"{found[at]:.2f} s, × {found[at] / found['quiet']:.2f}" for at in ("two trainings", "busy cores"))
        print(f"{name:<26}{found['quiet']:>6.2f} s{''.join(f'{cell:>22}' for cell in cells)}", flush=True)


if __name__ == "__main__":
    main()
