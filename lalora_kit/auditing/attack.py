"""The audit: an attack on the real loop that measures ε from below, for any method.

Many virtual clients are as many independent trials. Each holds the same few samples but for one: half of them hold a
canary there, the others a blank whose gradient is exactly zero, which is the neighbour that ε speaks of. The attacker
is the server: it sees each noised release, knows the model it sent, and asks by the likelihood ratio of the release
whether the canary is in it. What it finds with confidence is a lower bound on ε.

A bound above the ledger's ε shows that the ledger, or the mechanism, is wrong. One below it proves nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from lalora_kit.auditing.bounds import lower_bound
from lalora_kit.auditing.canaries import Server, ordinary_task, with_canaries
from lalora_kit.auditing.reach import LEAST_TRIALS, MOST_TRIALS, trials_needed
from lalora_kit.base.checks import counting, number, require
from lalora_kit.base.files import finite_or_null
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import Method
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger, Streams
from lalora_kit.records import Round
from lalora_kit.settings import Settings

Rounds = Callable[..., Iterator[Round]]

CONFIDENCE = 0.99  # that a bound holds
CROWD = 500  # clients that run together; time and memory of a round grow with its square
CHUNK = 2048  # samples at once: bounds memory, changes no result
RATE = 0.01  # learning rates: the model moves, and a canary stays a surprise to it


@dataclass(frozen=True, eq=False)
class AuditResult:
    """What an audit found.

    Attributes:
        method: its name.
        epsilon_lower: lower bound on ε, in nats; it holds with probability `confidence`.
        confidence: of the bound.
        epsilon: of the ledger, for the worst-off client; the claim that the bound is held against.
        delta: δ of both.
        tpr, fpr: how often the test named its world rightly and wrongly, on the half of trials that count.
        mirrored: whether the test names "no canary" in place of "canary".
        ceiling: the most that so many trials can show.
        saturated: the trials, not the leak, are the limit: read `epsilon_lower` as "at least".
        trials: virtual clients, in both worlds and both halves together.
        noise_multiplier: σ that the plan asks for.
        seconds: wall time.
        scores: `(trials,)` log likelihood ratios, in nats; higher speaks for the canary.
        held: `(trials,)` who truly held it.
    """

    method: str
    epsilon_lower: float
    confidence: float
    epsilon: float
    delta: float
    tpr: float
    fpr: float
    mirrored: bool
    ceiling: float
    saturated: bool
    trials: int
    noise_multiplier: float
    seconds: float
    scores: np.ndarray = field(repr=False)
    held: np.ndarray = field(repr=False)

    @property
    def contradicts(self) -> bool:
        """Whether the bound is above the ledger's ε: then one of the two is wrong."""
        return self.epsilon_lower > self.epsilon

    @property
    def verdict(self) -> str:
        """What the audit says of the claim. None of the three clears a loop."""
        if self.contradicts:
            return "CONTRADICTED"
        return "this attack cannot tell at this ε" if self.limit else "not contradicted, which proves nothing"

    @property
    def limit(self) -> str:
        """Where the trials end what can be seen, and how many more would see further; empty where they do not."""
        if not self.saturated and self.ceiling > self.epsilon:
            return ""
        said = f"this audit cannot tell above {self.ceiling:.2f}"
        if self.contradicts:
            return said
        enough = trials_needed(self.epsilon, self.delta, self.confidence)
        if enough is None or 2 * self.trials > MOST_TRIALS:
            return f"{said}, and the {MOST_TRIALS:,} trials that an audit may have are too few for more"
        return f"{said}: more trials are needed ({max(enough, 2 * self.trials):,} or more)"

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, without the trials' scores."""
        shown = {name: value for name, value in vars(self).items() if name not in ("scores", "held")}
        return finite_or_null({**shown, "contradicts": self.contradicts, "verdict": self.verdict, "limit": self.limit})

    def __str__(self) -> str:
        found = f"≥ {self.epsilon_lower:.2f} (saturated)" if self.saturated else f"{self.epsilon_lower:.2f}"
        return (
            f"{self.method}: ε_lower {found} at {100 * self.confidence:g} % confidence; "
            f"the ledger's ε is {self.epsilon:.2f} at δ={self.delta:g}: {self.verdict}{self.limit and '; '}{self.limit}"
        )


def audit(
    method: Method,
    *,
    epsilon: float = 3.0,
    delta: float = 1e-3,
    trials: int = 2000,
    seed: int | None = None,
    confidence: float = CONFIDENCE,
    sample_rate: float = 1.0,
    clip_head_share: float = 0.0,
    rounds: Rounds = federated_rounds,
) -> AuditResult:
    """Attack `method` at a claimed ε, and bound ε from below.

    Args:
        method: any `Method` value.
        epsilon, delta: the claim; the noise is calibrated for it as in any run.
        trials: virtual clients, half of them with the canary. Twice as many lift the ceiling by about ln 2.
        seed: None draws from the operating system; an integer gives the same audit again.
        confidence: that the bound holds, in (0.5, 1).
        sample_rate: q. At 1 every step holds the canary and the bound is sharpest; below, it rests on the draw too.
        clip_head_share: as in `Settings`; 0 audits one clip for head and adapter.
        rounds: the loop under audit, called as `federated_rounds` is. Pass a wrong one to see whether it is caught.

    Raises:
        ValueError: for a value outside its range, or if `rounds` left the ledger or the observer empty.
    """
    started = time.perf_counter()
    check_audit(epsilon, trials, confidence)
    settings = Settings(
        epsilon=epsilon, delta=delta, rounds=2, local_steps=max(2, method.least_local_steps), rank=2,
        sample_rate=sample_rate, learning_rate=RATE, head_learning_rate=RATE, seed=seed, max_samples=CHUNK,
        clip_head_share=clip_head_share,
    )  # fmt: skip
    streams = Streams.from_seed(seed)
    order = streams.generator("audit members").permutation(trials)
    held = np.zeros(trials, dtype=bool)
    held[order[: trials // 2]] = True
    runs = []
    for number_, part in enumerate(np.array_split(held, math.ceil(trials / CROWD))):
        own = int(streams.generator("audit run", number_).integers(2**62))
        runs.append(attack(method, replace(settings, clients=len(part), seed=own), part, rounds))

    scores = np.concatenate([run.scores for run in runs])
    inside, outside = scores[order[: trials // 2]], scores[order[trials // 2 :]]
    bound = lower_bound(inside, outside, settings.delta, confidence)
    return AuditResult(
        method=method.name,
        epsilon_lower=bound.epsilon_lower,
        confidence=bound.confidence,
        epsilon=max(run.epsilon for run in runs),
        delta=settings.delta,
        tpr=bound.tpr,
        fpr=bound.fpr,
        mirrored=bound.mirrored,
        ceiling=bound.ceiling,
        saturated=bound.saturated,
        trials=trials,
        noise_multiplier=max(run.noise_multiplier for run in runs),
        seconds=time.perf_counter() - started,
        scores=scores,
        held=held,
    )


class Attacked(NamedTuple):
    """One federation under attack: `(clients,)` scores in nats, the ledger's ε, and the planned σ."""

    scores: np.ndarray
    epsilon: float
    noise_multiplier: float


def attack(method: Method, settings: Settings, held: np.ndarray, rounds: Rounds) -> Attacked:
    """Let one federation run, with canaries where `held` `(clients,)` says so, and score each client."""
    ordinary = ordinary_task(settings.clients, Streams.from_seed(settings.seed).generator("audit data"))
    plan = make_plan(ordinary, method, settings, Ledger())  # who holds which row does not depend on what is in it
    task = with_canaries(ordinary, plan.shards, held)
    ledger, server = Ledger(), Server(method, plan, Engine(task, settings.scale, reads=method.reads))
    for r in rounds(task, method, settings, ledger=ledger, observe=server.observe):
        server.broadcast(r.adapter, r.round + 1)
    if not len(ledger) or not server.heard:
        raise ValueError(
            f"rounds={rounds!r} put {len(ledger)} releases on record and showed {server.heard} to the observer; an "
            "audit holds the ones against the others; pass ledger= and observe= on to the loop"
        )
    return Attacked(server.scores, ledger.epsilon(settings.delta), max(plan.sigmas))


def check_audit(epsilon: float, trials: int, confidence: float) -> None:
    """What `Settings` does not know of."""
    require(
        "epsilon", epsilon, number("epsilon", epsilon) < float("inf"),
        "without noise nothing is claimed, and there is nothing to contradict", "use 0.1 to 10",
    )  # fmt: skip
    counting("trials", trials, LEAST_TRIALS, MOST_TRIALS)
    require("trials", trials, trials % 2 == 0, "half of them hold the canary", f"use {int(trials) + 1}")
    holds = 0.5 < number("confidence", confidence) < 1
    require("confidence", confidence, holds, "it is a probability above one half", "0.99 is usual")
