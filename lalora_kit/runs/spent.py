"""Spent: all that was ever released from a directory, and what it cost; every ε of a directory is asked for here.

A directory's own ledger is one of several: each baseline has one, and so has whatever else was trained below. All of
them count, finished or not, whether or not the state beside them can still be read. States and `adapter/privacy.json`
hold marks, the length and hash of the ledgers as they stood; a ledger that is missing, shorter or other than a mark
says is refused, because the ε that it recorded would be forgotten.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalora_kit.base.files import dumps, read_object, write_atomically
from lalora_kit.privacy import Ledger, Release
from lalora_kit.privacy.release import read
from lalora_kit.runs.marks import COST, COST_REMEDY, LEDGER, SITES, check_marks, files_below
from lalora_kit.runs.statefile import ledger_mark

SCOPE = (
    "everything that was released from the directory of this adapter up to the marked ledger; what is released later "
    "adds to it: ask `lalora statement`"
)


@dataclass(frozen=True)
class Spent:
    """What a directory has spent at `delta`.

    Attributes:
        epsilon: of the worst-off unit, over everything that was released; infinite if any of it had no noise.
        noised: the same over the releases with noise alone.
        noiseless: where, below the directory, releases without noise are on record; "." is its own ledger.
    """

    epsilon: float
    noised: float
    delta: float
    noiseless: tuple[str, ...]

    @property
    def line(self) -> str:
        """The sentence that goes with every ε after a run without noise; "" if there was none."""
        if not self.noiseless:
            return ""
        places = ", ".join("this directory's own ledger" if place == "." else place for place in self.noiseless)
        alone = (
            f"; the releases with noise alone have cost ε = {self.noised:.4g} at δ = {self.delta:g}, which holds only "
            "against those who see nothing of the others"
            if self.noised
            else ""
        )
        return (
            f"Without noise: releases on the same data carry none ({places}), so ε of everything together is "
            f"infinite, and no noise of a later run takes that back{alone}."
        )


@dataclass(frozen=True)
class Recorded:
    """One ledger file: its folder as seen from the directory, its releases, and whose samples they were if told."""

    place: str
    releases: list[Release]
    held: tuple[str, int] | None


@dataclass(frozen=True, eq=False)
class Account:
    """The account of a directory: `ledger`, which a run charges, counts `recorded` ledgers below beside its own.

    `below` has the marks of those ledgers; `runs` are the folders of all runs. Nothing is written but by charging, and
    by `tell`.
    """

    directory: Path
    ledger: Ledger
    recorded: list[Recorded]
    below: dict[str, Any]
    runs: list[Path]

    def releases(self) -> list[Release]:
        """Every release, each once, however many copies of its ledger there are."""
        return list(dict.fromkeys(release for one in self.recorded for release in one.releases))

    def spent(self, delta: float, ledger: Ledger | None = None) -> Spent:
        """What is spent at `delta`, by the account's ledger or by one that it is about to become."""
        ledger = ledger or self.ledger
        noiseless = {one.place for one in self.recorded if any(not r.noise_multiplier for r in one.releases)}
        epsilon, noised = ledger.epsilon(delta), ledger.epsilon(delta, noised=True)
        if math.isinf(epsilon) and not noiseless:
            noiseless = {"."}  # what is being charged now
        return Spent(epsilon, noised, delta, tuple(sorted(noiseless)))

    def mark(self) -> dict[str, Any]:
        """What a state may rely on being there later: the ledgers as they stand."""
        own = ledger_mark(self.directory / LEDGER)
        return {**own, "below": self.below} if self.below else own

    def cost(self, delta: float, ledger: Ledger | None = None) -> dict[str, Any]:
        """What goes into `privacy.json` beside an adapter; an infinite ε is null."""
        found = self.spent(delta, ledger)
        return {
            "epsilon": found.epsilon if math.isfinite(found.epsilon) else None,
            "noised_epsilon": found.noised,
            "without_noise": found.line,
            "scope": SCOPE,
            "ledger": self.mark(),
        }

    def tell(self, ledger: Ledger | None = None, *, pending: str = "") -> None:
        """Bring `adapter/privacy.json` up to date, if there is an adapter; `pending` says why no ε is stated."""
        path = self.directory / "adapter" / COST
        if not path.exists():
            return
        told = read_object(path, COST_REMEDY)
        told.pop("pending", None)
        told |= self.cost(told["delta"], ledger)
        if pending:
            told |= {"epsilon": None, "pending": pending}
        write_atomically(path, dumps(told))


def open_account(directory: Path) -> Account:
    """Everything that was ever released from `directory`, its marks checked; changes nothing.

    Raises:
        ValueError: if a ledger is damaged, is not what a mark says, or is of other data or another unit.
    """
    files = list(files_below(directory))
    check_marks(directory, files)
    own = directory / LEDGER
    recorded, ledger, below = [], Ledger(own), {}
    for path in files:
        if path.name != LEDGER:
            continue
        place = path.parent.relative_to(directory).as_posix()
        one = Recorded(place, read(path), held_in(path))
        recorded.append(one)
        if path != own:
            try:
                ledger.beside(one.releases, one.held)
            except ValueError as error:
                raise ValueError(f"{path} counts for {directory}, and does not fit there: {error}") from error
            below[place] = ledger_mark(path)
    runs = [path.parent for path in files if path.name == "settings.json" and (path.parent / "state").is_dir()]
    return Account(directory, ledger, recorded, below, runs)


def spent(directory: Path, delta: float) -> Spent:
    """What everything that was ever released from `directory` has cost at `delta`."""
    return open_account(directory).spent(delta)


def held_in(path: Path) -> tuple[str, int] | None:
    """Whose samples a site's own run was on, as the run that it is a baseline of names clients; None if no such run.

    Sites share no sample, so of several sites' own runs a unit has spent one.
    """
    alone, home = re.fullmatch(r"alone-(\d+)", path.parent.name), path.parent.parent
    if alone is None or home.parent.name != "baselines":
        return None
    number = int(alone[1])
    if not (home / SITES).exists():
        return f"sites of {home.name}", number
    remedy = "restore it from a copy, or delete it: each unit then counts with the costliest site"
    sites = read_object(home / SITES, remedy)
    shard, clients = sites.get("shard"), sites.get("clients")
    if not isinstance(shard, str) or not isinstance(clients, list) or number >= len(clients):
        raise ValueError(f"{home / SITES} does not say whose samples {path.parent.name} was trained on; {remedy}")
    return shard, int(clients[number])
