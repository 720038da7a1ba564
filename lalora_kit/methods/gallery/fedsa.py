"""FedSA-LoRA (arXiv 2410.01463, ICLR 2025): A is averaged, B stays at home; `fedsa-head`: the head is averaged too.

Each client goes on from its own B, so that there is a model a client and none for all. The paper averages A; its code
keeps the classifier at home as well. What is noised decides what ε is against. Noise on A alone, which alone is sent,
would promise nothing over several steps: a B that a sample has moved without noise is in every later gradient of A,
those of other samples included, so that clipping bounds no longer what that sample does. So A, B and head are one
vector, clipped and noised, as in any other method. ε then holds against all at once: the server, other clients, and
whoever is given a client's model, or told its accuracy, which is a release too. All of it is post-processing.
"""

from __future__ import annotations

from lalora_kit.engine.adapters import Adapter
from lalora_kit.methods.baselines import together
from lalora_kit.methods.method import A, About, Method


def a_alone(adapter: Adapter, trained: frozenset[str]) -> int:
    """A, and no head."""
    return sum(value.numel() for value in adapter.of("A").values())


def a_and_head(adapter: Adapter, trained: frozenset[str]) -> int:
    """A and the head."""
    return adapter.size(A)


EXACT = "no mean of products: each client has its own"
PRIVACY = (
    "noise on r(m+n) numbers, though rn are sent: with B and head noised too ε holds against the server, other clients "
    "and whoever sees a client's model or its accuracy; with noise on A alone it would hold against nobody"
)
FEDSA = Method(
    "fedsa", "arXiv 2410.01463, ICLR 2025", together, stays=("B", "head"), sends=a_alone,
    about=About(
        does="trains A and B; averages A, and leaves each client its own B and head; accuracy is the clients' mean",
        trains="A and B", sends="rn up, rn down, and no head", exact=EXACT, sums="yes", privacy=PRIVACY,
        changed="clipped and noised, which the paper's is not; every client's model is tested on the one test set",
    ),
)  # fmt: skip
FEDSA_HEAD = Method(
    "fedsa-head", "control of arXiv 2410.01463: the head is averaged", together, stays=("B",), sends=a_and_head,
    about=About(
        does="fedsa, but the head is averaged as well; accuracy is the clients' mean",
        trains="A and B", sends="rn up, rn down", exact=EXACT, sums="yes", privacy=PRIVACY,
        changed="ours: tells B at home from a head at home",
    ),
)  # fmt: skip
