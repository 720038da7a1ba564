"""Who pays for the noise: the right names at each owner's own test sentences, over seeds, with and without noise.

    python -m tests.benchmarks.owners      # adds the runs that are missing to the file that lesson 08 reads; minutes

One run a seed and ε of `la-lora` on `stdlib-docs-by-module`: 8 clients, 6 rounds, rank 4, the adapter's rate 8, all
else as usual. Seeds and settings were written here before the first run.
"""

from __future__ import annotations

import itertools
import math
import platform

import torch
from lalora_kit.lessons.owners import KEPT, TASK

from lalora_kit import METHODS, Ledger, Settings, federated_rounds, load_task
from lalora_kit.base.files import append_line, read_lines
from lalora_kit.base.threads import torch_threads
from lalora_kit.engine.persample import Engine

METHOD, EPSILONS, SEEDS = "la-lora", (math.inf, 1.0, 3.0), range(10)
SETTINGS = {"clients": 8, "rounds": 6, "rank": 4, "learning_rate": 8.0}


def main() -> None:
    """Make what is missing, seed by seed."""
    task = load_task(TASK)
    tested = [owner for owner in range(len(task.owners)) if bool((task.test.owners == owner).any())]
    if not KEPT.exists():
        counts = {
            name: torch.bincount(split.owners, minlength=len(task.owners))[tested].tolist()
            for name, split in (("train", task.train), ("test", task.test))
        }
        append_line(KEPT, {"task": TASK, "method": METHOD, "python": platform.python_version(), **SETTINGS, **counts})
    made = {(line["epsilon"], line["seed"]) for line in read_lines(KEPT) if "seed" in line}
    engine = Engine(task, Settings(rank=SETTINGS["rank"]).scale, max_samples=64)
    for seed, epsilon in itertools.product(SEEDS, EPSILONS):
        told = epsilon if math.isfinite(epsilon) else None
        if (told, seed) in made:
            continue
        settings = Settings(epsilon=epsilon, seed=seed, max_samples=64, **SETTINGS)
        with torch_threads(1):
            *_, last = federated_rounds(task, METHODS[METHOD], settings, ledger=Ledger())
        hits = engine.predict(last.adapter, task.test.inputs).argmax(1) == task.test.labels
        of = torch.bincount(task.test.owners, hits.double(), minlength=len(task.owners))[tested]
        append_line(KEPT, {"epsilon": told, "seed": seed, "hits": of.int().tolist()})
        print(f"seed {seed}, ε {epsilon:g}: {last.accuracy:.1%}", flush=True)


if __name__ == "__main__":
    main()
