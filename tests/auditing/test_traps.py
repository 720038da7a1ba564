"""The traps are traps, and what stands beside them is not; what trials can show is known before they run."""

from dataclasses import replace

import pytest
import torch

from lalora_kit.auditing import traps
from lalora_kit.auditing.attack import audit
from lalora_kit.auditing.reach import ROOM, most_shown, trials_needed, within_reach
from lalora_kit.methods import METHODS
from lalora_kit.settings import Settings
from tests.tiny import FAST, linear_task, random_adapter

LA = METHODS["la-lora"]


@pytest.mark.parametrize("batch", [2, 16, 100])
def test_a_clipped_batch_is_turned_round_by_one_sample_and_clipped_samples_are_not(batch):
    each, whole = traps.moves_the_mean(torch.full((batch - 1, 1), -3.0), torch.tensor([1000.0]), 0.5)
    assert each == pytest.approx(0.5 / batch, rel=1e-5) and whole == pytest.approx(1.0, rel=1e-5)


def test_the_published_threshold_answers_to_one_sample():
    norms = torch.tensor([0.02, 0.03, 0.05, 0.30, 0.35])
    assert traps.loudness(norms, torch.tensor([0, 0, 0.25, 0, 0])) == pytest.approx((0.05, 0.3))
    assert traps.loudness(norms + 1, torch.zeros(5)) == pytest.approx((0.4, 0.4))


def test_two_runs_with_one_seed_differ_by_the_clean_gradients():
    settings = replace(FAST, clients=2, seed=0, local_steps=2)
    found = traps.seed_known(linear_task(), LA, settings, samples=8)
    assert found.clean > 0 and found.difference == pytest.approx(found.clean, rel=1e-4)
    assert found.apart < 1e-6 and found.others < 1e-6 and found.release > 3 * found.clean


def test_the_broken_loop_is_broken_and_keeps_the_ledger():
    right = audit(LA, epsilon=1.0, trials=400, seed=0)
    wrong = audit(LA, epsilon=1.0, trials=400, seed=0, rounds=traps.wrong_rounds)
    assert wrong.epsilon == right.epsilon and wrong.noise_multiplier == right.noise_multiplier
    assert right.verdict == "not contradicted, which proves nothing" and wrong.verdict == "CONTRADICTED"


def test_beyond_its_reach_an_audit_says_that_it_cannot_tell():
    """The broken loop, a claim that 400 virtual clients cannot contradict: it is not cleared."""
    found = audit(LA, epsilon=8.0, trials=400, seed=0, rounds=traps.wrong_rounds)
    assert found.ceiling == most_shown(400, 1e-3, 0.99) < 8
    assert found.verdict == "this attack cannot tell at this ε" and found.verdict in str(found)
    assert found.to_json()["verdict"] == found.verdict and "not contradicted" not in str(found)


@pytest.mark.parametrize("trials", [100, 1000, 4000])
@pytest.mark.parametrize("delta", [1e-5, 1e-3])
def test_reach_is_the_other_way_round_of_the_trials_needed(trials, delta):
    most = most_shown(trials, delta, 0.99)
    assert trials_needed(most - 1e-6, delta, 0.99) <= max(100, trials) < trials_needed(most + 1e-6, delta, 0.99)


def test_the_claim_within_reach_is_the_largest_that_leaves_room():
    claims = (0.1, 1.0, 2.0, 3.0, 4.0, 8.0)
    assert within_reach(claims, 10.0, 4000, 1e-3, 0.99) == 4.0 <= most_shown(4000, 1e-3, 0.99) - ROOM
    assert within_reach(claims, 2.5, 4000, 1e-3, 0.99) == 2.0
    assert within_reach((5.0,), 10.0, 100, 1e-3, 0.99) is None


def test_windows_of_an_image_count_for_more_than_the_image():
    from lalora_kit.tasks import load_task

    task, settings = load_task("digits"), Settings(seed=0)
    found = traps.windows(task, random_adapter(task, 4, settings.scale, seed=0), settings.scale)
    assert found.count > 1 and found.as_samples > 1 >= found.as_image > 0.99
    with pytest.raises(ValueError, match="no gradient"):
        traps.windows(task, random_adapter(task, 4, settings.scale, seed=0).map(torch.zeros_like), settings.scale)
