"""Your own data: a folder of images (a folder a class), or a CSV file with a text and a label a row.

Nothing is left out in silence: every row that cannot be used is named, and then nothing starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lalora_kit.tasks import SAMPLE, Inputs, Task
from lalora_kit.tasks.arrays import MOST_NAMED, refuse_rows
from lalora_kit.tasks.own.folders import METADATA, Walk, check_known, check_names, check_nested, listed, parts_of
from lalora_kit.tasks.own.metadata import about_images
from lalora_kit.tasks.own.public import Public, in_rows, public_pictures, public_texts
from lalora_kit.tasks.own.reader import Reader, reader
from lalora_kit.tasks.own.rows import (
    ROW,
    Rows,
    bad_rows,
    check_persons,
    column_of,
    divide,
    hashed,
    parted,
    shared_with_test,
)
from lalora_kit.tasks.own.spelling import composed, is_empty
from lalora_kit.tasks.own.table import read_table
from lalora_kit.tasks.pictures import read_pictures


def load_csv(
    csv: str, text: str | None = None, label: str | None = None, owner: str | None = None, unit: str | None = None,
    backbone: str | None = None, public: str | None = None, classes: str | None = None, **other: str,
) -> Task:  # fmt: skip
    """A text classification task from a CSV file with a header.

    Args:
        csv: path of the file, UTF-8, with commas (tabs where it ends in .tsv).
        text, label: names of its columns.
        owner: column that says whose each row is; each client is made of whole owners.
        unit: column of the person (author, patient) behind each row, whom ε then protects with all rows; "row" says
            that every row is a person of its own.
        backbone: as for `backbones.build`, or "roberta-pico", which ships with the kit.
        public: another CSV file, whose column `text` holds public texts: see `Task.public`.
        classes: all label names with commas between, where some may not be in this file; else those in it.

    Raises:
        ValueError: naming up to ten bad rows by line; or a missing column, or a person's column without `unit`.
    """
    refuse_other(other, "a CSV file")
    if text is None or label is None:
        raise ValueError(f"text={text!r} and label={label!r} must both name a column of {csv}; give --text and --label")
    if composed(text) == composed(label):
        raise ValueError(f"text={text!r} and label={label!r} are one column of {csv}; name the column of the class")
    path = Path(csv)
    table = read_table(path)
    column_of(table.columns, text, "text", path.name)
    texts = table.columns[composed(text)]  # as they were written: their letters are the sample
    labels = column_of(table.columns, label, "label", path.name)
    owners, units = people(table.columns, owner, unit, path.name, apart=(text, label))
    contents = tuple(hashed(value.encode()) for value in texts)
    rows = Rows(table.places, contents, tuple(labels), owners, units, unit or SAMPLE)
    empty = [f"{place} has an empty text" for place, said in zip(table.places, texts, strict=True) if is_empty(said)]
    refuse_rows(empty + bad_rows(rows))
    parts = divide(rows)
    named = classes_of(labels, path, classes)
    read = reader(backbone, "text", len(named))
    inputs = read.encode(texts)
    full = int((inputs["attention_mask"].sum(1) >= read.longest).sum())
    cut = f"{full} texts fill all {read.longest} tokens, and what is beyond is cut off" if full else ""
    found = None if public is None else public_texts(public, text, read.encode)
    return as_task(
        path, read, named, inputs, rows, parts, HELD, [*about(table.columns, text, label, owner, unit), cut], found
    )


def load_images(
    images: str, owner: str | None = None, unit: str | None = None, backbone: str | None = None,
    public: str | None = None, classes: str | None = None, **other: str,
) -> Task:  # fmt: skip
    """An image classification task from a folder: `DIR/CLASS/*`, or `DIR/train/CLASS/*` beside `test/` or `val/`.

    Args:
        images: the folder; hidden and system files are passed over and counted, any other must be an image of a class.
        owner, unit: columns of `DIR/metadata.csv`, which names each image in its column `file_name`; see `load_csv`.
        backbone: as for `backbones.build`, or "swin-pico" (grey, 16×16), which ships with the kit.
        public: another folder, all of whose pictures are public: see `Task.public`.
        classes: as for `load_csv`.

    Raises:
        ValueError: naming up to ten bad images by path; or where there are no two classes.
    """
    refuse_other(other, "a folder of images")
    root = Path(images)
    if not root.is_dir():
        raise ValueError(f"--images {images} is no folder; give the folder that holds one folder a class")
    walk = Walk(root)
    folders = parts_of(walk)
    given = len(folders) > 1
    found = [listed(walk, folder) for folder in folders]
    refuse_rows(walk.bad if not found[0] else [])  # what stands there says more than that there is no class
    check_nested(walk, folders, unit)
    paths = [path for part in found for path, _ in part]
    labels = tuple(label for part in found for _, label in part)
    places = tuple(map(walk.name, paths))
    check_names(places, len(folders[0].relative_to(root).parts) + 1, unit)
    columns = about_images(root, places, owner, unit, walk.bad)
    owners, units = people(columns, owner, unit, METADATA)
    check_known(walk, found)
    named = classes_of([label for _, label in found[0]], root, classes)
    read = reader(backbone, "image", len(named))
    x = read_pictures(paths, places, read.size, read.grey, walk.bad)
    contents = tuple(hashed(picture.numpy().tobytes()) for picture in x)
    rows = Rows(places, contents, labels, owners, units, unit or SAMPLE)
    count = len(found[0])
    refuse_rows([*walk.bad, *bad_rows(rows), *(shared_with_test(rows, count, walk.bad) if given else [])])
    parts = (list(range(count)), list(range(count, len(places)))) if given else divide(rows)
    more, held = [*about(columns, None, None, owner, unit), *walk.told()], f"{folders[-1].name}/" if given else HELD
    free = None if public is None else public_pictures(public, read)
    return as_task(root, read, named, {"x": x}, rows, parts, held, more, free)


HELD = "every fifth of a class by its content"


def as_task(
    path: Path,
    read: Reader,
    classes: Sequence[str],
    inputs: Inputs,
    rows: Rows,
    parts: tuple[list[int], list[int]],
    held: str,
    more: Sequence[str],
    public: Public | None = None,
) -> Task:
    """The rows that were found good, as a `Task` whose description says how it was made."""
    refuse_rows([] if public is None else in_rows(public, rows))
    train, test = parts
    train_inputs, test_inputs = ({name: value[part] for name, value in inputs.items()} for part in parts)
    counts = [f"{len(train)} training and {len(test)} test samples", f"{len(classes)} classes"]
    counts += [f"{len(set(rows.owners))} owners"] if rows.owners else []
    counts += [f"unit {rows.unit}: {len(set(rows.pick('units', train) or ()))} in training"] if rows.units else []
    said = [", ".join(counts), f"for testing: {held}; its accuracy is told as it is, without noise", *more]
    said += [] if public is None else [public.told()]
    return Task.from_arrays(
        read.module, train_inputs, rows.pick("labels", train), test_inputs=test_inputs,
        test_labels=rows.pick("labels", test), classes=classes, head=read.head, targets=read.targets,
        owners=rows.pick("owners", train), test_owners=rows.pick("owners", test), units=rows.pick("units", train),
        unit=rows.unit, prepare=read.prepare, decode=read.decode, name=path.name[:100],
        public=None if public is None else public.inputs,
        description=f"{path.name}: {'; '.join(filter(None, said))}. Backbone: {read.description}",
    )  # fmt: skip


def refuse_other(other: Mapping[str, str], kind: str) -> None:
    """Options that belong to another kind of data."""
    for name, value in other.items():
        raise ValueError(f"{name}={value!r} says nothing about {kind}; leave it out, or name the data that it is about")


def classes_of(labels: Sequence[str], path: Path, given: str | None = None) -> list[str]:
    """The label names in order, or those that are `given`; `ValueError` unless there are two, or for others."""
    found = sorted(set(filter(None, labels)))
    if given is not None:
        named = sorted({name.strip() for name in given.split(",")} - {""})
        if set(found) - set(named):
            raise ValueError(f"{path} holds the classes {', '.join(found)}, and classes={given!r}; name them all")
        found = named
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
        named = None if owner is None else composed(owner)
        check_persons({n: values for n, values in columns.items() if n not in map(composed, apart)}, named, where)
    if unit == ROW and ROW in columns:
        raise ValueError(
            f"unit={ROW!r} says that every row is a person of its own, and {where} has a column of that name; give "
            "that column another name, so that it is plain which is meant"
        )
    units = None if unit in (None, ROW) else tuple(column_of(columns, str(unit), "unit", where))
    return owners, units


def about(
    columns: Mapping[str, Sequence[str]], text: str | None, label: str | None, owner: str | None, unit: str | None
) -> list[str]:
    """Lines about persons with several units, and about columns that nobody has asked for; none may be needed."""
    used = {composed(name) for name in (text, label, owner, unit) if name is not None}
    left = [" ".join(name.split()) or "one without a name" for name in columns if name not in used]
    more = f", and {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else ""
    apart = {name: values for name, values in columns.items() if name not in (text, label)}
    return [parted(apart, unit), f"columns not used: {', '.join(left[:MOST_NAMED])}{more}" if left else ""]
