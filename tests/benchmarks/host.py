"""What is left on the host when a device computes: `python -m tests.benchmarks.host`; it needs no GPU.

- host: milliseconds a local step that draws, order and keys take (they are the CPU's on every machine), and how often
  host and device wait for each other, in a step and in a round without its evaluation, on a pretended device
  (`tests.waits`); waits inside a library apart;
- noise: nanoseconds a number of NumPy's Philox and of Threefry in torch operations, medians of interleaved pairs, and
  the bytes that Threefry moves for a number. On a GPU it is bound by them: what a card would take is an estimate, bytes
  over its memory's rate, and is printed as such.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lalora_kit import METHODS, Settings, load_task
from lalora_kit.base import threefry
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import Run, rounds
from lalora_kit.local import drawn
from lalora_kit.plan import Plan, make_plan
from lalora_kit.privacy import Ledger, Streams, gaussian
from lalora_kit.tasks import Task
from lalora_kit.tasks.feed import Feed
from tests.waits import waits_of

PAIRS = 9
NUMBERS = 8, 100_000  # clients and numbers each
CARDS = {"H100 (3.35 TB/s)": 3.35e12, "T4 (.32 TB/s)": 0.32e12}
SWIN_B = 8 * 1_160_000  # numbers a step of 8 clients at rank 16


def clock(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def waited(task: Task, plan: Plan, settings: Settings) -> tuple[int, int]:
    """How often the second round, without its evaluation, makes the host wait: in the kit, and in libraries."""
    engine = Engine(task, settings.scale, device="meta", max_samples=settings.max_samples)
    engine.evaluate = lambda *given: (0.5, 1.0)  # type: ignore[method-assign]
    walk = rounds(Run(task, METHODS["la-lora"], settings, plan, engine, Ledger(), None))
    waits_of(lambda: next(walk))  # what goes over once a run
    ours, theirs = waits_of(lambda: next(walk))
    return sum(ours.values()), sum(theirs.values())


def host_row(name: str, clients: int, max_samples: int | None) -> str:
    """One line of the first table."""
    task, found = load_task(name), []
    for steps in (4, 8):
        settings = Settings(epsilon=math.inf, seed=0, clients=clients, local_steps=steps, max_samples=max_samples)
        plan = make_plan(task, METHODS["la-lora"], settings, Ledger())
        found.append((plan, waited(task, plan, settings)))
    (plan, (few, _)), (_, (many, theirs)) = found
    feed = Feed(task.train, torch.device("cpu"))
    seconds = statistics.median(clock(lambda: drawn(plan, feed, 1, 1)) for _ in range(50))
    where = "all" if max_samples is None else max_samples
    return f"{name:<14}{clients:>8}{where:>8}{1000 * seconds:>10.2f}{(many - few) / 4:>12g}{few:>12}{theirs / 8:>14g}"


class Traffic(TorchDispatchMode):
    """Bytes that operations read and write."""

    moved = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
            written = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
            self.moved += sum(one.nbytes for one in given + written)
        return result


def noise_rows() -> list[str]:
    """The lines of the second table."""
    clients, width = NUMBERS
    streams, numbers = Streams.from_seed(0), clients * width
    keys = torch.tensor(np.stack([np.frombuffer(streams.key("noise", c), np.int64) for c in range(clients)]))
    scales = [1.0] * clients

    def ours() -> Tensor:
        return threefry.normals(keys, width, scales)

    def numpys() -> Tensor:
        return torch.stack([gaussian(width, 1.0, streams.generator("noise", c)) for c in range(clients)])

    ours(), numpys()
    pairs = [(clock(ours), clock(numpys)) for _ in range(PAIRS)]
    with Traffic() as traffic:
        ours()
    each = traffic.moved / numbers
    rows = [
        f"NumPy's Philox {statistics.median(b for _, b in pairs) / numbers * 1e9:.0f} ns, Threefry in torch on the CPU "
        f"{statistics.median(a for a, _ in pairs) / numbers * 1e9:.0f} ns, "
        f"ratio {statistics.median(a / b for a, b in pairs):.1f}; Threefry moves {each:.0f} bytes a number"
    ]
    for card, rate in CARDS.items():
        rows.append(f"estimate, {card}: {each / rate * 1e9:.2f} ns a number, {each / rate * SWIN_B * 1000:.1f} ms for "
                    "8 clients of 1.16 million")  # fmt: skip
    return rows


def main() -> None:
    """Print both tables."""
    load = os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}, load {load:.1f}")  # fmt: skip
    names = f"{'ms a step':>10}{'waits/step':>12}{'waits/round':>12}{'in libraries':>14}"
    print(f"{'task':<14}{'clients':>8}{'chunk':>8}{names}")
    for row in (("digits", 2, None), ("digits", 8, None), ("digits", 8, 16), ("stdlib-docs", 8, None)):
        print(host_row(*row), flush=True)
    print("\nnoise, a number")
    print("\n".join(noise_rows()))


if __name__ == "__main__":
    main()
