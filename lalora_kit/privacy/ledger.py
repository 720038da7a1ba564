"""The ledger: what was released, by whom, with how much noise; ε spent is computed from it and nothing else.

Write-ahead: a round's releases are recorded (and, with a file, on disk) *before* its noise is drawn, so a crash
can only leave more recorded than released. One line a release; lines are never changed or removed. A ledger
belongs to one data set: all runs in it compose, whoever made them and with whatever settings.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from lalora_kit.base.files import append_lines
from lalora_kit.privacy.accounting import Composition, composed_epsilon, merged
from lalora_kit.privacy.release import Release, read
from lalora_kit.settings import EPSILON_FLOOR, Settings


def guarantee(unit: str) -> str:
    """What ε promises where a `unit` (a sample, or a patient with all samples) is drawn and clipped as one."""
    return (
        f"per {unit} of one client; neighbouring data sets differ in that {unit}'s gradient being replaced by zero; "
        "the adversary sees every client's update and who took part"
    )


class BudgetExceeded(ValueError):
    """The next round would pass the target ε; raised before any sample is drawn."""


class Ledger:
    """All releases made on one data set, in memory or in a file that survives a crash.

    A run spends against its own ledger; `also` is a wider one (all runs of a notebook, say) that is told of the
    same releases first, and refuses nothing. `before`, where it is set, is called with the ledger as a charge will
    leave it, before that charge is written down.

    >>> ledger = Ledger()
    >>> ledger.epsilon(delta=1e-5)
    0.0
    >>> release = Release(client=0, round=1, step=1, sample_rate=0.1, noise_multiplier=1.0, clip_norm=1.0, divisor=10.0,
    ...     run="first", shard="by label", task="digits")
    >>> ledger.charge([release]), ledger.charge([release])  # the same release again is a replay, and costs nothing
    (1, 0)
    >>> round(ledger.epsilon(delta=1e-5), 2)
    1.69
    """

    def __init__(self, path: Path | str | None = None, *, also: Ledger | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._also = also
        self.before: Callable[[Ledger], object] | None = None
        self._keys: set[tuple[str, int, int, int]] = set()
        self._counted: dict[tuple[str, int, int, int], tuple[float, float]] = {}
        self._worst: dict[tuple[str, str], list[tuple[float, float, int]]] = {}
        self._about: tuple[str, str] | None = None
        self._counts: dict[tuple[str, str], dict[int, Counter[tuple[float, float]]]] = {}
        if self.path is not None and self.path.exists():
            for release in read(self.path):
                self._admit(release)

    def __len__(self) -> int:
        """Number of releases recorded."""
        return len(self._keys)

    def __contains__(self, release: Release) -> bool:
        """Whether this very release is on record already (a replay), here or in a ledger that counts beside."""
        return release.key in self._keys or self._counted.get(release.key) == release.kind

    def charge(self, releases: Iterable[Release]) -> int:
        """Record releases that are about to be made, durably; returns how many were new."""
        new = [release for release in releases if release.key not in self._keys]
        for release in new:
            self._check_task(release)
        if self._also is not None:
            self._also.charge(new)
        if new and self.before is not None:
            self.before(self.joined(new))
        if new and self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            append_lines(self.path, map(dataclasses.asdict, new))
        for release in new:
            self._admit(release)
        return len(new)

    def beside(self, releases: Iterable[Release], held: tuple[str, int] | None = None) -> None:
        """Count what other ledgers on the same data record, without writing it down here; once, if it is a copy.

        `held` says, as `(shard, client)`, whose samples a run was that gave one client alone all that it had.
        """
        for release in releases:
            self._count(release, held)

    def joined(self, releases: Iterable[Release]) -> Ledger:
        """A ledger in memory that counts what this one does, and `releases`."""
        other = Ledger()
        other._keys, other._counted, other._about = set(self._keys), dict(self._counted), self._about
        for place, clients in self._counts.items():
            other._counts[place] = {client: Counter(counter) for client, counter in clients.items()}
        other.charge(releases)
        return other

    def composition(self, client: int, run: str, shard: str, *, others_only: bool = False) -> Composition:
        """Everything released so far about the samples that `client` holds in `run`, or by other runs only.

        A run with the same shard counts with the same client. In runs that split the data otherwise, all of them in
        one way, a sample may have sat with any client, so the costliest counts.
        """
        rows = list(self._elsewhere(run, shard))
        for (other, other_shard), clients in self._counts.items():
            if other == run and others_only:
                continue
            if other == run or other_shard == shard:
                rows += flat(clients.get(client, Counter()))
        return merged(rows)

    def _elsewhere(self, run: str, shard: str) -> list[tuple[float, float, int]]:
        """Rows of the runs that split the data otherwise, kept until the next release: every client asks for them."""
        if (run, shard) not in self._worst:
            by_shard: dict[str, dict[int, Counter[tuple[float, float]]]] = {}
            for (other, other_shard), clients in self._counts.items():
                for client, counter in clients.items() if other != run and other_shard != shard else ():
                    by_shard.setdefault(other_shard, {}).setdefault(client, Counter()).update(counter)
            self._worst[run, shard] = [row for clients in by_shard.values() for row in worst(clients)]
        return self._worst[run, shard]

    def sigma(self, client: int, run: str, shard: str) -> float | None:
        """σ at which `client` has released in `run`, or None: a replay under another σ would be another release."""
        counter = self._counts.get((run, shard), {}).get(client, Counter())
        return next((sigma for _, sigma in counter), None)

    def epsilon(
        self, delta: float, client: int | None = None, run: str = "", shard: str = "", *, noised: bool = False
    ) -> float:
        """ε spent at `delta`, by `client` of `run`, or (client=None) by the worst-off sample of all runs.

        `noised` leaves out what was released without noise, beside which no ε of the whole is finite.
        """
        if client is not None:
            rows = self.composition(client, run, shard)
            return composed_epsilon(tuple(row for row in rows if row[1] > 0) if noised else rows, delta)
        people = {(held, c) for (_, held), clients in self._counts.items() for c in clients}
        return max((self.epsilon(delta, c, shard=held, noised=noised) for held, c in sorted(people)), default=0.0)

    def _check_task(self, release: Release) -> None:
        task, unit = self._about or (release.task, release.unit)
        if task != release.task:
            raise ValueError(
                f"this ledger records releases of task {task!r}, not of {release.task!r}; "
                "a ledger belongs to one data set; give the other task a directory of its own"
            )
        if unit != release.unit:
            raise ValueError(
                f"this ledger records releases per {unit}, not per {release.unit}; ε of the two does not add up; name "
                f"the same unit again, or treat what was released per {unit} as spent"
            )

    def _admit(self, release: Release) -> None:
        if release.key not in self._keys:
            self._count(release)
            self._keys.add(release.key)

    def _count(self, release: Release, held: tuple[str, int] | None = None) -> None:
        """Into the counts, unless this very release is there: a replay under another σ is another release."""
        self._check_task(release)
        self._about = release.task, release.unit
        if self._counted.get(release.key) == release.kind:
            return
        self._counted[release.key] = release.kind
        shard, client = held or (release.shard, release.client)
        clients = self._counts.setdefault((release.run, shard), {})
        clients.setdefault(client, Counter())[release.kind] += 1
        self._worst.clear()


def flat(counter: Counter[tuple[float, float]]) -> list[tuple[float, float, int]]:
    """Rows `(sample_rate, noise_multiplier, steps)` of one client in one run."""
    return [(q, sigma, steps) for (q, sigma), steps in counter.items()]


def worst(clients: dict[int, Counter[tuple[float, float]]]) -> list[tuple[float, float, int]]:
    """Rows that cost at least as much as any client's, together with whatever else: of each kind, the most steps.

    Exact where a run has one rate. (The client who is costliest alone need not be so on top of other releases.)
    """
    return flat(functools.reduce(operator.or_, clients.values()))  # a union of counters keeps the larger count


def check_room(settings: Settings, spent: float) -> None:
    """Refuse a run whose target ε earlier runs on the same data have `spent`; without noise, any of them spent all."""
    if math.isinf(spent):
        raise BudgetExceeded(
            f"epsilon={settings.epsilon} cannot be kept: earlier runs on the same data cost inf, because one had no "
            "noise, and no noise of a later run takes that back; use data that no run has seen, or epsilon=inf, or a "
            "new directory, and say wherever its ε is told that a run without noise used the same data"
        )
    if spent > settings.epsilon - EPSILON_FLOOR:
        raise BudgetExceeded(
            f"epsilon={settings.epsilon} is spent: earlier runs on the same data cost {spent:.3f}, and ε of all runs "
            "adds up; raise epsilon to cover them all, or use data that no run has seen"
        )
