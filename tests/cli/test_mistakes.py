"""Every mistake of the table ends in one sentence with a remedy, exit code 2, and leaves all files as they were."""

from __future__ import annotations

import contextlib

import pytest

from tests.mistakes import MISTAKES, kept, prepare, run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("mistakes")
    prepare(directory)
    return directory


def test_there_are_enough():
    assert len(MISTAKES) >= 40


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_a_sentence_and_costs_nothing(mistake, place):
    arguments, words = MISTAKES[mistake]
    before = kept(place)
    with contextlib.chdir(place):
        code, said = run(arguments)
    assert code == 2, said
    assert words in said and "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert last.startswith("lalora: ") and len(last) < 700
    assert kept(place) == before, "nothing is lost, and nothing is left behind"
