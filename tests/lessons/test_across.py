"""Lesson 09's helpers: both ways are one run, a cheat reads what was clipped, and an upload weighs what is told."""

from dataclasses import replace

import pytest
import torch

from lalora_kit.lessons.sites.across import NAMES, Near, dealt, opened, replayed, side_by_side, terms_of
from lalora_kit.lessons.sites.travel import as_table, contents, for_real, weighed
from lalora_kit.methods import METHODS
from lalora_kit.privacy import Ledger
from lalora_kit.runs.sites.places import Limit
from tests.tiny import FAST, swin_task

TASK = swin_task(samples=90)
SETTINGS = replace(FAST, clients=3, rounds=2, sample_rate=None, batch_size=15.0)


@pytest.fixture
def federation(tmp_path):
    terms = terms_of(TASK, METHODS["la-lora"], SETTINGS)
    near, ledger = Near(opened(tmp_path, TASK, dict.fromkeys(terms.sites, Limit(10.0, 1e-3)))), Ledger()
    yield terms, near, ledger, side_by_side(TASK, terms, near, tmp_path / "server", ledger)
    for site in near.sites.values():
        site.close()


def test_side_by_side_both_ways_are_one_run_and_one_that_differs_is_told(federation):
    terms, _, ledger, walk = federation
    pairs = list(walk)
    assert [pair.apart() for pair in pairs] == [0.0, 0.0] and len(ledger) == 3 * 2 * SETTINGS.local_steps
    other = pairs[0]._replace(simulator=pairs[1].simulator)
    assert other.apart() > 1e-4
    assert terms.settings.seed is None and terms.sites == NAMES[:3]


def test_an_upload_weighs_what_is_told(federation):
    _, near, _, walk = federation
    list(walk)
    told = weighed(TASK, METHODS["la-lora"], SETTINGS)
    for _, _, demand, reply in near.said:
        assert len(demand) == told["down: the model"]
        assert abs(len(reply) - told["up: the noised upload"] - told["facts beside them"]) < 100
    start = near.sites["north"].agreed[federation[0].name].side.run.plan.start
    assert told["up: the noised upload"] == 4 * start.size("AB")
    said = contents(TASK, METHODS["la-lora"], SETTINGS, near.said[-1][3])
    assert "site east" in said and f"{start.size('AB'):,} numbers" in said


def test_a_replay_on_a_naive_site_reads_the_gradient_that_one_answer_hides(federation):
    *_, walk = federation
    *_, last = walk
    found = replayed(dealt(TASK, 3)[0], METHODS["dp-lora"], replace(SETTINGS, local_steps=1), last.sites.adapter)
    assert float(found.truth.norm()) > 1e-3 and found.error < 1e-14
    assert float((found.answer - found.truth).abs().max()) > 1e4 * found.error
    assert not torch.equal(found.answer, found.truth)


def test_more_sites_than_names_are_refused():
    with pytest.raises(ValueError, match="clients=9 are more sites than have names"):
        terms_of(TASK, METHODS["la-lora"], replace(SETTINGS, clients=9))


def test_a_table_is_one_and_the_commands_are_those_of_the_page():
    assert as_table(["a", "b"], [["1", "2"]]).splitlines() == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
    said = for_real()
    assert "lalora site run north --terms trial/terms.json" in said and "Flower" in said
