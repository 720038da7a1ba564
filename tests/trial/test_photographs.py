"""What an adapter gains on `mnist` stands in the record of its backbone, as the kept runs give it."""

import json
from pathlib import Path

import pytest

from lalora_kit.trial.study import curves
from tests.benchmarks.photographs import ADAPTERS, PLACE, STUDY, TUNING, margins, rows

#: Points that a backbone has to win over each baseline, each interval clear of zero, and what the adapter has to reach.
LEAST, LEVEL = {"linear": 15, "head-only": 5, "linear-hog": 3}, 0.75


@pytest.fixture(scope="module")
def kept():
    return margins(curves(STUDY.results))


def test_the_record_says_what_the_kept_runs_give(kept):
    assert json.loads(PLACE.read_text(encoding="utf-8"))["margins"] == json.loads(json.dumps(kept))


@pytest.mark.parametrize("baseline", LEAST)
def test_the_backbone_earns_its_place(kept, baseline):
    over = kept["over"][baseline]
    assert over["points"] >= LEAST[baseline] and over["from"] > 0, over
    assert kept["accuracy"][kept["best adapter"]] >= LEVEL


def test_rates_were_chosen_on_seeds_that_are_not_reported(kept):
    assert kept["seeds"] == list(range(10)) and not set(kept["seeds"]) & set(TUNING)
    assert kept["best adapter"] in ADAPTERS and set(kept["over"]) == set(STUDY.against)


def test_the_results_page_says_what_the_kept_runs_give():
    told, done = (Path(__file__).parents[2] / "notebooks/RESULTS.md").read_text(encoding="utf-8"), curves(STUDY.results)
    assert [row for row in rows(done) if row not in told] == []
    said = STUDY.beside(["3"], list(ADAPTERS), STUDY.reported, done)
    assert [line for line in said if line not in told] == []
