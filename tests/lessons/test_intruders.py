"""Intruder dimensions against weights whose directions are known, and of adapters that noise has moved."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lalora_kit.engine.adapters import Adapter
from lalora_kit.federated import federated_rounds
from lalora_kit.figures.sharpness import THRESHOLDS, intruders_figure
from lalora_kit.lessons.intruders import chance, counts, of_adapter, of_weight, scaled_down, told
from lalora_kit.methods import EVERY
from tests.tiny import FAST, linear_task

M, N = 80, 96
GENERATOR = torch.Generator().manual_seed(0)
W0 = torch.randn(M, N, generator=GENERATOR, dtype=torch.float64)
U, S, VH = torch.linalg.svd(W0, full_matrices=False)


def spikes(count: int, size: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randn(count, d, generator=generator, dtype=torch.float64) for d in (M, N))
    left, right = (part / part.norm(dim=1, keepdim=True) for part in (left, right))
    return size * torch.einsum("km,kn->mn", left, right)


def test_a_weight_has_no_intruders_against_itself_nor_where_only_its_values_change():
    assert of_weight(W0, W0).count() == 0
    factors = torch.rand(M, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3 + 0.5
    assert of_weight(W0, (U * S * factors) @ VH).count() == 0


def test_a_known_matrix_has_the_cosines_that_were_put_into_it():
    """diag(80, 79, …, 1), whose directions are the axes; the tuned weight's strongest one is turned by hand."""
    frozen = torch.diag(torch.arange(M, 0, -1, dtype=torch.float64))
    turned = torch.zeros(M, dtype=torch.float64)
    turned[:9] = 1 / 3  # of nine axes alike: |cosine| 1/3 with each, an intruder
    found = of_weight(frozen, frozen + 1e6 * torch.outer(turned, torch.eye(M, dtype=torch.float64)[0]))
    assert float(found.cosines[0]) == pytest.approx(1 / 3, abs=1e-3)
    assert found.count(first=1) == 1 and found.count(first=1, threshold=0.33) == 0
    turned[:9] = torch.tensor([math.sqrt(0.5), math.sqrt(0.5), *[0.0] * 7])  # 45 degrees between two: .71, none
    found = of_weight(frozen, frozen + 1e6 * torch.outer(turned, torch.eye(M, dtype=torch.float64)[0]))
    assert float(found.cosines[0]) == pytest.approx(math.sqrt(0.5), abs=1e-3) and found.count(first=1) == 0


@pytest.mark.parametrize("count", [1, 3, 7])
def test_strong_random_spikes_are_found_one_by_one_and_tiny_ones_not(count):
    found = of_weight(W0, W0 + spikes(count, 40 * float(S[0])))
    assert found.count() == count and found.cosines[:count].max() < 0.5
    assert of_weight(W0, W0 + spikes(count, 1e-3)).count() == 0
    assert found.count(first=count - 1) == count - 1 and found.count(threshold=1e-9) == 0


def test_scaling_intruders_down_to_nothing_takes_them_away():
    tuned = W0 + spikes(2, 40 * float(S[0]))
    found = of_weight(W0, tuned)
    torch.testing.assert_close(scaled_down(tuned, found, 1.0), tuned)
    left = scaled_down(tuned, found, 0.0)
    values = torch.linalg.svdvals(left)
    assert float(values[0]) < 0.1 * float(torch.linalg.svdvals(tuned)[0])
    torch.testing.assert_close(found.left[:, :2].T @ left, torch.zeros(2, N).double(), rtol=0, atol=1e-9)


def test_narrow_layers_and_unlike_ones_are_refused():
    assert chance(16) == pytest.approx(0.59, abs=0.01) and chance(64) == pytest.approx(0.36, abs=0.01)
    with pytest.raises(ValueError, match=r"16 wide, and below 64 .*0\.59.*choose a wider layer"):
        of_weight(W0[:16], W0[:16])
    with pytest.raises(ValueError, match="compare one layer with itself"):
        of_weight(W0, W0[:, :5])


def test_what_is_told_of_an_adapter_and_drawn():
    narrow, wide = linear_task(), linear_task(width=M, inputs=70)
    [adapter] = [list(federated_rounds(narrow, EVERY["dp-lora"], FAST))[-1].adapter]
    assert of_adapter(narrow, adapter) == {} and "mean nothing" in told(narrow, adapter)
    for name in ("dp-lora", "flora"):  # what was merged counts too
        loud = list(federated_rounds(wide, EVERY[name], replace(FAST, learning_rate=3.0)))[-1].adapter
        [found] = of_adapter(wide, loud).values()
        assert 0 < found.count() <= 10
        said = told(wide, loud)
        assert f"{found.count()} of the first 10 singular directions of 1 layer " in said
    quiet = loud.with_tensors({key: torch.zeros_like(value) for key, value in loud.tensors.items()})
    [none] = of_adapter(wide, Adapter(quiet.tensors, 1.0)).values()
    assert none.count() == 0
    figure = intruders_figure({"la-lora": [found], "flora": [none]}, "two")
    assert list(figure.data[0].y) == counts([found], THRESHOLDS) and list(figure.data[1].y) == counts(
        [none], THRESHOLDS
    )
    assert counts([found], THRESHOLDS) == sorted(counts([found], THRESHOLDS))
