"""What privacy costs in time and memory, as ratios in one run on one machine.

    python -m tests.benchmarks.speed

- private over PEFT's: one private step (per-sample gradients, clip, sum, noise, update) over one ordinary LoRA step
  on the same samples and as many parameters, as `peft` and `torch.optim.SGD` take it; median of interleaved pairs;
- private over plain: the same over the kit's own path with one set of factors for all, which is faster than PEFT's
  (one fused product), so that this is what privacy alone costs;
- by client over copies: where samples go through a matrix for each client, over a copy of the factors for each sample;
- together: all clients in one pass over one client after another;
- memory: peak resident memory of a private step over that of a plain one, each in a process of its own.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import peft
import torch
import torch.nn.functional as F

from lalora_kit import load_task
from lalora_kit.engine.adapters import Adapter, create, stack
from lalora_kit.engine.memory import copies_cost
from lalora_kit.engine.persample import Engine
from lalora_kit.privacy import Streams, clipped_sum, gaussian
from lalora_kit.privacy.byclient import clipped_by_client
from lalora_kit.tasks import Split, Task, logits

PAIRS = 9
Step = Callable[[], None]


def prepared(rank: int, task: Task, clients: int) -> tuple[Engine, Adapter]:
    """The engine and the stack of clients' tensors."""
    adapter = create(task.backbone, task.targets, task.head, rank, 1.0, np.random.default_rng(0))
    moved = {key: value + 0.01 * torch.ones_like(value) for key, value in adapter.tensors.items()}  # B is not zero
    return Engine(task, 1.0), stack(adapter.with_tensors(moved), clients)


def private_step(engine: Engine, local: Adapter, factors: str, batch: Split, owner: torch.Tensor) -> None:
    """Per-sample gradients of the active factors and the head, clipped, summed, noised and applied."""
    active = local.keys(factors)
    clients = next(iter(local.tensors.values())).shape[0]
    given = (local, active, batch.inputs, batch.labels, owner)
    one = Adapter({key: value[0] for key, value in local.tensors.items()}, 1.0)
    if copies_cost(one, len(batch) / clients, engine.device.type):
        sums = sum(part for part, _ in clipped_by_client(engine, *given, 1.0))
    else:
        sums = sum(clipped_sum(gradients, part, clients, 1.0)[0] for part, gradients in engine.gradients(*given))
    streams, width = Streams.from_seed(0), sums.shape[1]
    noise = torch.stack([gaussian(width, 1.0, streams.generator("noise", c)) for c in range(clients)])
    release = (sums + noise) / len(batch)
    for key, step in zip(active, release.split([local.tensors[k][0].numel() for k in active], 1), strict=True):
        local.tensors[key].sub_(1e-6 * step.reshape(local.tensors[key].shape).float())


def plain_step(engine: Engine, shared: Adapter, factors: str, batch: Split) -> None:
    """An ordinary step: one set of factors for all samples, gradient of the mean loss."""
    active = shared.keys(factors)
    leaves = {key: value.clone().requires_grad_(key in active) for key, value in shared.tensors.items()}
    loss = F.cross_entropy(engine.scores(leaves, batch.inputs), batch.labels)
    for key, gradient in zip(active, torch.autograd.grad(loss, [leaves[k] for k in active]), strict=True):
        shared.tensors[key].sub_(1e-6 * gradient)


def peft_model(task: Task, rank: int, factors: str = "AB") -> torch.nn.Module:
    """PEFT's LoRA on the task's layers; the given factors and the head train."""
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=list(task.targets))
    model = peft.get_peft_model(copy.deepcopy(task.backbone).eval(), config)  # type: ignore[arg-type]
    for name, parameter in model.named_parameters():
        trains_a = "lora_A" in name and "A" in factors
        parameter.requires_grad_(trains_a or "lora_B" in name or f".{task.head}." in f".{name}")
    return model


def peft_step(task: Task, rank: int, factors: str, batch: Split, device: str = "cpu", precision: str = "fp32") -> Step:
    """An ordinary step as the libraries take it: PEFT's LoRA, the head, torch's SGD; "bf16" is torch's autocast."""
    model, batch = peft_model(task, rank, factors).to(device), batch.to(device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=1e-6)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(logits(model.base_model.model, batch.inputs), batch.labels)
        loss.backward()
        optimiser.step()

    return step


def ratio(first: Step, second: Step) -> tuple[float, float, float]:
    """Median of first/second over interleaved pairs, and both medians in seconds."""
    first(), second()  # warm up
    pairs = interleaved(first, second)
    return (
        statistics.median(a / b for a, b in pairs),
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
    )


def interleaved(
    first: Step, second: Step, most: int = PAIRS, seconds: float = math.inf, finish: Step = lambda: None
) -> list[tuple[float, float]]:
    """Seconds of each in turns: at most `most` pairs, no more once `seconds` are over, at least one."""
    over, pairs = time.perf_counter() + seconds, [(clock(first, finish), clock(second, finish))]
    while len(pairs) < most and time.perf_counter() < over:
        pairs.append((clock(first, finish), clock(second, finish)))
    return pairs


def clock(work: Step, finish: Step = lambda: None) -> float:
    """Seconds of one call, and of what `finish` waits for: a card's work goes on after the call."""
    finish()
    start = time.perf_counter()
    work()
    finish()
    return time.perf_counter() - start


def private_over(other: str, task: Task, rank: int, factors: str, samples: int) -> tuple[float, float, float]:
    """A private step over an ordinary one, "PEFT's" or "plain"."""
    engine, local = prepared(rank, task, 8)
    shared = Adapter({key: value[0].clone() for key, value in local.tensors.items()}, 1.0)
    batch = task.train.select(torch.arange(samples))
    owner = torch.arange(samples) % 8
    ordinary = {
        "PEFT's": peft_step(task, rank, factors, batch),
        "plain": lambda: plain_step(engine, shared, factors, batch),
    }
    return ratio(lambda: private_step(engine, local, factors, batch, owner), ordinary[other])


def by_client_over_copies(task: Task, clients: int, each: int) -> tuple[float, float, float]:
    """Gradients of B and head, clipped and summed, without and with a copy of the factors for each sample."""
    engine, local = prepared(4, task, clients)
    batch = task.train.select(torch.arange(clients * each))
    given = (local, local.keys("B"), batch.inputs, batch.labels, torch.arange(clients).repeat_interleave(each))

    def by_client() -> None:
        for _ in clipped_by_client(engine, *given, 1.0):
            pass

    def copies() -> None:
        for part, gradients in engine.gradients(*given):
            clipped_sum(gradients, part, clients, 1.0)

    return ratio(by_client, copies)


def together(task: Task, rank: int, clients: int, each: int) -> tuple[float, float, float]:
    """All clients in one pass, over one client after another."""
    engine, local = prepared(rank, task, clients)
    _, one = prepared(rank, task, 1)
    batch = task.train.select(torch.arange(clients * each) % len(task.train))
    owner = torch.arange(clients).repeat_interleave(each)
    parts = [batch.select(torch.arange(c * each, (c + 1) * each)) for c in range(clients)]

    def in_turn() -> None:
        for part in parts:
            private_step(engine, one, "B", part, torch.zeros(each, dtype=torch.long))

    return ratio(in_turn, lambda: private_step(engine, local, "B", batch, owner))


def peak_memory(kind: str, samples: int, rank: int) -> float:
    """Peak resident MiB above the start of one step, in a fresh process."""
    about = ["--samples", str(samples), "--rank", str(rank)]
    command = [sys.executable, "-m", "tests.benchmarks.speed", "--memory-of", kind, *about]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def memory_of(kind: str, samples: int, rank: int) -> None:
    """Child process: one step, then the growth of its peak."""
    task = load_task("digits")
    engine, local = prepared(rank, task, 8)
    shared = Adapter({key: value[0].clone() for key, value in local.tensors.items()}, 1.0)
    batch = task.train.select(torch.arange(samples))
    small = batch.select(torch.arange(8))
    plain_step(engine, shared, "AB", small)
    before = forget_peak()
    if kind == "plain":
        plain_step(engine, shared, "AB", batch)
    else:
        engine.max_samples = 32 if kind == "chunked" else None
        private_step(engine, local, "AB", batch, torch.arange(samples) % 8)
    print((kilobytes("VmHWM") - before) / 1024)


def forget_peak() -> int:
    """Make the kernel count this process's peak memory from now on; returns what is resident, in kB."""
    Path("/proc/self/clear_refs").write_text("5")
    return kilobytes("VmRSS")


def kilobytes(name: str) -> int:
    """A figure of this process's own status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory-of", choices=["plain", "private", "chunked"])
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--rank", type=int, default=4, help="of the memory that is asked for")
    options = parser.parse_args()
    if options.memory_of:
        memory_of(options.memory_of, options.samples, options.rank)
        return
    task = load_task("digits")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    print(f"{'measure':<58}{'ratio':>7}{'s':>9}{'s':>9}")
    for other, rank, factors in itertools.product(("PEFT's", "plain"), (1, 4, 8, 32, 64), ("B", "AB")):
        values = private_over(other, task, rank, factors, options.samples)
        print(f"{f'private / {other} step, rank {rank}, trains {factors}, {options.samples} samples':<58}", end="")
        print("{:>7.2f}{:>9.4f}{:>9.4f}".format(*values))
    for name, clients, each in (
        ("mnist", 4, 100),
        ("mnist", 16, 25),
        ("mnist", 64, 6),
        ("digits", 8, 18),
        ("digits", 64, 2),
    ):
        values = by_client_over_copies(load_task(name), clients, each)
        print(f"{f'by client / copies, {name}, {clients} clients of {each} samples':<58}", end="")
        print("{:>7.2f}{:>9.4f}{:>9.4f}".format(*values))
    for clients in (2, 8, 32, 64):
        values = together(task, 4, clients, 16)
        print(f"{f'one after another / together, {clients} clients of 16 samples':<58}", end="")
        print("{:>7.2f}{:>9.4f}{:>9.4f}".format(*values))
    for rank, kind in itertools.product((4, 32, 64), ("private", "chunked")):
        used, plain = (peak_memory(which, 1024, rank) for which in (kind, "plain"))
        print(f"{f'peak memory, {kind} / plain step, rank {rank}, 1024 samples':<58}", end="")
        print(f"{used / plain:>7.2f}{used:>7.0f}MB{plain:>7.0f}MB")


if __name__ == "__main__":
    main()
