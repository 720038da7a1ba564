"""FedSA-LoRA (arXiv 2410.01463, ICLR 2025): A is averaged; B and the head stay with each client.

There is no model for all: each client's own is A's mean, its B and its head.
"""

from __future__ import annotations

from lalora_kit.engine.adapters import Adapter
from lalora_kit.methods.baselines import together
from lalora_kit.methods.method import About, Method


def a_alone(adapter: Adapter, trained: frozenset[str]) -> int:
    """The numbers of A."""
    return sum(value.numel() for value in adapter.of("A").values())


FEDSA = Method(
    "fedsa", "arXiv 2410.01463, ICLR 2025", together, keeps=frozenset({"B", "head"}), sends=a_alone,
    about=About(
        does="trains A and B; A is averaged, B and the head stay with their client",
        trains="A and B", sends="rn up, rn down", exact="no model for all: accuracy is the mean over clients' own",
        sums="yes",
        privacy="noise on r(m+n) numbers, though A alone is sent: a B without noise would carry samples into A",
        changed="B and the head are noised as well, in the same clipped vector",
    ),
)  # fmt: skip
