"""Tables: a CSV file as text by column, with the line on which each row begins, as an editor shows it.

Python's own `csv` reads it, once and strictly: a quote that is opened, or closed, where none belongs is refused by
line, for what follows it would be read as something else.
"""

from __future__ import annotations

import contextlib
import csv
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lalora_kit.base.steps import step
from lalora_kit.tasks.arrays import refuse_rows
from lalora_kit.tasks.own.spelling import as_seen, composed, is_empty

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
STATED = re.compile(r'"?sep=(.)"?[,;\t]*\r?\n?', re.IGNORECASE)  # Excel's own first line
LONGEST_FIELD = 2**31 - 1  # the most that `csv` can be told on every system
_LIMIT = threading.Lock()  # its limit is one for the whole process

Record = tuple[int, list[str]]


@dataclass(frozen=True)
class Table:
    """A CSV file: every value as text without blanks around it, and the line on which each row begins.

    The names of columns are composed (see `spelling`); one column may have no name, as an index that was saved.
    """

    path: Path
    columns: Mapping[str, Sequence[str]]
    lines: tuple[int, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """Where each row stands, as an editor shows it."""
        return tuple(f"{self.path.name} line {line}" for line in self.lines)


@step("reading the table")
def read_table(path: Path, option: str = "--csv") -> Table:
    """A CSV file of UTF-8, with commas, or tabs where its name ends in .tsv, or what its first line `sep=;` states.

    Raises:
        ValueError: naming rows with too few or many fields, stray quotes and NUL bytes by line; another separator;
            columns without a name, or with one name.
    """
    if not path.is_file():
        raise ValueError(f"{option} {path} is no file; check the path")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(file)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read as CSV ({error}); save it as UTF-8 text with commas") from error
    found = STATED.fullmatch(lines[0]) if lines else None
    stated = found is not None and found[1] in SEPARATORS
    separator = found[1] if found and stated else "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        records = parsed(lines, separator, int(stated), path)
    except ValueError:
        refuse_separator(lines, separator, path)
        raise
    sizes = {len(record) for _, record in records}
    if len(sizes) != 1 or 1 in sizes:
        refuse_separator(lines, separator, path)
    names, rows = headed(records, path)
    bad = [(line, f"has {len(record)} fields, and the header {len(names)}", len(record) != len(names))
           for line, record in rows]  # fmt: skip
    bad += [(line, "holds a NUL byte", "\0" in "".join(record)) for line, record in records]
    refuse_rows([f"{path.name} line {line} {fault}" for line, fault, is_so in bad if is_so])
    columns = [(name, [record[at].strip() for _, record in rows]) for at, name in enumerate(names)]
    return Table(path, checked(columns, path), tuple(line for line, _ in rows))


def parsed(lines: Sequence[str], separator: str, skipped: int, path: Path) -> list[Record]:
    """Each record that is not blank, with the line on which it begins; `ValueError` where a quote is out of place."""
    found: list[Record] = []
    last = skipped
    with any_length():
        reading = csv.reader(lines[skipped:], delimiter=separator, strict=True)
        try:
            for record in reading:
                if record:
                    found.append((last + 1, record))
                last = skipped + reading.line_num
        except csv.Error as error:
            raise ValueError(
                f"{path.name} line {last + 1} begins a row that cannot be read ({error}): a quote is left open, or "
                'stands in the midst of a quoted field; close it, or write "" for a quote inside one'
            ) from error
    return found


@contextlib.contextmanager
def any_length() -> Iterator[None]:
    """Fields of any length in the block; a text has no other limit than memory."""
    with _LIMIT:
        limit = csv.field_size_limit(LONGEST_FIELD)
        try:
            yield
        finally:
            csv.field_size_limit(limit)


def refuse_separator(lines: Sequence[str], separator: str, path: Path) -> None:
    """`ValueError` if another separator than the expected one gives each row as many fields as the header."""
    expected = SEPARATORS.get(separator, repr(separator))
    for other, name in SEPARATORS.items():
        try:
            records = [] if other == separator else parsed(lines, other, 0, path)
        except ValueError:
            continue
        sizes = {len(record) for _, record in records}
        if len(sizes) == 1 and sizes.pop() > 1:
            raise ValueError(
                f"{path} is separated by {name}, and {expected} are expected; save it with {expected}, or write "
                f"sep={other} as its first line" + (", or name it .tsv" if other == "\t" else "")
            )


def headed(records: Sequence[Record], path: Path) -> tuple[list[str], Sequence[Record]]:
    """The names of the columns, and the rows; separators after the last name that no row has are no column."""
    if len(records) < 2:
        raise ValueError(f"{path} has no rows below a header; its first line must name the columns")
    names, rows = [composed(name) for name in records[0][1]], records[1:]
    longest = max(len(record) for _, record in rows)
    while len(names) > longest and is_empty(names[-1]):
        names.pop()
    return names, rows


def checked(columns: Sequence[tuple[str, Sequence[str]]], path: Path) -> dict[str, Sequence[str]]:
    """The columns by name, without those that hold nothing at all, not even a name.

    Raises:
        ValueError: where two have one name, as it is seen, or another than the first, an index, has none.
    """
    kept = [(at, name, values) for at, (name, values) in enumerate(columns) if not is_empty(name + "".join(values))]
    shown = [as_seen(name) for _, name, _ in kept]
    twice = sorted({name for name in shown if name and shown.count(name) > 1})
    if twice:
        raise ValueError(
            f"{path} names the columns {twice} twice; its first line must name the columns, each by a name of its own"
        )
    nameless = [str(at + 1) for at, name, _ in kept if is_empty(name) and at > 0]
    if nameless:
        raise ValueError(
            f"{path} has no name for column {', '.join(nameless)}, which holds values; its first line must name the "
            "columns; write its name there, or take the column out"
        )
    return {"" if is_empty(name) else name: values for _, name, values in kept}
