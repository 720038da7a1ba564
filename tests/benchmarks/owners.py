"""Who pays for the noise: the right names at each owner's own test sentences, over seeds, with and without noise.

    python -m tests.benchmarks.owners      # adds the runs that are missing to the file that lesson 08 reads; minutes

One run a seed and ε of `la-lora` on `stdlib-docs-by-module`: 8 clients, 6 rounds, rank 4, the adapter's rate 8, all
else as usual. Seeds and settings were written here before the first run.
"""

from __future__ import annotations

import itertools
import math
import platform

from lalora_kit import METHODS, Ledger, Settings, federated_rounds, load_task
from lalora_kit.base.files import append_line, read_lines
from lalora_kit.base.threads import torch_threads
from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.scale import KEPT, OWNED, owners_of, right_by_owner

METHOD, EPSILONS, SEEDS = "la-lora", (math.inf, 1.0, 3.0), range(10)
SETTINGS = {"clients": 8, "rounds": 6, "rank": 4, "learning_rate": 8.0}


def main() -> None:
    """Make what is missing, seed by seed."""
    task = load_task(OWNED)
    if not KEPT.exists():
        who = owners_of(task)
        about = {"task": OWNED, "method": METHOD, "python": platform.python_version(), **SETTINGS}
        append_line(KEPT, {**about, "train": who.train, "test": who.test})
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
        append_line(KEPT, {"epsilon": told, "seed": seed, "hits": right_by_owner(task, hits.numpy())})
        print(f"seed {seed}, ε {epsilon:g}: {last.accuracy:.1%}", flush=True)


if __name__ == "__main__":
    main()
