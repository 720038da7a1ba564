"""`metadata.csv`: whose each image is, by its name in the column `file_name`. Every row must be about an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lalora_kit.tasks.own.folders import METADATA
from lalora_kit.tasks.own.rows import ROW, column_of
from lalora_kit.tasks.own.spelling import composed
from lalora_kit.tasks.own.table import Table, read_table

FILE_NAME = "file_name"


def key(name: str) -> str:
    """A file's name as any system writes it: slashes either way, letters composed, without `./` before it."""
    return composed(name).replace("\\", "/").removeprefix("./")


def about_images(
    root: Path, places: Sequence[str], owner: str | None, unit: str | None, bad: list[str]
) -> Mapping[str, Sequence[str]]:
    """Columns of `metadata.csv`, a value an image; images and rows without each other are added to `bad`.

    Raises:
        ValueError: where `owner` or `unit` is a column and there is no such file, or it cannot be read.
    """
    path = root / METADATA
    if not path.is_file():
        if owner is not None or unit not in (None, ROW):
            raise ValueError(
                f"owner={owner!r} and unit={unit!r} are columns, and {path} does not exist; write it, with a column "
                f"{FILE_NAME} that names each image from {root.name} on, and those columns"
            )
        return {}
    table = read_table(path, METADATA)
    keys = [key(name) for name in column_of(table.columns, FILE_NAME, FILE_NAME, METADATA)]
    row_of = rows_by_name(table, keys, bad)
    named = {key(place): place for place in places}
    bad += [f"{place} and {named[key(place)]} have one name" for place in places if named[key(place)] != place]
    bad += [f"{place} is not in {METADATA}" for place in places if key(place) not in row_of]
    bad += [f"{table.places[row]} names {name!r}, which is no image here"
            for name, row in row_of.items() if name not in named]  # fmt: skip
    rows = [row_of.get(key(place)) for place in places]
    return {name: ["" if row is None else values[row] for row in rows]
            for name, values in table.columns.items() if name != FILE_NAME}  # fmt: skip


def rows_by_name(table: Table, keys: Sequence[str], bad: list[str]) -> dict[str, int]:
    """Each image's row; one that is named again with other values is added to `bad`."""
    row_of: dict[str, int] = {}
    for row, name in enumerate(keys):
        first = row_of.setdefault(name, row)
        other = [column for column, values in table.columns.items()
                 if column != FILE_NAME and values[row] != values[first]]  # fmt: skip
        if other:
            named = ", ".join(map(repr, other))
            bad.append(f"{table.places[row]} names {name!r} again, with another {named} than line {table.lines[first]}")
    return row_of
