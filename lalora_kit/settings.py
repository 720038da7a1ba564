"""Settings: every number that a run depends on, frozen and checked before any work starts.

`Settings` checks what it can know by itself. What depends on the data (rank, clients, batch sizes) is checked
by `check`, which `lalora_kit.federated.federated_rounds` calls before the first round.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lalora_kit.base.checks import counting, fraction, number, one_of, positive, require, shown

EPSILON_FLOOR = 0.03  # below it the accountants' own resolution decides, not the noise
EPSILON_CEILING = 1e6
MOST_STEPS = 100_000  # private steps of one client
OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("fp32", "bf16")
DEFAULT_SAMPLE_RATE = 0.1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run's settings.

    Privacy, per sample of one client:
        epsilon: target ε of the whole run; `math.inf` switches the noise off (not private).
        delta: target δ, below one over a client's number of samples.
        clip_norm: L2 norm C to which each sample's gradient, over all active tensors at once, is clipped.
        clip_head_share: share of C² that is the head's own, the rest the adapter's: each is clipped to its part by
            itself. 0 clips both at once. A step that trains no factor leaves all of C to the head.
        sample_rate: probability q that a sample is drawn in a local step, the same for every client.
        batch_size: expected samples a client draws in a step, in place of `sample_rate`: q_i = batch_size / n_i.

    Federation:
        clients, participation: how many clients, and which fraction of them (rounded up) joins a round.
        dirichlet_beta: label skew of the partition (smaller is more skewed); None splits at random.
        rounds, local_steps: rounds T, and private steps K that each participant makes in a round.

    Adapter and optimiser:
        rank, alpha: LoRA's r, and α of the scale α/r; `alpha=None` means α = r, a scale of one.
        learning_rate, head_learning_rate: of the LoRA factors, and of the head.
        optimizer, weight_decay, lr_decay: "sgd" or "adamw"; decay of the active tensors; factor a round.
        precondition: damping λ of the projected gradient (Theorem 2); None leaves the gradient as it is.

    Machine:
        seed: None draws from the operating system; an integer makes the run reproducible and not private.
        device, precision: where to compute; "bf16" runs the frozen part under autocast.
        threads: torch's, on the CPU; None takes one for a small backbone, else the cores that are granted.
        max_samples: at most so many samples in memory at once; None takes as many as fit into the free memory.
        evaluate_every: test the server's model after every n-th round, and always after the last one.
        teaching: also record clip fraction, signal-to-noise and realised batches, which are not private.

    Raises:
        ValueError: for a value outside its range, with the rule and the remedy.

    >>> Settings(epsilon=1.0, rank=8, alpha=16).scale
    2.0
    >>> Settings(rank=0)
    Traceback (most recent call last):
    ValueError: rank=0 is not possible: it must be a whole number of at least 1; use rank=1 or more
    """

    epsilon: float = 3.0
    delta: float = 1e-5
    clip_norm: float = 1.0
    clip_head_share: float = 0.0
    rank: int = 4
    alpha: float | None = None
    clients: int = 8
    participation: float = 1.0
    dirichlet_beta: float | None = None
    rounds: int = 10
    local_steps: int = 4
    sample_rate: float | None = None
    batch_size: float | None = None
    learning_rate: float = 0.5
    head_learning_rate: float = 0.5
    optimizer: str = "sgd"
    weight_decay: float = 0.0
    lr_decay: float = 1.0
    precondition: float | None = None
    seed: int | None = None
    device: str = "cpu"
    precision: str = "fp32"
    threads: int | None = None
    max_samples: int | None = None
    evaluate_every: int = 1
    teaching: bool = False

    def __post_init__(self) -> None:
        if self.sample_rate is None and self.batch_size is None:
            object.__setattr__(self, "sample_rate", DEFAULT_SAMPLE_RATE)
        check_privacy(self)
        check_federation(self)
        check_optimiser(self)
        check_machine(self)
        for field in dataclasses.fields(self):  # 3 and 3.0, numpy's numbers and Python's: written alike, one run
            value, kind = getattr(self, field.name), str(field.type).split(" ")[0]
            if value is not None and kind in ("int", "float"):
                object.__setattr__(self, field.name, int(value) if kind == "int" else float(value))

    @property
    def scale(self) -> float:
        """LoRA's s = α / r."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    @property
    def private(self) -> bool:
        """Whether noise is added at all."""
        return math.isfinite(self.epsilon)

    @property
    def participants(self) -> int:
        """Clients that join a round: ⌈participation · clients⌉."""
        return max(1, math.ceil(round(self.participation * self.clients, 9)))

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready mapping; an infinite ε becomes null."""
        values = dataclasses.asdict(self)
        values["epsilon"] = self.epsilon if self.private else None
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """The inverse of `to_json`; `ValueError` for anything that it would not write."""
        if not isinstance(values, Mapping):
            raise ValueError(f"settings are a {type(values).__name__}; they must be an object of names and values")
        values = dict(values)
        unknown = values.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            names = sorted(map(str, unknown))
            raise ValueError(f"settings hold unknown names {names}; they were written by another version")
        if values.get("epsilon", 0) is None:
            values["epsilon"] = math.inf
        return cls(**{"clip_head_share": 0.0, **values})  # runs from before it was there had one clip


def check_privacy(s: Settings) -> None:
    """ε, δ, C and the sampling."""
    epsilon = number("epsilon", s.epsilon)
    require("epsilon", s.epsilon, epsilon > 0, "a privacy budget is above 0", "use 0.1 to 10, or inf for no noise")
    require(
        "epsilon", s.epsilon, epsilon >= EPSILON_FLOOR,
        f"below {EPSILON_FLOOR} the accountant's own resolution decides", f"use at least {EPSILON_FLOOR}",
    )  # fmt: skip
    bounded = epsilon <= EPSILON_CEILING or epsilon == math.inf
    require("epsilon", s.epsilon, bounded, f"above {EPSILON_CEILING:g} nothing is promised", "use inf for no noise")
    delta = number("delta", s.delta)
    require("delta", s.delta, 0 < delta < 1, "it must lie strictly between 0 and 1", "1e-5 is usual")
    positive("clip_norm", s.clip_norm, "1.0 is a good start")
    require(
        "clip_head_share", s.clip_head_share, 0 <= number("clip_head_share", s.clip_head_share) < 1,
        "it is a share of C², and the adapter needs one too", "0.5 gives each half; 0 clips both at once",
    )  # fmt: skip
    both = s.sample_rate is not None and s.batch_size is not None
    require(
        "batch_size", s.batch_size, not both,
        f"sample_rate={shown(s.sample_rate)} is set too, and each fixes the other", "set one of them",
    )  # fmt: skip
    if s.sample_rate is not None:
        fraction("sample_rate", s.sample_rate, "a sampling probability lies in (0, 1]", "try 0.1")
    if s.batch_size is not None:
        size = number("batch_size", s.batch_size)
        require("batch_size", s.batch_size, 1 <= size < math.inf, "a batch expects at least 1 sample", "try 16")


def check_federation(s: Settings) -> None:
    """Clients, rounds and steps."""
    for name in ("clients", "rounds", "local_steps", "rank"):
        counting(name, getattr(s, name))
    require(
        "rounds", s.rounds, int(s.rounds) * int(s.local_steps) <= MOST_STEPS,
        f"with local_steps={s.local_steps} it makes more than {MOST_STEPS:,} private steps",
        "lower either; ε of so many would take the accountant for ever",
    )  # fmt: skip
    fraction("participation", s.participation, "it is a fraction of the clients", "use 0 < p <= 1")
    if s.dirichlet_beta is not None:
        remedy = "0.1 is strongly skewed, 10 nearly even, None splits at random"
        positive("dirichlet_beta", s.dirichlet_beta, remedy, 1e-3, 1e6)


def check_optimiser(s: Settings) -> None:
    """Rates, decay, and the projected gradient's damping."""
    positive("learning_rate", s.learning_rate, "use method head-only to train no factor")
    positive("head_learning_rate", s.head_learning_rate, "try 0.5")
    if s.alpha is not None:
        positive("alpha", s.alpha, "None means alpha = rank", 1e-6, 1e6)
    one_of("optimizer", s.optimizer, OPTIMIZERS)
    decay = number("weight_decay", s.weight_decay)
    require("weight_decay", s.weight_decay, 0 <= decay < math.inf, "it must be at least 0", "0 switches it off")
    fastest = decay * max(s.learning_rate, s.head_learning_rate)
    require(
        "weight_decay", s.weight_decay, fastest <= 1,
        f"times the learning rate it is {fastest:.3g}, so that a step would turn parameters over instead of shrinking "
        "them", "their product may be at most 1",
    )  # fmt: skip
    fraction("lr_decay", s.lr_decay, "rates are multiplied by it each round", "use 0 < f <= 1")
    if s.precondition is not None:
        positive("precondition", s.precondition, "None switches the projected gradient off; 1e-3 is usual", 1e-7, 1e7)


def check_machine(s: Settings) -> None:
    """Seed, device, precision and memory."""
    if s.seed is not None:
        counting("seed", s.seed, 0, 2**64 - 1)
    counting("evaluate_every", s.evaluate_every)
    for name in ("threads", "max_samples"):
        if getattr(s, name) is not None:
            counting(name, getattr(s, name))
    one_of("precision", s.precision, PRECISIONS)
    require("device", s.device, isinstance(s.device, str) and bool(s.device), "a device is named", "use cpu or cuda")
    require("teaching", s.teaching, isinstance(s.teaching, bool), "it is a switch", "use True or False")
