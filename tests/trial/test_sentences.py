"""What an adapter gains on `stdlib-docs-distilled` stands in the record of its backbone, as the kept runs give it."""

import json

import pytest

from lalora_kit.trial.study import curves
from tests.benchmarks.photographs import margins_of
from tests.benchmarks.sentences import ADAPTERS, PLACE, STUDY

#: Points that a backbone has to win over each baseline, each interval clear of zero.
LEAST = {"linear": 5, "head-only": 3}


@pytest.fixture(scope="module")
def kept():
    return margins_of(STUDY, ADAPTERS, curves(STUDY.results), "8")


def test_the_record_says_what_the_kept_runs_give(kept):
    assert json.loads(PLACE.read_text(encoding="utf-8"))["margins"] == json.loads(json.dumps(kept))


@pytest.mark.parametrize("baseline", LEAST)
def test_the_backbone_earns_its_place(kept, baseline):
    over = kept["over"][baseline]
    assert over["points"] >= LEAST[baseline] and over["from"] > 0, over


def test_rates_were_chosen_on_seeds_that_are_not_reported(kept):
    assert kept["seeds"] == [0, 1, 2, 3, 4] and not set(kept["seeds"]) & set(STUDY.tuning_seeds["8"])
    assert kept["best adapter"] in ADAPTERS and set(kept["over"]) == set(STUDY.against) == set(LEAST)
