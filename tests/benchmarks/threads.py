"""What else runs on the cores, and what a round then costs: `python -m tests.benchmarks.threads`.

Seconds a round of `digits` (la-lora, the default settings), quiet, beside a second training, and beside a busy process
on each core: once with the threads that the kit chooses, once with a thread for each core that spins while it waits,
as torch begins by itself. Medians of the rounds after the first; each is told as a ratio to its own quiet time.

`--against DIR` names another checkout: rounds of this one with the kit's choice in turn with rounds of that one in both
ways, each told as the median of the ratios of neighbours. Whoever is not in turn is stopped, its spinning threads too.
"""

from __future__ import annotations

import json
import os
import signal
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


PAIRS = 15
ROUND_BY_ROUND = f"""
import sys
from lalora_kit import METHODS, Settings, federated_rounds, load_task
rounds = federated_rounds(load_task("digits"), METHODS["la-lora"], Settings(seed=0, rounds={PAIRS + 1}))
for _ in sys.stdin:
    print(next(rounds).seconds, flush=True)
"""


def waiting(environment: dict[str, str], checkout: str) -> subprocess.Popen[str]:
    """A training of a checkout that makes a round for each line it is sent."""
    command, pipe = [sys.executable, "-c", ROUND_BY_ROUND], subprocess.PIPE
    found = {**environment, "PYTHONPATH": checkout}
    return subprocess.Popen(command, env=found, cwd=checkout, stdin=pipe, stdout=pipe, text=True)


def in_turn(process: subprocess.Popen[str]) -> float:
    """Seconds of its next round; between its rounds it is stopped."""
    assert process.stdin is not None and process.stdout is not None
    process.send_signal(signal.SIGCONT)
    print(file=process.stdin, flush=True)
    took = float(process.stdout.readline())
    process.send_signal(signal.SIGSTOP)
    return took


def against(other: str) -> None:
    """Print this checkout's rounds over those of another."""
    ours = waiting(KIT, os.getcwd())
    theirs = {name: waiting(environment, other) for name, environment in WAYS.items()}
    try:
        for process in (ours, *theirs.values()):
            in_turn(process)  # the first round warms up
        took = {
            name: [(in_turn(ours), in_turn(process)) for _ in range(PAIRS // 2)] for name, process in theirs.items()
        }
    finally:
        for process in (ours, *theirs.values()):
            process.kill()
            process.wait()
    for name, pairs in took.items():
        ratio, seconds = statistics.median(a / b for a, b in pairs), statistics.median(a for a, _ in pairs)
        print(f"a round here {seconds:.2f} s, × {ratio:.2f} of one there with {name}")


def main() -> None:
    """Measure both ways, and print a table."""
    about = made_with()
    print(f"{about['Machine']}, torch {about['torch']}, {usable_cores()} cores granted")
    if sys.argv[1:2] == ["--against"]:
        against(os.path.abspath(sys.argv[2]))
        return
    print(f"{'threads':<26}{'quiet':>8}{'two trainings':>22}{'busy cores':>22}")
    for name, environment in WAYS.items():
        found = measured(environment)
        cells = (f"{found[at]:.2f} s, × {found[at] / found['quiet']:.2f}" for at in ("two trainings", "busy cores"))
        print(f"{name:<26}{found['quiet']:>6.2f} s{''.join(f'{cell:>22}' for cell in cells)}", flush=True)


if __name__ == "__main__":
    main()
