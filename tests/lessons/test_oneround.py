"""One round from inside: the very clients that a run averages, and the average where its server goes."""

import pytest
import torch

from lalora_kit import METHODS, Ledger, Settings, federated_rounds, load_task
from lalora_kit.lessons.oneround import flat, one_round

SETTINGS = Settings(epsilon=3.0, rank=2, clients=3, rounds=2, seed=5)


@pytest.fixture(scope="module")
def task():
    return load_task("digits")


@pytest.mark.parametrize("method", ["la-lora", "dp-lora", "ffa-lora"])
def test_the_average_is_where_the_run_goes(task, method):
    ledger = Ledger()
    seen = one_round(task, METHODS[method], SETTINGS, ledger)
    first = next(federated_rounds(task, METHODS[method], SETTINGS))
    start = next(federated_rounds(task, METHODS["head-only"], SETTINGS)).adapter  # its factors stay where all begin
    moved = (flat(first.adapter) - flat(start)).norm()
    assert seen.moved == pytest.approx(float(moved), rel=1e-5)
    assert seen.average == (pytest.approx(seen.moved), pytest.approx(0, abs=1e-9))
    assert len(ledger) == 3 * SETTINGS.local_steps, "the round is on record"


def test_paths_are_no_longer_than_the_moves_and_average_to_the_average(task):
    seen = one_round(task, METHODS["la-lora"], SETTINGS, Ledger())
    assert seen.factors == ["B", "A"] * (SETTINGS.local_steps // 2)
    ends = torch.tensor([path[-1] for path in seen.paths])
    assert len(seen.paths) == 3 and all(len(path) == SETTINGS.local_steps + 1 for path in seen.paths)
    assert (ends.norm(dim=1) <= torch.tensor(seen.lengths) * (1 + 1e-6)).all()
    torch.testing.assert_close(ends.mean(0), torch.tensor(seen.average), atol=1e-5, rtol=1e-4)


def test_a_method_without_factors_has_no_path(task):
    with pytest.raises(ValueError, match="trains no factor"):
        one_round(task, METHODS["head-only"], SETTINGS, Ledger())
