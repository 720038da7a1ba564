"""RAC-LoRA's experiment with MNIST (arXiv 2410.08305), at small scale: one sketch, or a chain of them?

    python -m tests.benchmarks.chain

A network of three linear layers learns the digits 0 to 4 in full. Then its weights stand, and adapters of rank 1 on
all three teach it 5 to 9. With one random B that stays, only A trains, and the paper has 62.3 % of the test digits
right; with a fresh B each round 92.0 %; where B trains beside A in such a chain, 92.6 %.

Their setting, from the paper and its code: 784-64-64-5, dropout .1, AdamW at 2e-4, batches of 128, no privacy. Ours:
one client of the loop of `lalora_kit`, the kit's 8,000 training digits in place of 55,000 (3,895 of them are 5 to 9),
32 x 32 pixels, no dropout, and about as many steps as their 50 epochs have; so the accuracies need not agree.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lalora_kit import Settings, federated_rounds
from lalora_kit.base.files import append_line, read_lines
from lalora_kit.engine.adapters import Adapter
from lalora_kit.methods.algebra import by_layer
from lalora_kit.methods.baselines import together
from lalora_kit.methods.gallery.rac import RAC_LORA
from lalora_kit.methods.method import Method
from lalora_kit.tasks import Split, Task
from lalora_kit.tasks.embedded.mnist import splits

KNOWN, BATCH, RATE, EPOCHS, THEIR_STEPS = 5, 128, 2e-4, 50, 214  # a step a batch of half their digits
PUBLISHED = {"one sketch": 62.3, "a chain of sketches": 92.0, "a chain of both factors": 92.6}
SEEDS = range(3)
ALPHA = 8  # of the kit's: an orthonormal column is one long, theirs of 64 normal numbers about 8 (of 5, about 2)
RESULTS = Path(__file__).parent / "results" / "chain.jsonl"


def gaussian(server: Adapter, round: int, generator: np.random.Generator) -> Adapter:
    """A fresh B of standard normal numbers, as in the released code; the kit's is orthonormal."""
    return by_layer(server, lambda name: {
        "A": torch.zeros_like(server.tensors["A", name]),
        "B": torch.from_numpy(generator.standard_normal(server.tensors["B", name].shape)).float(),
    })  # fmt: skip


def once(server: Adapter, round: int, generator: np.random.Generator) -> Adapter:
    """The same, but only before the first round: after a merge, A starts at zero again and B stands."""
    return gaussian(server, round, generator) if round == 1 else server


ARMS: dict[str, Method] = {
    "one sketch": replace(RAC_LORA, name="one-sketch", opens=once),
    "a chain of sketches": replace(RAC_LORA, name="sketches", opens=gaussian),
    "a chain of both factors": replace(RAC_LORA, name="both-factors", opens=gaussian, trains=together),
    "a chain of orthonormal sketches (the kit's)": RAC_LORA,
}


def digits(known: bool) -> tuple[Split, Split]:
    """Training and test digits, either the first five classes or the others as classes 0 to 4; flat pixels."""

    def half(split: Split) -> Split:
        ours = (split.labels < KNOWN) == known
        return Split({"input": split.inputs["x"][ours].flatten(1)}, split.labels[ours] % KNOWN)

    train, test = splits(photographed=False)
    return half(train), half(test)


def network(seed: int) -> nn.Sequential:
    """The network, trained in full on the digits that it is to know, and a head that leaves its scores as they are."""
    torch.manual_seed(seed)
    train, _ = digits(known=True)
    model = nn.Sequential(nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, KNOWN))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    for _ in range(EPOCHS * THEIR_STEPS):
        batch = torch.randint(len(train), (BATCH,))
        optimizer.zero_grad()
        F.cross_entropy(model(train.inputs["input"][batch]), train.labels[batch]).backward()
        optimizer.step()
    head = nn.Linear(KNOWN, KNOWN)
    nn.init.eye_(head.weight)
    nn.init.zeros_(head.bias)
    return model.append(head)


@cache
def task(seed: int) -> Task:
    """The digits that are new to the network of this seed."""
    train, test = digits(known=False)
    return Task("new digits", network(seed), ("0", "2", "4"), "5", train, test, tuple("56789"))


def run(method: Method, seed: int) -> float:
    """Accuracy on the new digits after the adapters' training; the head moves by about a thousandth."""
    settings = Settings(
        epsilon=math.inf, clip_norm=1e6, rank=1, alpha=ALPHA if method is RAC_LORA else 1, clients=1, rounds=EPOCHS,
        local_steps=THEIR_STEPS, batch_size=BATCH, optimizer="adamw", weight_decay=0.01, learning_rate=RATE,
        head_learning_rate=1e-7, seed=seed, evaluate_every=EPOCHS,
    )  # fmt: skip
    *_, last = federated_rounds(task(seed), method, settings)
    return last.accuracy


def main() -> None:
    """Run what is missing, and print the table."""
    for seed in SEEDS:
        for name, method in ARMS.items():
            if seed not in kept(name):
                line = {"arm": name, "seed": seed, "accuracy": round(run(method, seed), 4), "torch": torch.__version__}
                append_line(RESULTS, line)
    print("| adapters of rank 1 | published | here |\n|---|---|---|", *rows(), sep="\n")


def rows() -> list[str]:
    """The lines of the table in RESULTS.md: mean ± standard deviation over the seeds, in percent."""
    lines = []
    for name in ARMS:
        found = [100 * accuracy for accuracy in kept(name).values()]
        here = f"{statistics.mean(found):.1f} ± {statistics.stdev(found):.1f}"
        lines.append(f"| {name} | {PUBLISHED.get(name, 'not tried')} | {here} |")
    return lines


def kept(arm: str) -> dict[int, float]:
    """Accuracy by seed, of the runs that are kept."""
    runs = read_lines(RESULTS) if RESULTS.exists() else []
    return {line["seed"]: line["accuracy"] for line in runs if line["arm"] == arm}


if __name__ == "__main__":
    main()
