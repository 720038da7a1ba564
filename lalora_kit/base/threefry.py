"""Threefry: keyed Gaussian numbers in torch operations, the same everywhere but for the last digits of log and cos.

Threefry4x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3; SC 2011) turns a
key of 128 bits and a counter into a block of 128 bits. The counter is the block's place, so that a number is a function
of its key and its place alone. Each block gives two uniforms of 53 bits, and Box-Muller makes two normals of them.

What the key is worth: torch's own generator on CUDA is Philox4x32-10, whose key is a seed of 64 bits. Whoever sees
updates can try seeds against all of them at once: of N keys in use one is found after 2⁶⁴/N tries. Of 128 bits none is.
Threefry needs additions, shifts and xor alone, which torch has on 32-bit integers; Philox needs 64-bit products.
It is a Threefish cipher with fewer rounds, without a proof, and no protection against floating-point or timing attacks:
doubles are a lattice, and what can be told from their last digits is not looked into.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

NAME = "threefry4x32-20"
ROTATIONS = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))
PARITY = 0x1BD11BDA
#: Blocks that are made at once, all keys together: what a core's cache holds; elsewhere enough to fill a device.
AT_ONCE, AT_ONCE_ELSEWHERE = 1 << 14, 1 << 21
#: No normal is larger: the least uniform is 2⁻⁵³. A true one is, with probability 1e-17.
MOST = math.sqrt(2 * 53 * math.log(2))


def normals(keys: Tensor, width: int, scales: Sequence[float], at_once: int | None = None) -> Tensor:
    """Independent N(0, scale²) values `(keys, width)` in float64, on the keys' device, which nobody waits for.

    Args:
        keys: `(keys, 2)` int64, the 128 bits of each row.
        width: numbers a row; a shorter row is the beginning of a longer one.
        scales: a standard deviation a row.
        at_once: blocks that are made at once; nothing depends on it but memory.
    """
    rows, blocks = len(keys), (width + 1) // 2
    most = at_once or (AT_ONCE if keys.device.type == "cpu" else AT_ONCE_ELSEWHERE)
    found = torch.empty(rows, blocks, 2, dtype=torch.float64, device=keys.device)
    step = max(1, most // max(1, rows))
    for start in range(0, blocks, step):
        counter = torch.arange(start, min(start + step, blocks), dtype=torch.int32, device=keys.device)
        words = threefry(keys.view(torch.int32), counter)
        radius = uniform(words[0], words[1]).add_(2.0**-53).log_().mul_(-2).sqrt_()  # of (0, 1]: never log 0
        angle = uniform(words[2], words[3]).mul_(2 * math.pi)
        found[:, start : start + step] = torch.view_as_real(torch.polar(radius, angle))
    for row, scale in zip(found, scales, strict=True):
        row.mul_(scale)
    return found.view(rows, 2 * blocks)[:, :width]


def uniform(high: Tensor, low: Tensor) -> Tensor:
    """Multiples of 2⁻⁵³ in [0, 1), float64, of the upper 27 and 26 bits of two words."""
    upper = (high >> 5).bitwise_and_(0x7FFFFFF).double()
    return upper.mul_(2.0**26).add_((low >> 6).bitwise_and_(0x3FFFFFF)).mul_(2.0**-53)


def threefry(keys: Tensor, counter: Tensor) -> list[Tensor]:
    """The four words `(keys, counters)` of each block, int32 whose sums wrap around.

    Args:
        keys: `(keys, 4)` int32.
        counter: `(counters,)` int32, the counter's first word, or `(4, counters)`, all of them.
    """
    key = [column[:, None] for column in keys.unbind(1)]  # (keys, 1) each
    key.append(key[0] ^ key[1] ^ key[2] ^ key[3] ^ PARITY)
    given = counter if counter.ndim == 2 else torch.nn.functional.pad(counter[None], (0, 0, 0, 3))
    words = [column + k for column, k in zip(given, key, strict=False)]  # (keys, counters)
    spare = torch.empty_like(words[0])
    for turn in range(20):
        for a, b, bits in zip((0, 2), (1, 3) if turn % 2 == 0 else (3, 1), ROTATIONS[turn % 8], strict=True):
            words[a].add_(words[b])
            torch.bitwise_right_shift(words[b], 32 - bits, out=spare)  # keeps the sign, which the mask takes away
            words[b].bitwise_left_shift_(bits).bitwise_or_(spare.bitwise_and_((1 << bits) - 1)).bitwise_xor_(words[a])
        if turn % 4 == 3:
            turns = turn // 4 + 1
            for place, word in enumerate(words):
                word.add_(key[(turns + place) % 5])
            words[3].add_(turns)
    return words
