"""The statement: what a run's directory promises about privacy, in a paragraph to cite.

Every number comes from the ledgers, the directory's own and those below it, which hold what was released, not from
what was planned. Reading changes no file, so a run that is still going on may be asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lalora_kit.base.files import finite_or_null, read_object
from lalora_kit.runs.marks import LEDGER
from lalora_kit.runs.saved import read_about
from lalora_kit.runs.spent import open_account
from lalora_kit.tasks.heads.public import sentence

Span = tuple[float, float]

UNIT = "one training {unit} of one client"
NEIGHBOURS = (
    "two data sets are neighbours if one {unit}'s gradient is replaced by zero (zero-out: the numbers of "
    "add-or-remove, with the clients' sizes public)"
)
ADVERSARY = "the server, who sees every client's update and who took part; no client sampling is credited"
SAMPLING = "Poisson: in each local step each {unit} of a participant is drawn independently"
COMPOSITION = "the smaller of two upper bounds, PRV and RDP, over every release in the ledgers"
TUNING = (
    "every run in this directory and below it is counted, tuning runs and baselines included; runs on the same data "
    "that were kept elsewhere, or not at all, are in no ledger here and not in this ε"
)
HARDENING = "not hardened against floating-point or timing attacks"
SEEDED = "a seed was set: whoever knows it can take the noise away, so the guarantee does not hold against them"
UNSEEDED = "no seed was set: the noise comes from the operating system's randomness"
NOT_PRIVATE = "at least one release carries no noise (epsilon=inf): this is not private, and no ε can be stated"


@dataclass(frozen=True)
class Statement:
    """What a directory's releases cost, and against whom.

    Attributes:
        task: name of the data set.
        unit: what was drawn and clipped as one: a sample, or a person with all samples.
        epsilon: spent at `delta` by the worst-off sample, over all runs; infinite if any release had no noise.
        noised: the same over the releases with noise alone.
        without_noise: the sentence on runs without noise, "" if there was none.
        sample_rates, noise_multipliers, clip_norms: least and largest over all releases.
        clip_head_shares: least and largest share of C² that was the head's own, over the runs; 0 for one clip.
        steps: most releases by one client of one run.
        releases, runs, clients: how many are on record; a run that moved to another machine counts again.
        seeded: whether a run of this directory has a seed in its settings.
        accountant, kit: names and versions.
        public_inputs: most unlabelled inputs that the features of a run of this directory depend on.
    """

    task: str
    unit: str
    epsilon: float
    delta: float
    sample_rates: Span
    noise_multipliers: Span
    clip_norms: Span
    steps: int
    releases: int
    runs: int
    clients: int
    seeded: bool
    accountant: str
    kit: str
    noised: float
    without_noise: str
    public_inputs: int = 0
    clip_head_shares: Span = (0.0, 0.0)

    @property
    def private(self) -> bool:
        """Whether every release carries noise."""
        return math.isfinite(self.epsilon)

    @property
    def text(self) -> str:
        """The paragraph to cite; a run without noise adds a line of its own."""
        spent = f"ε = {self.epsilon:.4g} at δ = {self.delta:g}, " if self.private else f"{NOT_PRIVATE}. Releases: "
        promise = (
            f"{spent}per {self.say(UNIT)}, where {self.say(NEIGHBOURS)}. The adversary is {ADVERSARY}. Sampling is "
            f"{self.say(SAMPLING)}, at rate {span(self.sample_rates)}. Each {self.unit}'s gradient is clipped to L2 "
            f"norm {span(self.clip_norms)}{self.apart} and the sum noised with noise multiplier "
            f"σ = {span(self.noise_multipliers)}; "
        )
        charged = (
            f"{self.steps} steps at most by one client of one run; {self.releases} releases by {self.clients} clients "
            f"in {self.runs} {'run' if self.runs == 1 else 'runs'} are charged to this directory. "
        )
        public = f"{sentence(self.public_inputs)}. " if self.public_inputs else ""
        said = (
            f"Task {self.task}: {promise}{charged}{public}Accounting: {COMPOSITION}, by {self.accountant}. "
            f"Tuning: {TUNING}. Randomness: {SEEDED if self.seeded else UNSEEDED}; {HARDENING}. {self.kit}."
        )
        return f"{said}\n{self.without_noise}" if self.without_noise else said

    @property
    def apart(self) -> str:
        """How head and adapter share the clip norm, where they are clipped apart."""
        if not self.clip_head_shares[1]:
            return ""
        shares = span(self.clip_head_shares)
        return (
            f" (head and adapter apart where both train: {shares} of its square is the head's, the rest the adapter's)"
        )

    def say(self, words: str) -> str:
        """A sentence about the unit of privacy, with its name."""
        return words.format(unit=self.unit)

    def to_json(self) -> dict[str, Any]:
        """Everything by name, for a machine to read; an infinite ε becomes null."""
        fixed = {
            "private": self.private,
            "unit": self.say(UNIT),
            "neighbours": self.say(NEIGHBOURS),
            "adversary": ADVERSARY,
            "sampling": self.say(SAMPLING),
            "composition": COMPOSITION,
            "tuning": TUNING,
            "hardening": HARDENING,
            "text": self.text,
        }
        return finite_or_null({**asdict(self), **fixed})


def statement(directory: Path) -> Statement:
    """The statement for what `directory` has released, by all runs of it.

    Raises:
        ValueError: if it holds no run, nothing was released yet, or a ledger of it is damaged, missing or cut short.
    """
    delta = delta_of(directory)
    account = open_account(directory)
    releases, cost = account.releases(), account.spent(delta)
    if not releases:
        raise ValueError(f"{directory / LEDGER} holds no release, so there is nothing to state yet")
    steps = Counter((release.run, release.client) for release in releases)
    return Statement(
        task=releases[0].task,
        unit=releases[0].unit,
        epsilon=cost.epsilon,
        delta=delta,
        sample_rates=extent(release.sample_rate for release in releases),
        noise_multipliers=extent(release.noise_multiplier for release in releases),
        clip_norms=extent(release.clip_norm for release in releases),
        steps=max(steps.values()),
        releases=len(releases),
        runs=len({release.run for release in releases}),
        clients=len({(release.shard, release.client) for release in releases}),
        seeded=any(map(may_have_seed, account.runs)),
        accountant=f"opacus {version('opacus')}",
        kit=f"lalora-kit {version('lalora-kit')}",
        noised=cost.noised,
        without_noise=cost.line,
        public_inputs=max(map(public_inputs_of, account.runs), default=0),
        clip_head_shares=extent(map(clip_head_share_of, account.runs)) if account.runs else (0.0, 0.0),
    )


def delta_of(directory: Path) -> float:
    """The δ of the directory's run, or of the last one that was set aside for one that did not come to begin."""
    earlier = sorted((directory / "runs").glob("*/settings.json"))
    place = directory if (directory / "settings.json").exists() or not earlier else earlier[-1].parent
    return read_about(place)[2].delta


def may_have_seed(place: Path) -> bool:
    """Whether a run had a seed; where its settings cannot be read, that it had one is the weaker promise."""
    try:
        return read_object(place / "settings.json", "restore it from a copy")["settings"]["seed"] is not None
    except (ValueError, KeyError, TypeError, OSError):
        return True


def public_inputs_of(place: Path) -> int:
    """How many public inputs the features of a run depend on; 0 for none, and where its settings cannot be read."""
    try:
        return int(read_object(place / "settings.json", "restore it from a copy").get("public_inputs", 0))
    except (ValueError, TypeError, OSError):
        return 0


def clip_head_share_of(place: Path) -> float:
    """The share of C² that was the head's own in a run; 0 for one clip, and where its settings cannot be read."""
    try:
        return float(read_object(place / "settings.json", "restore it from a copy")["settings"]["clip_head_share"])
    except (ValueError, KeyError, TypeError, OSError):
        return 0.0


def extent(values: Iterable[float]) -> Span:
    """Least and largest."""
    kept = list(values)
    return min(kept), max(kept)


def span(values: Span) -> str:
    """`0.1`, or `0.1 to 0.3`."""
    low, high = (f"{value:.4g}" for value in values)
    return low if low == high else f"{low} to {high}"
