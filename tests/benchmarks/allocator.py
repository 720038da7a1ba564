"""What keeping freed memory, and huge pages, win and hold: `python -m tests.benchmarks.allocator`, on Linux with glibc.

Two trainings (la-lora, one thread) in turn, a round each: one as the kit is, one whose user has said otherwise
(`--against`), which the kit leaves alone. Medians of the ratios of neighbours, in processor seconds, which do not count
what else runs; page faults a round; and at the end what each held at its peak and holds now.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from lalora_kit.base.allocator import HUGE
from lalora_kit.base.threads import usable_cores
from lalora_kit.book.notebooks import made_with

ROUNDS = """
import resource, sys
from lalora_kit import METHODS, Settings, federated_rounds, load_task
from tests.benchmarks.speed import kilobytes
settings = Settings(seed=0, rounds={rounds}, rank={rank}, threads=1)
rounds = federated_rounds(load_task("{task}"), METHODS["la-lora"], settings)
def used():
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime, now.ru_minflt
for _ in sys.stdin:
    before = used()
    next(rounds)
    held = kilobytes("VmHWM") / 1024, kilobytes("VmRSS") / 1024
    print(*(b - a for a, b in zip(before, used())), *held, flush=True)
"""
OTHERS = {
    "glibc's own": {"GLIBC_TUNABLES": "glibc.malloc.check=0"},  # checks are off by themselves too
    "small pages": {HUGE: "0"},
}


def waiting(task: str, rank: int, rounds: int, variables: dict[str, str]) -> subprocess.Popen[str]:
    """A training that makes a round for each line it is sent."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES", HUGE))}
    code, pipe = ROUNDS.format(task=task, rank=rank, rounds=rounds), subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], env={**kept, **variables}, stdin=pipe, stdout=pipe, text=True)


def next_round(process: subprocess.Popen[str]) -> list[float]:
    """Processor seconds and page faults of its next round, and MiB: its peak so far, and what it holds."""
    assert process.stdin is not None and process.stdout is not None
    print(file=process.stdin, flush=True)
    return list(map(float, process.stdout.readline().split()))


def measured(task: str, rank: int, pairs: int, against: str) -> None:
    """Print a row."""
    processes = [waiting(task, rank, pairs + 1, variables) for variables in ({}, OTHERS[against])]
    try:
        for process in processes:
            next_round(process)  # warms up
        found = [[next_round(process) for process in processes] for _ in range(pairs)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    ratio = statistics.median(ours[0] / theirs[0] for ours, theirs in found)
    faults = [statistics.median(row[way][1] for row in found) for way in range(2)]
    (_, _, peak, held), (_, _, other_peak, other_held) = found[-1]
    print(
        f"{f'{task}, rank {rank}':<22}× {ratio:.3f}{faults[0]:>10.0f}{faults[1]:>9.0f}"
        f"{f'{peak:.0f}, {other_peak:.0f} MiB':>20}{f'{held:.0f}, {other_held:.0f} MiB':>20}",
        flush=True,
    )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--against", choices=OTHERS, default="glibc's own")
    parser.add_argument("--rows", nargs="+", default=["digits:4", "digits:32", "stdlib-docs:4"], help="TASK:RANK")
    options = parser.parse_args()
    about = made_with()
    print(f"{about['Machine']}, torch {about['torch']}, {usable_cores()} cores granted, load {os.getloadavg()[0]:.1f}")
    print(f"{'a round over ' + options.against:<22}{'faults of both':>25}{'peak':>20}{'held':>20}")
    for row in options.rows:
        task, rank = row.split(":")
        measured(task, int(rank), options.pairs, options.against)
    print(f"load at the end {os.getloadavg()[0]:.1f}; medians of {options.pairs} pairs")


if __name__ == "__main__":
    main()
