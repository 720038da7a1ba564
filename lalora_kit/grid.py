"""The grid that lesson 04 draws: every method at the defaults but for one setting, several seeds each.

    python -m lalora_kit.grid                       # all of it: about 600 runs of some seconds
    python -m lalora_kit.grid --axis learning_rate --seeds 0 1

Each run is appended to a JSON-lines file as soon as it ends; a second call goes on where the first one stopped. A
line that says with what a call was made (versions, machine, task, settings) comes before its runs.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lalora_kit.files import append_line, dumps, read_lines, write_atomically
from lalora_kit.identity import digest
from lalora_kit.methods import METHODS, Method
from lalora_kit.methods.controls import CONTROLS, PASSED
from lalora_kit.settings import Settings

FILE = Path(__file__).parent / "assets" / "grid.jsonl"
COMMAND = "python -m lalora_kit.grid"
DEFAULTS = Settings()
SEEDS = (0, 1, 2, 3, 4)
RATE = "learning_rate"
AXES: dict[str, tuple[float, ...]] = {
    "learning_rate": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    "epsilon": (1.0, 3.0, 8.0, math.inf),
    "rank": (1, 4, 16),
    "clients": (2, 8, 32),
}
#: name of a line in the picture -> (method, factor of the adapter's learning rate)
SERIES: dict[str, tuple[str, float]] = {
    **{name: (name, 1.0) for name in (*METHODS, *CONTROLS)},
    f"la-lora-nofilter × {PASSED}": ("la-lora-nofilter", PASSED),
    "dp-lora × 0.71": ("dp-lora", 0.71),
    "dp-lora × 0.5": ("dp-lora", 0.5),
}


@dataclass(frozen=True)
class Cell:
    """What a run varies; everything else is at the defaults. Infinite ε is written as null."""

    method: str
    learning_rate: float
    epsilon: float
    rank: int
    clients: int
    seed: int

    @property
    def settings(self) -> Settings:
        """The run's settings."""
        return Settings(**{name: getattr(self, name) for name in (*AXES, "seed")})

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        return {**asdict(self), "epsilon": self.epsilon if math.isfinite(self.epsilon) else None}


def cell(series: str, axis: str, value: float, seed: int) -> Cell:
    """The run behind one point of a line. A method that trains no factor has one for all adapter rates."""
    method, factor = SERIES[series]
    values = {name: getattr(DEFAULTS, name) for name in AXES}
    if find(method).trained_in(1, DEFAULTS.local_steps) or axis != RATE:
        values[axis] = value
    values[RATE] = round(factor * values[RATE], 9)
    return Cell(method=method, seed=seed, **values)


def find(method: str) -> Method:
    """A method or a control by its name."""
    return {**METHODS, **CONTROLS}[method]


def cells(axes: Iterable[str], series: Iterable[str], seeds: Iterable[int]) -> list[Cell]:
    """All runs asked for, each once, seed by seed, so that a grid cut short has every point at least once."""
    wanted = [cell(name, axis, x, seed) for seed in seeds for axis in axes for name in series for x in AXES[axis]]
    return list(dict.fromkeys(wanted))


def train(run: Cell) -> dict[str, Any]:
    """One run; the worker keeps to one thread, so that two of them share two cores."""
    import torch

    from lalora_kit.federated import federated_rounds
    from lalora_kit.tasks import load_task

    torch.set_num_threads(1)
    started = time.perf_counter()
    records = list(federated_rounds(load_task("digits"), find(run.method), run.settings))
    return {
        **run.to_json(),
        "curve": [round(r.accuracy, 4) for r in records],
        "noise_multiplier": round(records[-1].noise_multiplier, 4),
        "seconds": round(time.perf_counter() - started, 1),
    }


def made_with() -> dict[str, Any]:
    """Versions, machine, data, backbone and settings: what a grid depends on; its digest is named in each run."""
    from lalora_kit.federated import federated_rounds
    from lalora_kit.tasks import load_task

    quick = Settings(rounds=1, clients=1, epsilon=math.inf, seed=0)
    [first] = federated_rounds(load_task("digits"), METHODS["head-only"], quick)
    made = {
        "command": COMMAND,
        "task": {name: first.state.identity[name] for name in ("task", "data", "backbone", "trains")},
        "settings": {name: value for name, value in DEFAULTS.to_json().items() if name not in (*AXES, "seed")},
        "versions": {name: version(name) for name in ("lalora-kit", "torch", "timm", "numpy")},
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
    }
    return {"made": digest(made), **made}


def load(path: Path = FILE) -> dict[Cell, list[float]]:
    """Accuracy after each round, of every run that is done."""
    lines = [kept for kept in read_lines(path) if "curve" in kept]
    names = [*AXES, "method", "seed"]
    found: list[dict[str, Any]] = [{n: math.inf if kept[n] is None else kept[n] for n in names} for kept in lines]
    return {Cell(**values): kept["curve"] for values, kept in zip(found, lines, strict=True)}


def ensure(wanted: Iterable[Cell], made: dict[str, Any], path: Path, workers: int) -> None:
    """Run what is missing, keeping each result as it comes.

    Raises:
        ValueError: if the file holds runs on another task or at other defaults.
    """
    lines = read_lines(path)
    if path.exists():  # a last line that was cut short would spoil the next one
        write_atomically(path, "".join(dumps(kept).replace("\n", "") + "\n" for kept in lines))
    for name in ("task", "settings"):
        if any(kept[name] != made[name] for kept in lines if name in kept):
            raise ValueError(f"{path} was made with another {name}; its runs do not compare; delete it to start anew")
    missing = [c for c in wanted if c not in load(path)]
    if missing and made["made"] not in {kept["made"] for kept in lines}:
        append_line(path, made)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(train, c) for c in missing]
        for job in tqdm(as_completed(jobs), total=len(jobs), disable=not jobs):
            append_line(path, {**job.result(), "made": made["made"]})


def main() -> None:
    """Run what is missing of the grid, or of the part asked for."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Run what is missing of the grid of lesson 04.")
    parser.add_argument("--axis", nargs="+", choices=list(AXES), default=list(AXES))
    parser.add_argument("--series", nargs="+", choices=list(SERIES), default=list(SERIES), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    ensure(cells(options.axis, options.series, options.seeds), made_with(), options.out, options.workers)


if __name__ == "__main__":
    main()
