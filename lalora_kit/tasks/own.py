"""Your own data: a folder of images (a folder a class), or a CSV file with a text and a label a row.

Nothing is left out in silence: every row that cannot be used is named, and then nothing starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lalora_kit.tasks import SAMPLE, Inputs, Task
from lalora_kit.tasks.arrays import refuse_rows
from lalora_kit.tasks.online import first_line
from lalora_kit.tasks.reader import Reader, reader
from lalora_kit.tasks.rows import ROW, Rows, bad_rows, check_persons, column_of, divide, hashed
from lalora_kit.tasks.table import read_table

METADATA, FILE_NAME = "metadata.csv", "file_name"
BICUBIC = 3  # Pillow's number of it; it averages where it makes an image smaller


def load_csv(
    csv: str, text: str | None = None, label: str | None = None, owner: str | None = None, unit: str | None = None,
    backbone: str | None = None, **other: str,
) -> Task:  # fmt: skip
    """A text classification task from a CSV file with a header.

    Args:
        csv: path of the file, UTF-8, with commas (tabs where it ends in .tsv).
        text, label: names of its columns.
        owner: column that says whose each row is; each client is made of whole owners.
        unit: column of the person (author, patient) behind each row, whom ε then protects with all rows; "row" says
            that every row is a person of its own.
        backbone: as for `backbones.build`, or "roberta-pico", which ships with the kit.

    Raises:
        ValueError: naming up to ten bad rows by line; or a missing column, or a person's column without `unit`.
    """
    refuse_other(other, "a CSV file")
    if text is None or label is None:
        raise ValueError(f"text={text!r} and label={label!r} must both name a column of {csv}; give --text and --label")
    path = Path(csv)
    table = read_table(path)
    texts = column_of(table.columns, text, "text", path.name)
    labels = column_of(table.columns, label, "label", path.name)
    owners, units = people(table.columns, owner, unit, path.name, apart=(text, label))
    contents = tuple(hashed(value.encode()) for value in texts)
    rows = Rows(table.places, contents, tuple(labels), owners, units, unit or SAMPLE)
    refuse_rows([f"{place} has an empty text" for place, said in zip(table.places, texts, strict=True) if not said]
                + bad_rows(rows))  # fmt: skip
    parts = divide(rows)
    read = reader(backbone, "text", len(classes_of(labels, path)))
    inputs = read.encode(texts)
    full = int((inputs["attention_mask"].sum(1) >= read.longest).sum())
    cut = f"{full} texts fill all {read.longest} tokens, and what is beyond is cut off" if full else ""
    return as_task(path, read, inputs, rows, parts, HELD, cut)


def load_images(
    images: str, owner: str | None = None, unit: str | None = None, backbone: str | None = None, **other: str
) -> Task:
    """An image classification task from a folder: `DIR/CLASS/*`, or `DIR/train/CLASS/*` and `DIR/test/CLASS/*`.

    Args:
        images: the folder; hidden files are passed over, any other must be an image in a class folder.
        owner, unit: columns of `DIR/metadata.csv`, which names each image in its column `file_name`; see `load_csv`.
        backbone: as for `backbones.build`, or "swin-pico" (grey, 16×16), which ships with the kit.

    Raises:
        ValueError: naming up to ten bad images by path; or where there are no two classes.
    """
    refuse_other(other, "a folder of images")
    root = Path(images)
    if not root.is_dir():
        raise ValueError(f"--images {images} is no folder; give the folder that holds one folder a class")
    given = [root / "train", root / "test"] if all((root / part).is_dir() for part in ("train", "test")) else []
    bad: list[str] = []
    found = [listed(folder, root, bad) for folder in given or [root]]
    paths = [path for part in found for path, _ in part]
    labels = tuple(label for part in found for _, label in part)
    places = tuple(str(path.relative_to(root)) for path in paths)
    owners, units = about_images(root, places, owner, unit, bad)
    classes = classes_of([label for _, label in found[0]], root)
    if given:
        bad += [f"{path.relative_to(root)} is of class {label!r}, which no training image has"
                for path, label in found[1] if label not in classes]  # fmt: skip
    read = reader(backbone, "image", len(classes))
    x = pictures(paths, places, read.size, read.grey, bad)
    contents = tuple(hashed(picture.numpy().tobytes()) for picture in x)
    rows = Rows(places, contents, labels, owners, units, unit or SAMPLE)
    bad += bad_rows(rows)
    count = len(found[0])
    if given and units is not None:
        bad += [f"{places[row]} is of {unit} {units[row]!r}, who is in train too" for row in range(count, len(places))
                if units[row] in units[:count]]  # fmt: skip
    refuse_rows(bad)
    parts = (list(range(count)), list(range(count, len(places)))) if given else divide(rows)
    return as_task(root, read, {"x": x}, rows, parts, "test/" if given else HELD, "")


HELD = "every fifth of a class by its content"


def as_task(
    path: Path, read: Reader, inputs: Inputs, rows: Rows, parts: tuple[list[int], list[int]], held: str, more: str
) -> Task:
    """The rows that were found good, as a `Task` whose description says how it was made."""
    train, test = parts
    train_inputs, test_inputs = ({name: value[part] for name, value in inputs.items()} for part in parts)
    classes = classes_of(rows.labels, path)
    counts = [f"{len(train)} training and {len(test)} test samples", f"{len(classes)} classes"]
    counts += [f"{len(set(rows.owners))} owners"] if rows.owners else []
    counts += [f"unit {rows.unit}: {len(set(rows.pick('units', train) or ()))} in training"] if rows.units else []
    said = [", ".join(counts), f"for testing: {held}; its accuracy is told as it is, without noise", more]
    return Task.from_arrays(
        read.module, train_inputs, rows.pick("labels", train), test_inputs=test_inputs,
        test_labels=rows.pick("labels", test), classes=classes, head=read.head, targets=read.targets,
        owners=rows.pick("owners", train), test_owners=rows.pick("owners", test), units=rows.pick("units", train),
        unit=rows.unit, prepare=read.prepare, name=path.name[:100],
        description=f"{path.name}: {'; '.join(filter(None, said))}. Backbone: {read.description}",
    )  # fmt: skip


def refuse_other(other: Mapping[str, str], kind: str) -> None:
    """Options that belong to another kind of data."""
    for name, value in other.items():
        raise ValueError(f"{name}={value!r} says nothing about {kind}; leave it out, or name the data that it is about")


def classes_of(labels: Sequence[str], path: Path) -> list[str]:
    """The label names in order; `ValueError` unless there are two."""
    found = sorted(set(filter(None, labels)))
    if len(found) < 2:
        raise ValueError(
            f"{path} holds {len(found)} classes ({', '.join(found)}); there must be at least two to tell apart"
        )
    return found


def people(
    columns: Mapping[str, Sequence[str]], owner: str | None, unit: str | None, where: str, apart: Sequence[str] = ()
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Owners and units from their columns; refuses where persons repeat and no unit is named."""
    owners = None if owner is None else tuple(column_of(columns, owner, "owner", where))
    if unit is None:
        check_persons({name: values for name, values in columns.items() if name not in apart}, owner, where)
    units = None if unit in (None, ROW) else tuple(column_of(columns, str(unit), "unit", where))
    return owners, units


def about_images(
    root: Path, places: Sequence[str], owner: str | None, unit: str | None, bad: list[str]
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Owners and units of images from `metadata.csv`; images that it leaves out are added to `bad`."""
    path = root / METADATA
    if not path.is_file():
        if owner is not None or unit not in (None, ROW):
            raise ValueError(
                f"owner={owner!r} and unit={unit!r} are columns, and {path} does not exist; write it, with a column "
                f"{FILE_NAME} that names each image from {root.name} on, and those columns"
            )
        return None, None
    table = read_table(path)
    row_of = {name: row for row, name in enumerate(column_of(table.columns, FILE_NAME, FILE_NAME, METADATA))}
    bad += [f"{place} is not in {METADATA}" for place in places if place not in row_of]
    columns = {name: ["" if place not in row_of else values[row_of[place]] for place in places]
               for name, values in table.columns.items() if name != FILE_NAME}  # fmt: skip
    return people(columns, owner, unit, METADATA)


def listed(folder: Path, root: Path, bad: list[str]) -> list[tuple[Path, str]]:
    """Every image and its class; what lies in no class folder, and a class without images, is added to `bad`."""
    found: list[tuple[Path, str]] = []
    for place in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if path.is_file() and not path.name.startswith("."))
            bad += [] if inside else [f"{place.relative_to(root)} is a class without images"]
            found += [(path, place.name) for path in inside]
        elif place != root / METADATA:
            bad.append(f"{place.relative_to(root)} lies in no class folder")
    return found


def pictures(paths: Sequence[Path], places: Sequence[str], size: tuple[int, int], grey: bool, bad: list[str]) -> Tensor:
    """Images as bytes `(images, 1 or 3, height, width)`, upright as their EXIF says, resized whole, without a crop.

    One that cannot be read stays black and is added to `bad`.
    """
    import numpy as np
    from datasets import Dataset, Image

    x = torch.zeros(len(paths), 1 if grey else 3, *size, dtype=torch.uint8)
    data = Dataset.from_dict({"image": [str(path.resolve()) for path in paths]}).cast_column("image", Image())
    for row, place in enumerate(places):
        try:
            image = data[row]["image"]
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"its pixels have more than 8 bits ({image.mode}); scale it to 8 bits first")
            small = image.convert("L" if grey else "RGB").resize(size[::-1], resample=BICUBIC)
        except Exception as error:  # Pillow has an error of its own for every way a file can be broken
            bad.append(f"{place} cannot be read as an image ({first_line(error)})")
            continue
        x[row] = torch.from_numpy(np.array(small)).view(*size, -1).permute(2, 0, 1)  # (h, w, c) -> (c, h, w)
    return x
