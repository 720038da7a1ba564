"""Own data that was left out, misread or trained under a wrong promise: D1 to D8, P9, P10, T1 to T3, and their kin."""

from __future__ import annotations

import csv
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lalora_kit.tasks.own.rows import Rows, bad_rows, check_persons
from lalora_kit.tasks.own.table import read_table
from tests.own_data import records, write_csv, write_images
from tests.tasks.test_arrays import POINTS, TEST, made
from tests.tasks.test_own import from_csv, from_images

RNG = np.random.default_rng(5)


def picture(path: Path, mode: str = "RGB", **about) -> Path:
    """A picture of noise at `path`; another each time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 255, (20, 20, 3)).astype("uint8")).convert(mode).save(path, **about)
    return path


def folders(root: Path, *names: str, each: int = 5) -> Path:
    """`each` pictures in every folder of `names`."""
    for name in names:
        for number in range(each):
            picture(root / name / f"{number}.png")
    return root


def refused(root: Path, *said: str, **given: str) -> str:
    with pytest.raises(ValueError) as error:
        from_images(root, **given)
    text = str(error.value)
    assert all(word in text for word in said), text
    return text


def test_p9_a_file_in_train_and_in_test_is_refused(tmp_path):
    root = folders(tmp_path, "train/a", "train/b", "test/a", "test/b")
    shutil.copy(root / "train/a/1.png", root / "test/a/copy.png")
    Image.open(root / "train/b/2.png").save(root / "test/b/again.bmp")  # the same picture in another format
    refused(root, "test/a/copy.png is the same as train/a/1.png", "test/b/again.bmp is the same as train/b/2.png")


def test_p9_arrays_of_persons_may_not_share_a_sample_or_a_person():
    people, shared = np.arange(24) // 2, np.concatenate([TEST[:8], POINTS[3:4]])
    with pytest.raises(ValueError, match="test_inputs row 8 equals inputs row 3"):
        made(units=people, test_inputs=shared)
    with pytest.raises(ValueError, match="test_units row 1 is person '11', who is in training too"):
        made(units=people, test_units=[90, 11, *range(91, 98)])
    made(units=people, test_inputs=shared, test_units=range(90, 99))
    made(test_inputs=shared)


IN_CASES = ["Patientid", "patientid", "PATIENTID", "mrn", "USUBJID", "uniquepid", "participant", "eid", "pid", "email",
            "member_no", "case_no"]  # fmt: skip
MORE = ["MRN", "hospital_mrn", "patientUnitStayID", "NHS number", "ssn", "userid", "caseID", "encounter", "student no",
        "StudentNumber", "customer", "Cust_No", "Patientennummer", "patient_nr", "Kundennr.", "Schüler-ID",
        "Fallnummer", "id_paciente", "IDPaciente", "Numéro patient", "N° patient", "codice_paziente", "deelnemernummer",
        "患者ID", "SEQN", "idauniq", "PROLIFIC_PID", "WorkerId", "reviewerID", "last name", "Name", "PseudoID",
        "patient1", "e-mail", "matrikel_nr", "ptid", "Unnamed: 0", ""]  # fmt: skip


@pytest.mark.parametrize("name", IN_CASES + MORE)
def test_p10_a_persons_column_in_any_spelling_needs_a_unit(name):
    with pytest.raises(ValueError, match=r"whose values repeat .*--unit row"):
        check_persons({"x": "aaa", name: ["7", "7", "8"]}, None, "f")
    check_persons({name: ["7", "8", "9"]}, None, "f")


@pytest.mark.parametrize("name", [
    "age", "patient_age", "Patient Gender", "site", "hospital", "ward", "view_position", "case_type", "inpatient",
    "product_name", "siteName", "title", "score", "index", "Lesion location", "personality", "membership", "part_no",
    "adm1_code", "validity", "video", "humid", "kidney", "department", "school", "course", "store",
])  # fmt: skip
def test_p10_other_columns_may_repeat(name):
    check_persons({name: ["7", "7"]}, None, "f")


def test_p10_the_person_is_named_before_what_may_be_one():
    columns = {"image_id": ["1", "1"], "Patient ID": ["7", "7"], "Patient Age": ["60", "60"]}
    with pytest.raises(ValueError, match=r"column 'Patient ID' whose values repeat \(so do those of 'image_id'\)"):
        check_persons(columns, None, "f")


def test_p10_through_both_doors_and_what_the_user_names_is_excluded(tmp_path):
    rows = [{"note": row["note"], "class": row["class"], "USUBJID": row["patient_id"]} for row in records()]
    path = write_csv(tmp_path / "own.csv", rows)
    with pytest.raises(ValueError, match="--unit USUBJID, or --unit row"):
        from_csv(path)
    assert from_csv(path, unit="row").unit == "sample" and from_csv(path, unit="USUBJID").unit == "USUBJID"
    root = folders(tmp_path / "own", "a", "b")
    names = sorted(str(file.relative_to(root)) for file in root.rglob("*.png"))
    write_csv(
        root / "metadata.csv", [{"file_name": name, "Probandennr": str(at // 2)} for at, name in enumerate(names)]
    )
    refused(root, "--unit Probandennr, or --unit row")
    authors = [{"note": row["note"], "author": row["class"]} for row in records()]  # the class is a person: no unit
    from_csv(write_csv(tmp_path / "authors.csv", authors), label="author")


def test_p10_a_unit_smaller_than_a_person_is_told(tmp_path):
    rows = [{**row, "visit": f"v{at // 2}"} for at, row in enumerate(records())]
    said = from_csv(write_csv(tmp_path / "own.csv", rows), unit="visit").description
    assert "ε holds for one visit, and 12 of 'patient_id' have several" in said
    assert "ε holds" not in from_csv(tmp_path / "own.csv", unit="patient_id").description


def test_p10_persons_in_the_names_of_files(tmp_path):
    root = folders(tmp_path, "a", "b")
    picture(root / "a" / "person12_virus_4.png")
    picture(root / "b" / "Person 012-scan.png")
    refused(root, "are named after one person (person 12)", "--unit row")
    assert len(from_images(root, unit="row").train) == 10


def test_p10_an_empty_or_unreal_person_in_arrays_names_nobody():
    people = [None, "a", float("nan"), "\u200b", *map(str, range(20))]
    with pytest.raises(ValueError, match=r"3 bad rows: units row 0 is None .*row 2 is nan .*row 3 is '\\u200b'"):
        made(units=np.array(people, dtype=object))


def test_p10_a_column_called_row_is_not_every_row(tmp_path):
    rows = [{**row, "row": row["patient_id"]} for row in records()]
    with pytest.raises(ValueError, match="has a column of that name"):
        from_csv(write_csv(tmp_path / "own.csv", rows), unit="row")


@pytest.mark.parametrize("train, test", [("train", "val"), ("Training", "Testing"), ("Train", "Test"),
                                         ("training_set", "test_set"), ("train2017", "valid")])  # fmt: skip
def test_d1_splits_in_any_spelling(tmp_path, train, test):
    task = from_images(folders(tmp_path, f"{train}/a", f"{train}/b", f"{test}/a", f"{test}/b"))
    assert task.classes == ("a", "b") and (len(task.train), len(task.test)) == (10, 10)
    assert f"for testing: {test}/" in task.description


def test_d1_a_third_split_sites_and_wrappers_are_refused_by_name(tmp_path):
    both = ("a", "b")
    third = folders(tmp_path / "1", *(f"{part}/{name}" for part in ("train", "valid", "test") for name in both))
    refused(third, "test/, train/, valid/", "move or merge")
    sites = folders(tmp_path / "2", *(f"site{site}/{name}" for site in "AB" for name in both))
    refused(sites, "a, b", "siteA, siteB", "--owner", "metadata.csv")
    refused(sites, "siteA, siteB", unit="row")
    refused(
        folders(tmp_path / "3", "photos/a", "photos/b"), "one folder, photos/", f"--images {tmp_path / '3' / 'photos'}"
    )
    refused(folders(tmp_path / "4", "train/a", "train/b", "masks/a"), "masks/, train/")
    refused(folders(tmp_path / "5", "Train/a", "Train/b", "train/a", "test/a"), "Train/, test/, train/")
    inside = folders(tmp_path / "6", "a", "b", "a/patient1", "b/patient2")
    refused(inside, "a/patient1, b/patient2", "--unit")
    task = from_images(inside, unit="row")
    assert len(task.train) == 16 and "2 folders inside class folders are read with their class" in task.description
    refused(folders(tmp_path / "7", "train", "test"), "train/0.png lies in no class folder")
    refused(folders(tmp_path / "8", "train", "test", "val"), "test/, train/, val/", "move or merge")


def test_d1_a_class_may_be_called_train(tmp_path):
    assert from_images(folders(tmp_path, "car", "plane", "train")).classes == ("car", "plane", "train")


def test_d1_files_beside_train_and_test_are_named(tmp_path):
    root = folders(tmp_path, "train/a", "train/b", "test/a", "test/b")
    picture(root / "more.png")
    refused(root, "more.png lies in no class folder")


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints", ".thumbnails", ".AppleDouble", "@eaDir", "__MACOSX", "#recycle"]
)
def test_d2_hidden_and_system_folders_are_passed_over_and_counted(tmp_path, name):
    root = folders(tmp_path, "a", "b", f"a/{name}", name, f"b/{name}/deeper")
    (root / "b" / "Thumbs.db").write_bytes(b"x")
    task = from_images(root)
    assert task.classes == ("a", "b") and len(task.train) + len(task.test) == 10
    assert "passed over: 4 hidden or system entries (" in task.description and name in task.description


def test_d3_links_are_followed_or_named(tmp_path):
    root, other = folders(tmp_path / "own", "a", "b"), folders(tmp_path / "other", "more")
    (root / "a" / "linked").symlink_to(other / "more")
    (root / "c").symlink_to(other / "more")
    assert len(from_images(root, unit="row").classes) == 3  # the linked folder's pictures are there
    (root / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "b" / "round").symlink_to(root / "b")
    (root / "d").symlink_to(tmp_path / "no folder")
    os.mkfifo(root / "b" / "pipe")
    refused(root, "a/gone.png is a link to", "b/round is a link to a folder that it lies in", "d is a link to",
            "b/pipe is neither", unit="row")  # fmt: skip


def described(tmp_path, *more: dict[str, str], name=lambda name: name) -> Path:
    """Ten pictures, two named with umlauts, and a metadata.csv whose names go through `name`."""
    root = folders(tmp_path, "a", "b", each=4)
    for at in "ab":
        picture(root / at / "schön.png")
    names = sorted(str(file.relative_to(root)) for file in root.rglob("*.png"))
    rows = [{"file_name": name(said), "site": "ns"[at % 2]} for at, said in enumerate(names)]
    write_csv(root / "metadata.csv", [*rows, *more])
    return root


def test_d4_metadata_is_about_each_image_once(tmp_path):
    root = described(tmp_path, {"file_name": "a/0.png", "site": "x"}, {"file_name": "a/9.png", "site": "n"})
    refused(
        root, "line 12 names 'a/0.png' again, with another 'site' than line 2", "line 13 names 'a/9.png', which is no"
    )


@pytest.mark.parametrize("written", [
    lambda name: unicodedata.normalize("NFD", name), lambda name: name.replace("/", "\\"), lambda name: f"./{name}",
])  # fmt: skip
def test_d4_names_of_other_systems_are_understood(tmp_path, written):
    assert from_images(described(tmp_path, name=written), owner="site").owners == ("n", "s")


@pytest.mark.parametrize("name", ["two.tif", "two.gif", "two.png", "two.webp"])
def test_d5_files_of_several_pictures_are_refused(tmp_path, name):
    root = folders(tmp_path, "a", "b")
    pages = [Image.fromarray(RNG.integers(0, 255, (9, 9, 3)).astype("uint8")) for _ in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: it is still three pictures
    pages[0].save(
        root / "a" / name, save_all=True, append_images=pages[1:], **({} if "gif" in name else {"exif": exif})
    )
    refused(root, f"a/{name} cannot be read as an image (it holds 3 pictures")


def test_d5_a_telephones_photo_is_its_first_picture(tmp_path):
    root = folders(tmp_path, "a", "b")
    photo, preview = (Image.new("RGB", (32, 32), color) for color in ("white", "black"))
    photo.save(root / "a" / "photo.mpo", save_all=True, append_images=[preview])
    from lalora_kit.tasks.pictures import opened

    assert opened(root / "a" / "photo.mpo").getextrema() == ((255, 255),) * 3 and len(from_images(root).train) == 9


def shape(mode: str, ink) -> Image.Image:
    """A square of `ink` on a transparent ground that is black underneath."""
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    image.paste(ink, (8, 8, 24, 24))
    return image if mode == "RGBA" else image.convert("LA") if mode == "LA" else image.quantize(4)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_d6_black_ink_on_a_transparent_ground_is_black_on_white(tmp_path, mode):
    root = folders(tmp_path, "b", each=5)
    for number in range(3):
        (root / "a").mkdir(exist_ok=True)
        shape(mode, (0, 0, 0, 255)).save(root / "a" / f"{number}.png")
    task = from_images(root)
    x = task.train.inputs["x"][task.train.labels == 0][0, 0]
    assert x[0].min() > 240 and x[7, 7] < 15


def test_d6_white_ink_on_a_transparent_ground_is_refused(tmp_path):
    root = folders(tmp_path, "a", "b")
    shape("RGBA", (255, 255, 255, 255)).save(root / "a" / "white.png")
    Image.new("RGBA", (9, 9), (200, 0, 0, 0)).save(root / "a" / "nothing.png")
    refused(root, "a/nothing.png cannot", "a/white.png cannot be read as an image (it is white, or nothing, on")


def test_d6_a_full_alpha_changes_nothing(tmp_path):
    from lalora_kit.tasks.pictures import opened

    plain = Image.fromarray(RNG.integers(0, 255, (20, 20, 3)).astype("uint8"))
    plain.convert("RGBA").save(tmp_path / "a.png")
    for mode in ("RGB", "L"):
        assert np.array_equal(np.asarray(opened(tmp_path / "a.png").convert(mode)), np.asarray(plain.convert(mode)))


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("header", ["note, note", 'label,"label "', "café,cafe\u0301", "note,no\u200bte"])
def test_d7_two_columns_of_one_name_are_refused(tmp_path, header):
    with pytest.raises(ValueError, match=r"names the columns .* twice"):
        read_table(table(tmp_path / "t.csv", f"{header}\na,b\nc,d\n"))


def test_d8_labels_in_two_forms_of_unicode_are_one_class(tmp_path):
    rows = [{"note": f"text {at}", "class": ("café", "cafe\u0301", "tea")[at % 3]} for at in range(30)]
    assert from_csv(write_csv(tmp_path / "own.csv", rows)).classes == ("café", "tea")
    assert from_csv(tmp_path / "own.csv", label="class ").classes == ("café", "tea")


@pytest.mark.parametrize("other", ["a\u200b", "\ufeffa", "a\u00ad", "a\ufe0f", "a\u2060", "a\u3164"])
def test_d8_classes_that_look_alike_are_refused(tmp_path, other):
    rows = [{"note": f"text {at}", "class": ("a", other, "b")[at % 3]} for at in range(30)]
    with pytest.raises(ValueError, match=r"own.csv line 3 is label .*, which looks like 'a' and is written otherwise"):
        from_csv(write_csv(tmp_path / "own.csv", rows))


@pytest.mark.parametrize("text", ["\u200b", "\u200b \ufeff", "\u2060\u00a0", "\u2800", "\u3164"])
def test_d8_a_text_without_anything_to_see_is_empty(tmp_path, text):
    rows = [{"note": f"text {at}" if at else text, "class": "ab"[at % 2]} for at in range(30)]
    with pytest.raises(ValueError, match=r"own.csv line 2 has an empty text"):
        from_csv(write_csv(tmp_path / "own.csv", rows))


def test_d8_owners_persons_and_arrays_that_look_alike_are_refused(tmp_path):
    places = tuple("wxyz")
    rows = Rows(
        places, places, tuple("abab"), ("n", "n", "n\u200b", "n\u200b"), ("1", "2", "3\u00a04", "3  4"), "patient"
    )
    said = "; ".join(bad_rows(rows))
    assert "y is owner 'n\\u200b', which looks like 'n'" in said and "z is patient '3  4', which looks like" in said
    with pytest.raises(ValueError, match="classes cannot be told apart"):
        made(classes=("a", "a\u200b", "b"))
    assert made(classes=("cafe\u0301", "b", "c"), labels=["café", "b", "c"] * 8).classes[0] == "café"
    root = folders(tmp_path, unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é"), "b")
    refused(root, "are folders of one name to the eye")


def test_nothing_is_left_out_in_silence_columns_are_told(tmp_path):
    assert "columns not used: site, patient_id" in from_csv(write_csv(tmp_path / "own.csv"), unit="row").description


def test_t1_an_unnamed_index_is_accepted(tmp_path):
    path = table(tmp_path / "t.csv", ",note,class\n0,fine,a\n1,bad,b\n")
    assert read_table(path).columns == {"": ["0", "1"], "note": ["fine", "bad"], "class": ["a", "b"]}


def test_t1_a_quote_that_stays_open_is_refused_by_line(tmp_path):
    with pytest.raises(ValueError, match=r"t.csv line 3 begins a row that cannot be read .* left open"):
        read_table(table(tmp_path / "t.csv", 'note,class\nfine,a\nbad,"b\nwell,a\n'))
    with pytest.raises(ValueError, match=r"t.csv line 2 begins a row that cannot be read"):  # another closes it later
        read_table(table(tmp_path / "t.csv", 'note,class\nfine,"a\nbad,b\nwell,"a"\n'))
    with pytest.raises(ValueError, match="line 2 has a label of several lines"):
        read = table(
            tmp_path / "u.csv", 'note,class\nfine,"a\nbad,b"\n' + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(9))
        )
        from_csv(read)


@pytest.mark.parametrize("text", [
    "note,class,\nfine,a\nbad,b\n", "note,class,\nfine,a,\nbad,b,\n", "sep=,\nnote,class\nfine,a\nbad,b\n",
    '"sep=,"\r\nnote,class\r\nfine,a\r\nbad,b\r\n', "sep=;\nnote;class\nfine;a\nbad;b\n",
    "\ufeffsep=,\nnote,class\nfine,a\nbad,b\n",
    "note,class,,\nfine,a,,\nbad,b,,\n",
])  # fmt: skip
def test_t1_a_spreadsheets_commas_and_first_line_are_understood(tmp_path, text):
    found = read_table(table(tmp_path / "t.csv", text))
    assert found.columns == {"note": ["fine", "bad"], "class": ["a", "b"]}
    assert found.lines == ((3, 4) if "sep=" in text else (2, 3))


def test_t1_a_later_column_without_a_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no name for column 2"):
        read_table(table(tmp_path / "t.csv", "note,,class\nfine,x,a\nbad,y,b\n"))


@pytest.mark.parametrize("sign, name", [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_t2_a_file_with_another_separator_is_named_so(tmp_path, sign, name):
    lines = [f"note{sign}class", f"fine, and well{sign}a", f"bad{sign}b", f'"so, so"{sign}b']
    for count in (2, 3, 4):
        with pytest.raises(ValueError, match=f"is separated by {name}, and commas are expected"):
            read_table(table(tmp_path / "t.csv", "\n".join(lines[:count])))


def test_t2_commas_in_a_file_for_tabs_are_named_so(tmp_path):
    with pytest.raises(ValueError, match="is separated by commas, and tabs are expected"):
        read_table(table(tmp_path / "t.tsv", "note,class\nfine,a\n"))


def test_t3_a_field_of_any_length(tmp_path):
    limit, long = csv.field_size_limit(), "word " * 40_000
    assert read_table(table(tmp_path / "t.csv", f"note,class\n{long},a\n")).columns["note"] == [long.strip()]
    with pytest.raises(ValueError, match=r"line 2 begins a row that cannot be read .* left open"):
        read_table(table(tmp_path / "u.csv", f'note,class\n"{long},a\n'))
    assert csv.field_size_limit() == limit


def test_what_was_right_reads_as_before(tmp_path):
    """Pixels of plain pictures are those of Pillow's own opening, resizing and nothing else."""
    root = write_images(tmp_path / "own")
    x = from_images(root).train.inputs["x"]
    every = {Image.open(path).convert("L").resize((16, 16), resample=3).tobytes() for path in root.rglob("*.png")}
    assert {bytes(picture.numpy().tobytes()) for picture in x} <= every and x.dtype == torch.uint8
