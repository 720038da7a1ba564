"""Releases: what a ledger's line says, and reading such lines, which trusts none of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalora_kit.base.files import parse_object, whole_lines


@dataclass(frozen=True)
class Release:
    """One noised release of one client: what the accountant needs, and where in which run it happened.

    `run` identifies settings, data, seed and machine together: a replay under the same `run` is the same
    release, not a new one. `shard` identifies who holds which sample: it says whether client 3 of one run
    holds the same people as client 3 of another. `task` names the data set, `unit` what was drawn and clipped as one.
    """

    client: int
    round: int
    step: int
    sample_rate: float
    noise_multiplier: float
    clip_norm: float
    divisor: float
    run: str
    shard: str
    task: str
    unit: str = "sample"

    @property
    def key(self) -> tuple[str, int, int, int]:
        """What must not be charged twice."""
        return self.run, self.client, self.round, self.step

    @property
    def kind(self) -> tuple[float, float]:
        """What the accountant needs of it: rate and noise multiplier."""
        return self.sample_rate, self.noise_multiplier


REMEDY = (
    "the ledger is damaged, and without it no ε can be stated; restore it from a copy, or treat the budget of this "
    "data as spent"
)


def read(path: Path) -> list[Release]:
    """The releases in a file, which stays as it is. A last line cut short by a crash was never released.

    Raises:
        ValueError: if any other line is not a release, or contradicts one: a damaged ledger must not be guessed at.
    """
    kept: dict[tuple[str, int, int, int], Release] = {}
    for where, line in whole_lines(path, REMEDY):
        release = parse_release(line, where)
        if kept.setdefault(release.key, release) != release:
            raise ValueError(f"{where} records a release a second time with other numbers; {REMEDY}")
    return list(kept.values())


def parse_release(line: bytes, where: str) -> Release:
    """One line as a release whose numbers the accountant can take."""
    values = parse_object(line, f"{where} is not a release; it", REMEDY)
    values = {"unit": "sample", **values}
    names = {field.name for field in dataclasses.fields(Release)}
    if values.keys() != names:
        raise ValueError(f"{where} is not a release (names differ: {sorted(values.keys() ^ names)}); {REMEDY}")
    for name, value in values.items():
        if not RULES[name](value):
            shown = repr(value)
            raise ValueError(f"{where} is not a release ({name}={shown[:60]} is out of range); {REMEDY}")
    return Release(**values)


def whole(value: object) -> bool:
    """A count, from 0 to what any machine can reach."""
    return type(value) is int and 0 <= value < 2**53


def real(value: object) -> bool:
    """A finite number, and no truth value."""
    return type(value) in (int, float) and abs(value) < 1e300  # type: ignore[arg-type]


def short(value: object) -> bool:
    """A short text."""
    return isinstance(value, str) and 0 < len(value) <= 200


#: What each number of a release may be.
RULES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("client", "round", "step"), whole),
    "sample_rate": lambda value: real(value) and 0 < value <= 1,
    "noise_multiplier": lambda value: real(value) and value >= 0,
    "clip_norm": lambda value: real(value) and value > 0,
    "divisor": lambda value: real(value) and value > 0,
    **dict.fromkeys(("run", "shard", "task", "unit"), short),
}
