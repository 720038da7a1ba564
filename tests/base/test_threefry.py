"""Threefry in torch operations, against published answers, whole numbers of Python's, and the normal distribution.

The statistics run on whatever device there is. Each states its seed and the chance p_f that a right generator fails it.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from lalora_kit.base.threefry import MOST, PARITY, ROTATIONS, normals, threefry, uniform
from lalora_kit.privacy import Streams

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ONES = [0xFFFFFFFF] * 4
PI = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89]
#: Key, counter and block as Random123 publishes them with its source (threefry4x32, 20 rounds).
KNOWN = [
    ([0] * 4, [0] * 4, [0x9C6CA96A, 0xE17EAE66, 0xFC10ECD4, 0x5256A7D8]),
    (ONES, ONES, [0x2A881696, 0x57012287, 0xF6C7446E, 0xA16A6732]),
    (PI[4:], PI[:4], [0x59CD1DBB, 0xB8879579, 0x86B5D00C, 0xAC8B6D84]),
]


def oracle(key: list[int], counter: list[int]) -> list[int]:
    """The paper's rounds in Python's whole numbers."""
    keys = [*key, PARITY ^ key[0] ^ key[1] ^ key[2] ^ key[3]]
    x = [(c + k) % 2**32 for c, k in zip(counter, keys, strict=False)]
    for turn in range(20):
        one, two = ROTATIONS[turn % 8]
        for a, b, bits in ((0, 1, one), (2, 3, two)) if turn % 2 == 0 else ((0, 3, one), (2, 1, two)):
            x[a] = (x[a] + x[b]) % 2**32
            x[b] = ((x[b] << bits | x[b] >> (32 - bits)) % 2**32) ^ x[a]
        if turn % 4 == 3:
            x = [(word + keys[(turn // 4 + 1 + i) % 5]) % 2**32 for i, word in enumerate(x)]
            x[3] = (x[3] + turn // 4 + 1) % 2**32
    return x


def words(values: list[list[int]]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.uint32).view(np.int32)).to(DEVICE)


def keys_of(*places: tuple[int, int, int], seed: int = 5) -> Tensor:
    """The noise's keys `(places, 2)` at (client, round, step)."""
    streams = Streams.from_seed(seed)
    return torch.tensor(np.stack([np.frombuffer(streams.key("noise", *p), np.int64) for p in places])).to(DEVICE)


def found(key: list[int], counter: list[int]) -> list[int]:
    block = threefry(words([key]), words([counter]).T)
    return [int(word) % 2**32 for word in block]


@pytest.mark.parametrize(("key", "counter", "block"), KNOWN, ids=["zeros", "ones", "pi"])
def test_published_answers(key, counter, block):
    assert oracle(key, counter) == block == found(key, counter)


def test_any_key_and_counter_is_the_oracles():
    random = np.random.default_rng(0)
    for _ in range(50):
        key, counter = random.integers(0, 2**32, (2, 4)).tolist()
        assert found(key, counter) == oracle(key, counter)


def test_many_keys_and_counters_at_once_are_each_by_itself():
    keys = np.random.default_rng(1).integers(0, 2**32, (3, 4)).tolist()
    block = threefry(words(keys), torch.arange(6, dtype=torch.int32, device=DEVICE))
    for row, key in enumerate(keys):
        for place in range(6):
            assert [int(word[row, place]) % 2**32 for word in block] == oracle(key, [place, 0, 0, 0])


def test_normals_are_box_and_mullers_of_the_blocks():
    keys = keys_of((0, 1, 1))
    raw = keys[0].cpu().numpy().view(np.uint32).tolist()
    got = normals(keys, 7, [2.5])[0].tolist()
    for place, value in enumerate(got):
        w = oracle(raw, [place // 2, 0, 0, 0])
        first, second = (((w[i] >> 5) * 2**26 + (w[i + 1] >> 6)) * 2.0**-53 for i in (0, 2))
        wave = math.cos if place % 2 == 0 else math.sin
        assert value == pytest.approx(2.5 * math.sqrt(-2 * math.log(first + 2**-53)) * wave(2 * math.pi * second))


def test_uniforms_are_multiples_of_two_to_the_minus_53_and_no_logarithm_of_zero_is_taken():
    low, high = words([[0, 0]]), words([[2**32 - 1, 2**32 - 1]])
    assert uniform(low[:, 0], low[:, 1]).item() == 0.0
    assert uniform(high[:, 0], high[:, 1]).item() == 1 - 2.0**-53
    assert math.sqrt(-2 * math.log(2.0**-53)) == pytest.approx(MOST) and 8.5 < MOST < 8.6


# Against P[D > .0019] at 2,000,000 = 1e-6 (Kolmogorov); std within .3 %, six standard errors: p_f = 2e-9; mean within
# six; the fourth moment 3 within 6·√(96/n); beyond four deviations 127 values are expected, and 60 to 210 are seen.
# Seed 5.
def test_the_distribution_is_normal():
    values = normals(keys_of((0, 1, 1)), 2_000_000, [1.0])[0].cpu().numpy()
    assert values.dtype == np.float64 and np.isfinite(values).all()
    assert stats.kstest(values, "norm").statistic < 0.0019
    assert values.std() == pytest.approx(1, abs=0.003)
    assert abs(values.mean()) < 6 / math.sqrt(len(values))
    assert (values**4).mean() == pytest.approx(3, abs=6 * math.sqrt(96 / len(values)))
    assert 60 < (np.abs(values) > 4).sum() < 210 and np.abs(values).max() < MOST


# 2,278 pairs of 68 vectors, each ρ about N(0, 1/5000), beyond six standard deviations: p_f = 5e-6. Seed 5.
# Even and odd places come of one radius, so their squares are looked at too.
def test_clients_rounds_steps_and_places_are_independent():
    places = [(c, t, k) for c in (0, 1, 2) for t in (1, 2) for k in (1, 2)][:9]
    values = normals(keys_of(*places), 20_000, [1.0] * 9)
    halves = [part for row in values for part in (row[0:10_000:2], row[1:10_000:2], row[10_000:15_000])]
    other = normals(keys_of((0, 1, 1), seed=6), 35_000, [1.0])[0]
    vectors = torch.stack([*halves, *other.split(5000)])
    for of in (vectors, vectors.square() - 1):
        correlation = torch.corrcoef(of).fill_diagonal_(0)
        assert float(correlation.abs().max()) < 6 / math.sqrt(5000) * (1 if of is vectors else 1.2)


@pytest.mark.parametrize("at_once", [1, 7, 64, 10**6])
def test_neither_chunks_nor_width_nor_neighbours_move_a_number(at_once):
    keys, scales = keys_of((0, 1, 1), (3, 1, 1), (7, 1, 1)), [1.0, 0.5, 2.0]
    whole = normals(keys, 301, scales)
    assert whole.shape == (3, 301)
    torch.testing.assert_close(normals(keys, 301, scales, at_once), whole, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(normals(keys, 150, scales), whole[:, :150], rtol=1e-14, atol=1e-14)
    for row in (2, 0, 1):
        alone = normals(keys[row : row + 1], 301, scales[row : row + 1])
        torch.testing.assert_close(alone[0], whole[row], rtol=1e-14, atol=1e-14)
    assert normals(keys[:0], 301, []).shape == (0, 301) and normals(keys, 0, scales).shape == (3, 0)


@pytest.mark.gpu
def test_every_device_draws_the_same_but_for_rounding():
    keys = keys_of((0, 1, 1), (3, 1, 1))
    there, here = normals(keys, 10_001, [1.0, 3.0]).cpu(), normals(keys.cpu(), 10_001, [1.0, 3.0])
    torch.testing.assert_close(there, here, rtol=1e-12, atol=1e-12)


def test_what_is_at_work_beside_the_numbers_is_small(monkeypatch):
    """Every tensor on the way holds at most as many blocks as are made at once, and no row is made apart."""
    largest = []
    plain = torch.polar
    monkeypatch.setattr(torch, "polar", lambda *given: largest.append(given[0].numel()) or plain(*given))
    normals(keys_of(*[(c, 1, 1) for c in range(8)]), 100_000, [1.0] * 8, at_once=1 << 12)
    assert max(largest) <= 1 << 12 and sum(largest) == 8 * 50_000
