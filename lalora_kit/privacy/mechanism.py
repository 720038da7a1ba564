"""The mechanism: Poisson draws, per-sample clipping, Gaussian noise. What this file gets wrong, ε cannot mend.

Randomness is keyed, never positional: each stream is a function of (secret, purpose, client, round, step), so a
result does not depend on the order of the clients, the chunk size, or how many clients run together.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lalora_kit.base import threefry
from lalora_kit.privacy.budgets import Clip, shrunk
from lalora_kit.tasks.feed import numbered

#: Purposes whose streams give nothing away: who holds what, who joins when, and the adapter that all begin from.
TOLD = ("partition", "schedule", "init")


@dataclass(frozen=True)
class Streams:
    """Keyed random streams. `secret` is 32 bytes; equal secrets give equal streams, so it must stay secret.

    An empty secret stands for one that was deleted when its run had ended: nothing can be drawn from it.

    A stream's key has 128 bits, and its generator uses them all: NumPy's Philox4x64-10 on the CPU, `base.threefry` for
    noise elsewhere. (torch's own keep 32 bits of a seed on the CPU, few enough to try them all against a published
    update, and 64 on CUDA.) Neither is hardened cryptography, nor hardened against floating-point or timing attacks.
    """

    secret: bytes

    @classmethod
    def from_seed(cls, seed: int | None) -> Streams:
        """`None` draws the secret from the operating system; an integer is teaching mode, not private."""
        if seed is None:
            return cls(os.urandom(32))
        return cls(hashlib.blake2b(f"seed {seed}".encode(), digest_size=32).digest())

    def generator(self, purpose: str, client: int = 0, round: int = 0, step: int = 0) -> np.random.Generator:
        """The stream of one purpose ("sampling", "noise", ...) at one place of the run."""
        return generator_of(self.key(purpose, client, round, step))

    def key(self, purpose: str, client: int = 0, round: int = 0, step: int = 0) -> bytes:
        """The 16 bytes that one stream comes from; they say nothing of any other stream, nor of the secret."""
        if not self.secret:
            raise ValueError(
                "this run's randomness was deleted when its last round was on disk, so nothing more can be released "
                "in it; start a new run"
            )
        return hashlib.blake2b(f"{purpose}/{client}/{round}/{step}".encode(), key=self.secret, digest_size=16).digest()

    def told(self) -> dict[str, bytes]:
        """The keys of the streams that give nothing away, which outlive the secret."""
        return {purpose: self.key(purpose) for purpose in TOLD}

    def __repr__(self) -> str:
        return "Streams(<secret>)"


def generator_of(key: bytes) -> np.random.Generator:
    """The stream of a key of 16 bytes."""
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype=np.uint64)))


def poisson_draw(samples: int, sample_rate: float, generator: np.random.Generator) -> Tensor:
    """Line 3 of the algorithm in lesson 04: positions `(k,)`; each sample is in with probability `sample_rate`."""
    return torch.from_numpy(np.flatnonzero(generator.random(samples) < sample_rate))


def clipped_sum(gradients: Sequence[Tensor], owner: Tensor, clients: int, clip_norm: Clip) -> tuple[Tensor, Tensor]:
    """Clip each sample's gradient, over all tensors at once or in `Budgets`, and add them up per client.

    Args:
        gradients: one tensor per active parameter, each `(samples, ...)`: row j is sample j's gradient.
        owner: `(samples,)` client position of each sample, in `[0, clients)`.
        clients: number of client positions.
        clip_norm: C, or its `Budgets`; `math.inf` clips nothing (and still drops samples with a non-finite gradient).

    Returns:
        `(sums, norms)`: float64 `(clients, d)` with the parameters flattened in order, and the unclipped norms
        `(samples,)` as `shrunk` gives them, not private, NaN where the gradient was not finite.

    Adding or removing any one sample moves its client's row by at most C in L2 norm, whatever the sample: one
    with NaN or an infinity adds nothing. (Abadi et al. 2016; groups: `Budgets`.) Line 6 of the algorithm in lesson 04.
    """
    flat, norms, finite = masked(gradients)
    factors, lengths = shrunk(norms, finite, clip_norm)
    # Row c holds the factors of client c's samples, so that one product clips and adds up: (clients, samples).
    mine = torch.zeros(clients, len(owner), dtype=torch.float64, device=finite.device)
    place, sums = torch.arange(len(owner), device=finite.device), []
    for i, (g, factor) in enumerate(zip(flat, factors, strict=True)):
        if not i or factor is not factors[i - 1]:  # the next group's
            mine[owner, place] = factor
        sums.append(mine @ g.double())
    return torch.cat(sums, dim=1), lengths


def masked(gradients: Sequence[Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Gradients that may go into a product of all samples: those of a sample that are not finite are zero.

    Must come before any product or sum over samples, where 0·NaN = NaN would let one sample erase the others.

    Args:
        gradients: one tensor per parameter, each `(samples, ...)`.

    Returns:
        `(samples, d_i)` a tensor, the L2 norms of each before masking as float64 `(tensors, samples)`, and whether a
        sample's norm over all of them is finite `(samples,)`.
    """
    # In float64 no square of a float32 overflows or vanishes, and rounding stays far below MARGIN. One tensor at a
    # time is widened: all of them at once would double the memory of the gradients.
    flat = [g.flatten(1) for g in gradients]  # (samples, ...) -> (samples, d_i)
    norms = torch.stack([torch.linalg.vector_norm(g, dim=1, dtype=torch.float64) for g in flat])
    finite = torch.isfinite(norms.square().sum(dim=0))  # a NaN or an infinity anywhere reaches the norm
    if finite.device.type != "cpu" or not finite.all():  # to ask another device would be to wait for it
        flat = [torch.where(finite[:, None], g, 0.0) for g in flat]
    return flat, norms, finite


def summed_by_unit(
    chunks: Iterable[tuple[Tensor, list[Tensor]]], units: Tensor, there: Tensor | None = None
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Add up the gradients of each unit's samples, so that the unit is clipped as one.

    Args:
        chunks: `(owner, gradients)` as `Engine.gradients` yields them, `(samples,)` and one `(samples, ...)` a tensor.
        units: `(all samples,)` each sample's unit at its owner; an owner's samples of one unit lie side by side.
        there: the same on the chunks' device, so that nobody waits for it; `units` are `numbered` and on the host then.

    Yields:
        The same, a row a unit, in float64; a unit that reaches from one chunk into the next comes whole, once. A unit
        with a sample that is not finite is NaN throughout, in whichever chunk that sample was, and so `clipped_sum`
        gives nothing for it; no other unit is touched.
    """
    done, last, open_unit = 0, -1, None
    for owner, gradients in chunks:
        if not len(owner):
            continue
        mine = units[done : done + len(owner)]
        if there is None:  # the same number at two owners is two units
            mine = mine + owner.to(mine.device) * (1 + units.max())
        place = (numbered(mine) if there is None else there[done : done + len(owner)] - mine[0].item()).to(owner.device)
        count, goes_on = len(torch.unique_consecutive(mine)), int(mine[0]) == last
        done, last = done + len(owner), int(mine[-1])
        belongs = place[:, None] == torch.arange(count, device=owner.device)  # (samples, units)
        whose, member = torch.where(belongs, owner[:, None], 0).amax(0), belongs.double().T
        flat, _, finite = masked(gradients)
        spoilt = (member @ (~finite).double() > 0)[:, None]  # (units, 1)
        sums = [torch.where(spoilt, torch.nan, member @ g.double()) for g in flat]
        sums = [total.view(-1, *g.shape[1:]) for total, g in zip(sums, gradients, strict=True)]
        if open_unit is not None and goes_on:
            for total, part in zip(sums, open_unit[1], strict=True):
                total[:1] += part  # NaN stays NaN, so the whole unit is
        elif open_unit is not None:
            yield open_unit
        if count > 1:
            yield whose[:-1], [total[:-1] for total in sums]
        open_unit = whose[-1:], [total[-1:] for total in sums]
    if open_unit is not None:
        yield open_unit


def drawn_by(device: torch.device) -> str:
    """The generator of a device's noise: NumPy's on the CPU, elsewhere one that draws where the sums are."""
    return "philox4x64-10" if device.type == "cpu" else threefry.NAME


def gaussian(size: int, scale: float, generator: np.random.Generator) -> Tensor:
    """`size` independent N(0, scale²) values in float64, as one flat CPU vector: one draw a client and step."""
    return torch.from_numpy(generator.standard_normal(size)).mul_(scale)
