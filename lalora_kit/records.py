"""Records: what a round leaves behind. Frozen plain data; nothing here computes.

`Round` holds what may be shown and kept. `Teaching` holds what the guarantee does *not* cover (it is read from
unclipped or un-noised values), so it exists only when asked for and is never written to disk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from lalora_kit.base.files import finite_or_null
from lalora_kit.engine.adapters import Adapter

SEED_KNOWN = "seed known: reproducible, not private"
NO_NOISE = "epsilon=inf: no noise is added, not private"


@dataclass(frozen=True)
class Teaching:
    """Not private: read from the data without noise, for a lesson only. Means over a round's clients and steps.

    clip_fraction: share of drawn samples that were clipped, in any part that has a budget (NaN if none was drawn).
    signal_to_noise: norm of the clipped mean over the expected norm of its noise (infinite without noise).
    batch: realised samples a client drew in a step.
    """

    clip_fraction: float
    signal_to_noise: float
    batch: float


@dataclass(frozen=True, eq=False)
class RunState:
    """What a resume needs.

    `identity` and `machine` say which run it is; `secret` is its randomness and must stay private, and is empty where
    it was deleted because the run had ended; `moves` lists the rounds after which it went on elsewhere (another
    machine or version), each with noise of its own; `told` are the keys, as hexadecimal digits, of who holds what, who
    joins when and the first adapter, from which nothing else can be drawn.
    """

    round: int
    adapter: Adapter
    identity: Mapping[str, str]
    machine: Mapping[str, str]
    secret: bytes = field(repr=False)
    moves: tuple[tuple[int, str], ...] = ()
    told: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class Round:
    """One round's record.

    Attributes:
        round: counted from 1.
        accuracy, loss: of the averaged model on the public test set; loss is cross-entropy in nats. Both are NaN
            after a round that was not evaluated. Where each client has a model of its own, their means.
        epsilon: spent so far by the worst-off client, over every run in the ledger, at the settings' δ.
        epsilons: the same, a value a client.
        noise_multiplier: σ, the largest over clients; `noise_multipliers` has one a client.
        participants: clients that joined this round.
        update_norms: L2 norm of the noised gradients of "A", "B" and "head", mean over clients and the steps
            in which each trained.
        aggregation_gap: ‖Σ wᵢBᵢAᵢ − B̄Ā‖ / ‖Σ wᵢBᵢAᵢ‖.
        upload: numbers that one client sent to the server.
        seconds: wall time of the round, evaluation included.
        adapter: the averaged adapter, detached, on the CPU.
        state: what `federated_rounds(..., state=...)` takes to go on.
        caution: "" or why this ε is no guarantee.
        personal: accuracy of each client's own model, where there are such; empty, and not written, elsewhere.
        teaching: not private; None unless `Settings(teaching=True)`.
    """

    round: int
    accuracy: float
    loss: float
    epsilon: float
    epsilons: tuple[float, ...]
    noise_multiplier: float
    noise_multipliers: tuple[float, ...]
    participants: tuple[int, ...]
    update_norms: Mapping[str, float]
    aggregation_gap: float
    upload: int
    seconds: float
    adapter: Adapter = field(repr=False)
    state: RunState = field(repr=False)
    caution: str = ""
    personal: tuple[float, ...] = ()
    teaching: Teaching | None = None

    @property
    def evaluated(self) -> bool:
        """Whether the model of this round was tested: see `Settings.evaluate_every`."""
        return not math.isnan(self.accuracy)

    def to_json(self) -> dict[str, Any]:
        """What is written to disk: no adapter, no state, nothing that is not private; not-finite becomes null."""
        own = {"personal": self.personal} if self.personal else {}
        return finite_or_null({name: getattr(self, name) for name in WRITTEN} | own)


#: What a record on disk holds, and whether each may be null (for infinity or NaN).
WRITTEN: dict[str, type | tuple[type, ...]] = {
    "round": int,
    "accuracy": (float, NoneType),
    "loss": (float, NoneType),
    "epsilon": (float, NoneType),
    "epsilons": list,
    "noise_multiplier": float,
    "noise_multipliers": list,
    "participants": list,
    "update_norms": dict,
    "aggregation_gap": (float, NoneType),
    "upload": int,
    "seconds": float,
    "caution": str,
}
