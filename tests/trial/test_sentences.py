"""What an adapter gains on `stdlib-docs-distilled` stands in the record of its backbone, as the kept runs give it."""

import json
from pathlib import Path

import pytest

from lalora_kit.trial.study import curves
from tests.benchmarks.sentences import ADAPTERS, LEAST, PLACE, STUDY, margins


@pytest.fixture(scope="module")
def kept():
    return margins(curves(STUDY.results))


def test_the_record_says_what_the_kept_runs_give(kept):
    assert json.loads(PLACE.read_text(encoding="utf-8"))["margins"] == json.loads(json.dumps(kept))


def test_the_results_page_says_what_the_kept_runs_give():
    told = (Path(__file__).parents[2] / "notebooks/RESULTS.md").read_text(encoding="utf-8")
    done, names = curves(STUDY.results), [*ADAPTERS, "head-only"]
    [said] = STUDY.beside(["8"], names, STUDY.reported, done)
    assert f"- {said}\n" in told and "no adapter is shown to pay over it" in said
    rows = [(name, "8", STUDY.usual.clients) for name in (*names, "linear")]
    assert [row for row in rows if f"| {row[0]} | {STUDY.shown(row, done, STUDY.reported)} |" not in told] == []


def test_the_backbone_is_well_ahead_of_a_linear_model_on_words(kept):
    over = kept["over"]["linear"]
    assert over["points"] >= LEAST["linear"] and over["from"] > 0, over


def test_it_is_said_over_which_baselines_it_earns_its_place(kept):
    for name, least in LEAST.items():
        over = kept["over"][name]
        assert kept["earned"][name] == (over["points"] >= least and over["from"] > 0)


def test_rates_were_chosen_on_seeds_that_are_not_reported(kept):
    assert kept["seeds"] == [0, 1, 2, 3, 4] and not set(kept["seeds"]) & set(STUDY.tuning_seeds["8"])
    assert kept["best adapter"] in ADAPTERS and set(kept["over"]) == set(STUDY.against) == set(LEAST)
