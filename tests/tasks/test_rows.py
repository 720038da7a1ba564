"""Rows by name: what is wrong with them, whose ids repeat, and who is held back for testing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalora_kit.tasks.own.rows import Rows, bad_rows, check_persons, divide


def rows_of(labels, owners=None, units=None, contents=None) -> Rows:
    count = range(len(labels))
    return Rows(tuple(f"f line {i + 2}" for i in count), tuple(contents or (f"c{i}" for i in count)), tuple(labels),
                owners and tuple(owners), units and tuple(units), "patient")  # fmt: skip


@st.composite
def tables(draw):
    count = draw(st.integers(12, 60))
    units = draw(st.lists(st.integers(0, 15), min_size=count, max_size=count))
    labels = draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    owners = [str(unit % 3) for unit in units]  # a person has one owner
    return rows_of(labels, owners, [str(unit) for unit in units]) if draw(st.booleans()) else rows_of(labels, owners)


@given(tables())
def test_no_unit_is_on_both_sides_and_training_knows_every_label_and_owner(rows):
    try:
        train, test = divide(rows)
    except ValueError as error:
        assert "leave none to test with" in str(error)
        return
    assert sorted([*train, *test]) == list(range(len(rows.labels))) and test
    if rows.units:
        assert not {rows.units[i] for i in train} & {rows.units[i] for i in test}
    assert {rows.labels[i] for i in train} == set(rows.labels)
    assert {rows.owners[i] for i in train} == set(rows.owners)


def test_the_split_follows_what_rows_say_and_not_their_order():
    rows = rows_of(list("ab" * 50), owners=["n", "n", "s", "s"] * 25)
    held = {rows.contents[i] for i in divide(rows)[1]}
    order = random.Random(0).sample(range(100), 100)
    mixed = rows_of(*(rows.pick(name, order) for name in ("labels", "owners")), contents=rows.pick("contents", order))
    assert {mixed.contents[i] for i in divide(mixed)[1]} == held
    for name in ("labels", "owners"):  # a fifth of each class and of each owner
        column = getattr(rows, name)
        assert all(sum(column[i] == value for i in divide(rows)[1]) == 10 for value in set(column))


def test_rows_of_equal_content_stay_together():
    rows = rows_of(["a"] * 20 + ["b"] * 20, contents=[f"c{i // 2}" for i in range(40)])
    train, test = divide(rows)
    assert not {rows.contents[i] for i in train} & {rows.contents[i] for i in test}


def test_too_few_rows_to_hold_one_back():
    with pytest.raises(ValueError, match="give a class at least 3"):
        divide(rows_of(list("aabb")))


def test_bad_rows_by_name():
    rows = rows_of(["a", "", "b", "b", "a"], owners=["n", "n", "n", "s", "s"], units=["1", "2", "3", "3", ""])
    assert [said.split(" is patient")[0] for said in bad_rows(rows)] == [
        "f line 3 has no label",
        "f line 6 has no patient",
        "f line 5",
    ]
    assert "would add up over both" in bad_rows(rows)[-1]
    assert "only sample of owner 's'" in bad_rows(rows_of("aab", owners="nns"))[0]


@pytest.mark.parametrize(
    "name", ["id", "ID", "patient", "Patient", "patient_id", "PatientID", "subject", "user", "speaker_name", "case id"]
)
def test_a_persons_column_that_repeats_needs_a_unit(name):
    with pytest.raises(ValueError, match=f"column '{name}' whose values repeat .*--unit {name}, or --unit row"):
        check_persons({"x": "aaa", name: ["7", "7", "8"]}, None, "f")
    check_persons({name: ["7", "8", "", ""]}, None, "f")  # none repeats; no id is nobody's


@pytest.mark.parametrize("name", ["idea", "identity", "userland2", "side", "width", "subjective", "paid"])
def test_other_columns_may_repeat(name):
    check_persons({name: ["7", "7"]}, None, "f")


def test_an_owner_may_be_an_id_but_not_a_person():
    check_persons({"hospital_id": ["7", "7"]}, "hospital_id", "f")
    with pytest.raises(ValueError, match="--unit patient_id"):
        check_persons({"patient_id": ["7", "7"]}, "patient_id", "f")
