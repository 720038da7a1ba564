"""Public inputs of one's own: pictures or texts without labels, nobody's secret, for the statistics of features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lalora_kit.tasks import Inputs
from lalora_kit.tasks.arrays import refuse_rows
from lalora_kit.tasks.own.folders import Walk
from lalora_kit.tasks.own.reader import Reader
from lalora_kit.tasks.own.rows import Rows, column_of, hashed
from lalora_kit.tasks.own.spelling import composed, is_empty
from lalora_kit.tasks.own.table import read_table
from lalora_kit.tasks.pictures import read_pictures


@dataclass(frozen=True, eq=False)
class Public:
    """What was found in `path`: where each input stands, its content as a digest, and what it is to the backbone."""

    path: Path
    places: Sequence[str]
    contents: Sequence[str]
    inputs: Inputs

    def told(self) -> str:
        """For a task's description."""
        return f"{len(self.places)} public inputs of {self.path.name}, without labels"


def public_texts(path: str, text: str, encode: Callable[[Sequence[str]], Inputs]) -> Public:
    """The column `text` of a CSV file.

    Raises:
        ValueError: naming up to ten empty texts by line, or the column that is missing.
    """
    table = read_table(Path(path), "--public")
    column_of(table.columns, text, "text", table.path.name)
    texts = table.columns[composed(text)]
    refuse_rows(
        [f"{place} has an empty text" for place, said in zip(table.places, texts, strict=True) if is_empty(said)]
    )
    return Public(table.path, table.places, [hashed(said.encode()) for said in texts], encode(texts))


def public_pictures(path: str, read: Reader) -> Public:
    """Every picture in a folder and the folders in it, whatever these are called.

    Raises:
        ValueError: naming up to ten files that are no pictures, or where there is none.
    """
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"--public {path} is no folder; give one that holds public pictures")
    walk = Walk(root)
    paths = sorted(walk.files(root))
    places = [f"{root.name}/{walk.name(found)}" for found in paths]
    x = read_pictures(paths, places, read.size, read.grey, walk.bad)
    refuse_rows(walk.bad)
    if not paths:
        raise ValueError(f"--public {path} holds no picture; put some hundreds of public ones there")
    return Public(root, places, [hashed(picture.numpy().tobytes()) for picture in x], {"x": x})


def in_rows(public: Public, rows: Rows) -> list[str]:
    """Public inputs that are among the data, a line each: what they say would be told without noise."""
    known = dict(zip(rows.contents, rows.places, strict=True))
    return [f"{place} is {known[content]} too, and public inputs are none of the data"
            for place, content in zip(public.places, public.contents, strict=True) if content in known]  # fmt: skip
