"""The control of the filter: the same shrinking of noise, without the neighbourhood."""

import pickle

import numpy as np
import pytest
import torch

from lalora_kit.methods import METHODS
from lalora_kit.methods.controls import CONTROLS, PASSED, permuted_smooth, shuffle
from lalora_kit.methods.filter import binomial_smooth


def matrix(size: int, factor: str) -> torch.Tensor:
    """The control as a dense matrix over the long axis."""
    eye = torch.eye(size, dtype=torch.float64)
    return permuted_smooth(eye, factor)


@pytest.mark.parametrize("factor", ["A", "B"])
def test_it_is_the_filter_in_another_order(factor):
    size = 24
    order, back = shuffle(size)
    assert (order[back] == np.arange(size)).all()
    plain = binomial_smooth(torch.eye(size, dtype=torch.float64), factor).numpy()
    shuffled = matrix(size, factor).numpy()
    np.testing.assert_allclose(shuffled[np.ix_(order, order)], plain, atol=1e-15)
    np.testing.assert_allclose(np.linalg.eigvalsh(shuffled), np.linalg.eigvalsh(plain), atol=1e-12)
    assert not np.allclose(shuffled, plain)


def test_it_keeps_clients_and_ranks_apart_and_constants_as_they_are():
    gradient = torch.randn(3, 2, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(permuted_smooth(gradient, "A")[1, 1], permuted_smooth(gradient[1, 1:], "A")[0])
    ones = torch.ones(2, 16, 3)
    torch.testing.assert_close(permuted_smooth(ones, "B"), ones)


def test_what_passes_of_white_noise():
    size = 192
    assert (matrix(size, "A") ** 2).sum() / size == pytest.approx(PASSED**2, abs=1 / size)


def test_controls_are_plain_values_beside_the_methods():
    assert not CONTROLS.keys() & METHODS.keys()
    for name, method in CONTROLS.items():
        assert pickle.loads(pickle.dumps(method)) == method and method.name == name
        assert method.trains(1, 1) == METHODS["la-lora"].trains(1, 1)
