"""Your own data through the front door: what is loaded, what is refused and in which words."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lalora_kit.methods import METHODS
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from lalora_kit.settings import Settings
from lalora_kit.tasks.own.sources import load_source
from lalora_kit.tasks.own.table import read_table
from tests.own_data import SITES, records, write_csv, write_images

COLUMNS = {"text": "note", "label": "class", "backbone": "roberta-pico"}


def from_csv(path: Path, **given: str):
    return load_source({"csv": str(path), **COLUMNS, **given})


def from_images(path: Path, **given: str):
    return load_source({"images": str(path), "backbone": "swin-pico", **given})


def test_a_csv_with_owners_and_persons(tmp_path):
    """Sites become clients; ε counts persons; nobody is on both sides; the source loads the same again."""
    task = from_csv(write_csv(tmp_path / "notes [1].csv"), owner="site", unit="patient_id")
    assert task.owners == tuple(sorted(SITES)) and task.unit == "patient_id" and task.classes == ("cold", "warm")
    assert len(task.train) + len(task.test) == 36
    persons = len(task.train.units.unique())
    assert len(task.train) == 3 * persons and persons < 12  # whole persons are held back
    plan = make_plan(task, METHODS["la-lora"], Settings(clients=3, sample_rate=0.5, delta=1e-3), Ledger())
    assert sum(plan.divisor(client) for client in range(3)) == persons / 2
    again = load_source(task.source)
    assert torch.equal(again.train.inputs["input_ids"], task.train.inputs["input_ids"])
    assert torch.equal(again.test.labels, task.test.labels) and again.description == task.description
    assert f"unit patient_id: {persons} in training" in task.description
    assert "told as it is, without noise" in task.description


def test_a_file_as_a_spreadsheet_saves_it(tmp_path):
    """BOM, CRLF, quotes, a comma and a line break inside a text, blank lines, NA as a word, zeros before a number."""
    lines = ["\ufeffText , label,code", '"one, two",NA,007', "", '"three', 'four ""five""",x,8', "six,NA,007"]
    path = tmp_path / "t.csv"
    path.write_bytes("\r\n".join(lines).encode())
    table = read_table(path)
    assert table.columns == {
        "Text": ["one, two", 'three\r\nfour "five"', "six"], "label": ["NA", "x", "NA"], "code": ["007", "8", "007"],
    }  # fmt: skip
    assert table.lines == (2, 4, 6)
    assert list(tmp_path.iterdir()) == [path]  # nothing is left beside the data


def test_a_table_with_tabs(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("a\tb\nx, y\t2\n")
    assert read_table(path).columns == {"a": ["x, y"], "b": ["2"]}


def changed(row: int, **values: str) -> list[dict[str, str]]:
    rows = records()
    rows[row].update(values)
    return rows


BAD_TABLES = {
    "empty text": (changed(3, note=" "), {}, "1 bad row: own.csv line 5 has an empty text; mend"),
    "no label": (changed(0, **{"class": ""}), {}, "own.csv line 2 has no label"),
    "a lonely owner": (changed(0, site="west", patient_id="w"), {}, "line 2 is the only sample of owner 'west'"),
    "a person at two sites": (changed(0, site="south"), {}, "is patient_id 'north-0' with owner 'north', who is with"),
    "a person without a name": (changed(1, patient_id=""), {}, "line 3 has no patient_id"),
    "ids repeat": (records(), {"unit": None}, "column 'patient_id' whose values repeat .*or --unit row"),
    "no such column": (records(), {"text": "notes"}, "--text 'notes' is no column of own.csv; did you mean 'note'"),
    "no such unit": (records(), {"unit": "patient"}, "did you mean 'patient_id'"),
    "one class": ([{**row, "class": "warm"} for row in records()], {}, "holds 1 classes"),
    "not told which": (records(), {"label": None}, "give --text and --label"),
    "pictures wanted": (records(), {"backbone": "swin-pico"}, "does not take texts; give --backbone roberta-pico"),
    "both kinds": (records(), {"task": "digits"}, "task='digits' says nothing about a CSV file"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_rows_and_columns_are_named(name, tmp_path):
    rows, changes, said = BAD_TABLES[name]
    given = {"owner": "site", "unit": "patient_id", **COLUMNS, **changes}
    with pytest.raises(ValueError, match=said):
        load_source({"csv": str(write_csv(tmp_path / "own.csv", rows)), **{n: v for n, v in given.items() if v}})


def test_eleven_bad_rows_are_ten_and_one_more(tmp_path):
    rows = [{**row, "note": ""} if number < 11 else row for number, row in enumerate(records())]
    with pytest.raises(ValueError, match=r"11 bad rows: .*line 11 has an empty text; and 1 more; mend"):
        from_csv(write_csv(tmp_path / "own.csv", rows), owner="site", unit="patient_id")


def test_every_row_a_person_when_told_so(tmp_path):
    task = from_csv(write_csv(tmp_path / "own.csv"), unit="row")
    assert task.unit == "sample" and task.train.units is None and not task.owners


BAD_FILES = {
    "empty": (b"", "has no rows below a header"),
    "a header alone": (b"note,class\n", "has no rows below a header"),
    "a column twice": (b"note,note\na,b\n", r"names the columns \['note'\] twice"),
    "too many fields": (
        b"note,class\na,b\na,b,c\n\nd\n",
        "2 bad rows: .* line 3 has 3 fields.* line 5 has 1 f",
    ),
    "Latin-1": ("note,class\nä,b\n".encode("latin-1"), "save it as UTF-8"),
    "binary": (b"note,class\na,b\na,\x00\n", "own.csv line 3 holds a NUL byte"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_no_table(name, tmp_path):
    content, said = BAD_FILES[name]
    (tmp_path / "own.csv").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        from_csv(tmp_path / "own.csv")


def test_a_long_text_is_said_to_be_cut(tmp_path):
    rows = changed(0, note="summer " * 200)
    task = from_csv(write_csv(tmp_path / "own.csv", rows), unit="row")
    assert "1 texts fill all 40 tokens, and what is beyond is cut off" in task.description


def test_images_become_bytes_at_the_backbones_size(tmp_path):
    """Names with brackets, blanks and umlauts; a hidden file is passed over; the brighter class is brighter."""
    root = write_images(tmp_path / "pics [x]")
    (root / "dark" / ".DS_Store").write_bytes(b"x")
    task = from_images(root)
    x = task.train.inputs["x"]
    assert (x.dtype, x.shape[1:]) == (torch.uint8, (1, 16, 16)) and (len(task.train), len(task.test)) == (16, 4)
    bright = [float(x[task.train.labels == label].float().mean()) for label in (0, 1)]
    assert task.classes == ("dark", "hell äöü") and bright[1] - bright[0] == pytest.approx(120, abs=5)
    assert task.prepare(task.test.inputs)["x"].abs().max() <= 1


def test_a_test_folder_is_the_test_part(tmp_path):
    root = tmp_path / "own"
    write_images(root / "train", each=4)
    write_images(root / "test", each=3, seed=1)
    task = from_images(root)
    assert (len(task.train), len(task.test)) == (8, 6) and "for testing: test/" in task.description
    (root / "test" / "dark").rename(root / "test" / "night")
    with pytest.raises(ValueError, match=r"3 bad rows: test/night/test \[0\].png is of class 'night', which no train"):
        from_images(root)


def test_images_with_sites_and_patients(tmp_path):
    root = write_images(tmp_path / "own", each=12)
    files = sorted(path.relative_to(root) for path in root.rglob("*.png"))
    rows = [{"file_name": str(f), "site": "ab"[i % 2], "patient": f"{i % 2}-{i // 6}"} for i, f in enumerate(files)]
    write_csv(root / "metadata.csv", rows)
    with pytest.raises(ValueError, match="column 'patient' whose values repeat"):
        from_images(root, owner="site")
    task = from_images(root, owner="site", unit="patient")
    assert task.owners == ("a", "b") and task.unit == "patient" and len(task.train.units.unique()) < 8
    write_csv(root / "metadata.csv", rows[1:])
    with pytest.raises(ValueError, match=r"dark/test \[0\].png is not in metadata.csv"):
        from_images(root, owner="site", unit="patient")


def truncated_jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype("uint8")).save(file, "JPEG")
    return file.getvalue()[:600]


def test_images_that_cannot_be_read_are_named_by_path(tmp_path):
    root = write_images(tmp_path / "own")
    (root / "dark" / "cut.jpg").write_bytes(truncated_jpeg())
    (root / "dark" / "notes.txt").write_text("taken in May")
    (root / "dark" / "empty.png").write_bytes(b"")
    (root / "readme.md").write_text("about")
    (root / "none").mkdir()
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(root / "dark" / "deep.png")
    with pytest.raises(ValueError) as refused:
        from_images(root)
    said = str(refused.value)
    assert said.startswith("6 bad rows: none is a class without images; readme.md lies in no class folder; ")
    for name in ("cut.jpg", "notes.txt", "empty.png", "deep.png"):
        assert f"dark/{name} cannot be read as an image (" in said
    assert "more than 8 bits" in said


def test_one_class_or_no_folder(tmp_path):
    with pytest.raises(ValueError, match="holds 1 classes"):
        from_images(write_images(tmp_path / "own", classes=("a",)))
    with pytest.raises(ValueError, match="is no folder"):
        from_images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"metadata.csv does not exist; write it, with a column file_name"):
        from_images(tmp_path / "own", owner="site")
    with pytest.raises(ValueError, match="text='a' says nothing about a folder"):
        from_images(tmp_path / "own", text="a")
    with pytest.raises(ValueError, match="owner='a' is about data of your own"):
        load_source({"task": "digits", "owner": "a"})


def test_a_photo_taken_upright_stays_upright(tmp_path):
    """EXIF says that the camera was turned: the bright half, stored at the left, is shown at the top."""
    root = write_images(tmp_path / "own")
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    for path in (root / "dark").glob("*.png"):
        path.unlink()
    for number in range(3):
        Image.fromarray(pixels).save(root / "dark" / f"{number}.png", exif=exif)
    task = from_images(root)
    shown = task.train.inputs["x"][task.train.labels == 0][0, 0]
    assert shown[:7].min() > 200 and shown[9:].max() < 50
