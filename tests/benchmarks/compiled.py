"""What torch.compile of the backbone wins: `python -m tests.benchmarks.compiled --model swin-pico`.

A private step (per-sample gradients, clip, sum, noise, update) of two clients with the backbone compiled, over the same
step as the kit takes it, in turn, on the same samples. A Poisson draw has another size each step, and so two ways are
told: compiled for any size (`dynamic=True`), and compiled for one, to which a draw would have to be filled up. What
that costs is told too: a size that no draw passes is six standard deviations above the expected one.

Processor seconds of one thread, so that what else runs counts little. `--depth` takes so few blocks of the real width:
a block's gain is that of all, and compiling them all takes many minutes on a laptop.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from lalora_kit.base.threads import usable_cores
from lalora_kit.book.notebooks import made_with
from lalora_kit.privacy.mechanism import generator_of
from tests.benchmarks.scale import MODELS, task_of
from tests.benchmarks.speed import prepared, private_step

RATE = 0.1  # chance of a sample a step, as the kit's own


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds and seconds of one call."""
    processor, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - processor, time.perf_counter() - wall


def sizes_of(expected: int, steps: int) -> list[int]:
    """Draws of so many steps that expect so many samples."""
    return generator_of(bytes(16)).binomial(round(expected / RATE), RATE, steps).clip(2).tolist()


def filled(expected: int) -> int:
    """A size that no draw passes."""
    return math.ceil(expected + 6 * math.sqrt(expected * (1 - RATE)))


def measured(model: str, depth: int | None, samples: int, rank: int, pairs: int, way: str) -> None:
    """Print a row: the first step, and each later one over the kit's."""
    sizes = sizes_of(samples, pairs) if way == "any size" else [samples] * pairs
    task = task_of(model, max(sizes), depth)
    engine, local = prepared(rank, task, 2)
    plain: nn.Module = engine.model
    compiled: nn.Module = torch.compile(plain, dynamic=way == "any size")  # type: ignore[assignment]

    def step(size: int) -> None:
        batch, owner = task.train.select(torch.arange(size)), torch.arange(size) % 2
        private_step(engine, local, "B", batch, owner)

    step(sizes[0])
    engine.model = compiled
    first, wall = spent(partial(step, sizes[0]))
    step(sizes[-1])  # where a size of its own needs another compilation, it is not told as a step
    ratios, before = [], []
    for size in sizes:
        engine.model = compiled
        ours, _ = spent(partial(step, size))
        engine.model = plain
        before.append(spent(partial(step, size))[0])
        ratios.append(ours / before[-1])
    gain = statistics.median(before) * (1 - statistics.median(ratios))
    pays = f"{first / gain:.0f} steps" if gain > 0 else "never"
    print(
        f"{f'{model}, {samples} samples, rank {rank}':<36}{way:>10}{statistics.median(ratios):>8.2f}"
        f"{statistics.median(before):>9.3f} s{f'{first:.0f} ({wall:.0f}) s':>16}{pays:>14}",
        flush=True,
    )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="swin-pico")
    parser.add_argument("--depth", type=int, help="blocks, of Swin blocks a stage; all by default")
    parser.add_argument("--samples", type=int, help="expected a step; by default as in the paper")
    parser.add_argument("--rank", type=int)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--ways", nargs="+", default=["any size", "one size"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rank, samples = MODELS[options.model]
    rank, samples = options.rank or rank, options.samples or samples
    about = made_with()
    print(f"{about['Machine']}, torch {about['torch']}, {usable_cores()} cores granted, load {os.getloadavg()[0]:.1f}")
    print(f"{'compiled / not':<36}{'for':>10}{'ratio':>8}{'not':>11}{'first (wall)':>16}{'pays after':>14}")
    for way in options.ways:
        measured(options.model, options.depth, samples, rank, options.pairs, way)
    print(f"filled up from {samples} to {filled(samples)}: × {filled(samples) / samples:.2f} of a step")
    print(f"load at the end {os.getloadavg()[0]:.1f}; medians of {options.pairs} pairs")


if __name__ == "__main__":
    main()
