"""Rows: somebody's own samples by name, before they are numbers. What is wrong with them, and which are for testing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lalora_kit.base.checks import near
from lalora_kit.tasks.arrays import lonely_owners, shared_units
from lalora_kit.tasks.own.persons import ID, PERSON, speaks_of
from lalora_kit.tasks.own.spelling import composed, is_empty, look_alikes

ROW = "row"  # `--unit row`: every row is a person of its own
#: One group of samples in five is held back for testing; the third, so that a class of two keeps both for training.
FIRST_TEST, TEST_ONE_IN = 2, 5


@dataclass(frozen=True)
class Rows:
    """Samples by name, a tuple each, of equal length.

    Attributes:
        places: where each stands, as its owner would look it up: a file, and a row of it as an editor counts.
        contents: a hash of each sample, without its label.
        labels, owners, units: as text; owners and units may be None. `unit` is what the units are.
    """

    places: tuple[str, ...]
    contents: tuple[str, ...]
    labels: tuple[str, ...]
    owners: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    unit: str = "unit"

    def pick(self, name: str, index: Sequence[int]) -> list[str] | None:
        """The column `name` at `index`, or None where there is none."""
        column = getattr(self, name)
        return None if column is None else [column[row] for row in index]


def hashed(content: bytes) -> str:
    """A short name of a sample's content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def bad_rows(rows: Rows) -> list[str]:
    """What is wrong, a line a row: no label, owner or unit; an owner with one sample; a unit with two owners."""
    bad: list[str] = []
    for what, column in (("label", rows.labels), ("owner", rows.owners), (rows.unit, rows.units)):
        if column is None:
            continue
        named = list(zip(rows.places, column, strict=True))
        bad += [f"{place} has no {what}" for place, value in named if is_empty(value)]
        bad += [f"{place} has a {what} of several lines ({value[:40]!r}); was a quote left open?"
                for place, value in named if len(value.splitlines()) > 1]  # fmt: skip
        bad += look_alikes(column, what, rows.places.__getitem__)
    if rows.owners is not None:
        bad += lonely_owners(rows.owners, rows.places.__getitem__)
        if rows.units is not None:
            bad += shared_units(rows.units, rows.owners, rows.unit, rows.places.__getitem__)
    return bad


def shared_with_test(rows: Rows, count: int, bad: Sequence[str] = ()) -> list[str]:
    """Test samples, those from `count` on, that are in training too, by content or by unit: a line each.

    What is in training is protected and what is in testing is told as it is; so none may be both. Places that open a
    line of `bad` have no content to compare.
    """
    first = dict(zip(reversed(rows.contents[:count]), reversed(rows.places[:count]), strict=True))
    train = set((rows.units or ())[:count])
    found = []
    for row in range(count, len(rows.places)):
        place, other = rows.places[row], first.get(rows.contents[row])
        if other is not None and not any(said.startswith((f"{place} ", f"{other} ")) for said in bad):
            found.append(f"{place} is the same as {other}, which is in training")
        if rows.units is not None and rows.units[row] in train:
            found.append(f"{place} is of {rows.unit} {rows.units[row]!r}, who is in train too")
    return found


def column_of(columns: Mapping[str, Sequence[str]], name: str, option: str, where: str) -> Sequence[str]:
    """The column that an option names, composed (see `spelling`); `ValueError` with the nearest names otherwise."""
    name = composed(name)
    if name not in columns:
        raise ValueError(
            f"--{option} {name!r} is no column of {where}; {near(name, columns)}its columns are {', '.join(columns)}"
        )
    return [composed(value) for value in columns[name]]


def check_persons(columns: Mapping[str, Sequence[str]], owner: str | None, where: str) -> None:
    """Refuse where a column's name speaks of a person, its values repeat, and no unit of privacy is named.

    A column that names the owners may speak of ids (`hospital_id`), but not of persons.
    """
    repeated: list[tuple[str, str, str, int]] = []
    for name, values in columns.items():
        speaks = speaks_of(name)
        if not speaks or (speaks == ID and name == owner):
            continue
        value, most = Counter(filter(None, map(composed, values))).most_common(1)[0] if any(values) else ("", 0)
        if most > 1:
            repeated.append((speaks, name, value, most))
    if repeated:
        _, name, value, most = next((found for found in repeated if found[0] == PERSON), repeated[0])
        others = [repr(found[1]) for found in repeated if found[1] != name]
        too = f" (so do those of {', '.join(others)})" if others else ""
        raise ValueError(
            f"{where} has a column {name!r} whose values repeat{too} ({value!r} stands in {most} rows), and no unit of "
            "privacy is named: ε would hold for one row, not for a person with several; give --unit "
            f"{name or 'COLUMN, once that column has a name'}, or --unit {ROW} where every row is a person of its own"
        )


def parted(columns: Mapping[str, Sequence[str]], unit: str | None) -> str:
    """One line where a column of persons has several units of privacy in a person, or nothing: ε holds for one unit."""
    units = columns.get("" if unit is None else composed(unit))
    for name, values in columns.items() if units is not None else ():
        pairs = {pair for pair in zip(values, units or (), strict=True) if pair[0]}
        several = sum(count > 1 for count in Counter(who for who, _ in pairs).values())
        if several and speaks_of(name) == PERSON:
            return f"ε holds for one {unit}, and {several} of {name!r} have several"
    return ""


def divide(rows: Rows) -> tuple[list[int], list[int]]:
    """Rows for training and for testing: a fact of what they say, not of their order or of a seed.

    Samples of one unit, or of equal content, stay together. Within a class, groups are put in the order of owner and
    hash, and every fifth is for testing, so that classes and owners are in both parts in like shares. A group that
    takes the last training row of its label or owner away goes back.

    Raises:
        ValueError: if nothing is left to test with.
    """
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(rows.contents if rows.units is None else rows.units):
        groups.setdefault(name, []).append(row)
    order = sorted(
        groups, key=lambda name: (rows.owners[groups[name][0]] if rows.owners else "", hashed(name.encode()))
    )
    strata: dict[str, list[str]] = {}
    for name in order:
        counts = Counter(rows.labels[row] for row in groups[name])
        strata.setdefault(min(counts, key=lambda label: (-counts[label], label)), []).append(name)
    held = {name for names in strata.values() for name in names[FIRST_TEST::TEST_ONE_IN]}

    def marks(name: str) -> set[tuple[str, str]]:
        found = {("label", rows.labels[row]) for row in groups[name]}
        return found | ({("owner", rows.owners[row]) for row in groups[name]} if rows.owners else set())

    seen = set().union(*(marks(name) for name in order if name not in held))
    for name in [name for name in order if name in held]:
        if not marks(name) <= seen:
            held.discard(name)
            seen |= marks(name)
    if not held:
        raise ValueError(
            f"{len(rows.labels)} samples in {len(groups)} groups leave none to test with: every fifth of a class is "
            f"held back, and each class keeps two for training; give a class at least {FIRST_TEST + 1}"
        )
    train = [row for name in order if name not in held for row in groups[name]]
    return sorted(train), sorted(row for name in held for row in groups[name])
