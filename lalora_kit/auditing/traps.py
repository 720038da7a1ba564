"""Traps: four ways to make ε false while the ledger looks right, each small enough to be looked at. For lesson 05.

Three of them are in code that was published with papers; a known seed is what every tutorial has, this kit's too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from lalora_kit import local
from lalora_kit.engine.adapters import Adapter
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import Method
from lalora_kit.privacy import clipped_sum
from lalora_kit.records import Round
from lalora_kit.settings import Settings
from lalora_kit.tasks import Split, Task

PUBLISHED_CAP = 0.4  # of the published code's threshold, which is the median of norms below it


def batch_clipped(gradients: Sequence[Tensor], owner: Tensor, clients: int, clip_norm: float) -> tuple[Tensor, Tensor]:
    """In place of `clipped_sum`: the mean of a batch, each tensor clipped to the tensors' median norm, at most 0.4.

    That is the published code's clip. A sample is not bounded by it: it may turn the whole mean round.
    """
    size = torch.bincount(owner, minlength=clients).double()[:, None]
    means = [
        torch.zeros(clients, g[0].numel()).double().index_add_(0, owner, g.flatten(1).double()) / size.clamp_min(1)
        for g in gradients
    ]
    norms = torch.stack([mean.norm(dim=1) for mean in means]).clamp_min(1e-12)
    median = norms.median(0).values.clamp_max(PUBLISHED_CAP)  # noise is in units of it, so the sum is too
    kept = [mean * torch.minimum(1 / norm, 1 / median)[:, None] for mean, norm in zip(means, norms, strict=True)]
    return size * clip_norm * torch.cat(kept, 1), torch.ones(len(owner)).double()


def wrong_rounds(*given: Any, **named: Any) -> Iterator[Round]:
    """`federated_rounds` but for the clip: σ and the ledger are as before, and each batch sets the C of its noise."""
    with mock.patch.object(local, "clipped_sum", batch_clipped):
        yield from federated_rounds(*given, **named)


def moves_the_mean(others: Tensor, one: Tensor, clip_norm: float) -> tuple[float, float]:
    """How far one sample moves the mean of a batch: with each sample clipped, and with the batch clipped.

    Args:
        others: `(samples, d)` gradients; `one` `(d,)` joins them. The mean divides by all of them in both worlds.
        clip_norm: C. The first is C / batch at most, the second up to 2 C.
    """
    joined, batch = torch.cat([others, one[None]]), len(others) + 1
    owner = torch.zeros(batch, dtype=torch.long)
    sums = [clipped_sum([g], owner[: len(g)], 1, clip_norm)[0][0] / batch for g in (others, joined)]
    means = [g.sum(0) / batch for g in (others, joined)]
    whole = [mean / max(1.0, float(mean.norm()) / clip_norm) for mean in means]
    return float((sums[1] - sums[0]).norm()), float((whole[1] - whole[0]).norm())


@dataclass(frozen=True)
class Windows:
    """One image at the first adapted layer: how many rows its first axis has, and how far it moves the sum, in C."""

    count: int
    as_samples: float
    as_image: float


def windows(task: Task, adapter: Adapter, scale: float) -> Windows:
    """Clip one image's windows as if each were a sample, and folded back into one.

    C is half the least norm of a window's gradient, so that all of them are clipped, as they are in training.

    Raises:
        ValueError: if a window has no gradient.
    """
    engine, one = Engine(task, scale), task.train.select(torch.arange(1))
    kept: dict[str, Tensor] = {}

    def keep(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        output.requires_grad_().retain_grad()
        kept.update(x=inputs[0], y=output)
        return output

    hook = engine.lora[task.targets[0]].register_forward_hook(keep)
    F.cross_entropy(engine.scores(adapter.tensors, one.inputs), one.labels).backward()
    hook.remove()
    assert kept["y"].grad is not None
    rows = kept["y"].grad.flatten(1, -2).mT @ kept["x"].flatten(1, -2)  # of W, for each entry of the first axis
    norms = rows.flatten(1).norm(dim=1)
    if not norms.all():
        raise ValueError("a window has no gradient at this adapter, as while the head is zero; pass a trained one")
    clip = float(norms.min()) / 2
    as_samples = float((rows * (clip / norms)[:, None, None]).sum(0).norm()) / clip
    whole = clipped_sum([rows.sum(0, keepdim=True)], torch.zeros(1, dtype=torch.long), 1, clip)[0]
    return Windows(len(rows), as_samples, float(whole[0].norm()) / clip)


def loudness(norms: Tensor, more: Tensor, cap: float = PUBLISHED_CAP) -> tuple[float, float]:
    """The published threshold, which scales the noise: of five tensors' norms, and with what one sample adds."""
    without, with_it = (min(float(x.median()), cap) for x in (norms, norms + more))
    return without, with_it


@dataclass(frozen=True)
class Seeds:
    """Norms of a client's first release under one seed, for the client whose sample was replaced.

    release: as sent, nearly all noise. difference: of the two runs' releases. clean: the same without any noise.
    apart: how far the last two are from each other; others: the largest difference at any other client.
    """

    release: float
    difference: float
    clean: float
    apart: float
    others: float


def seed_known(task: Task, method: Method, settings: Settings, samples: int = 20) -> Seeds:
    """Two runs of one round with one seed, on data that differ in one sample: their difference has no noise in it."""
    few = replace(task, train=task.train.select(torch.arange(samples * settings.clients)))
    changed = {name: value.clone() for name, value in few.train.inputs.items()}
    for value in changed.values():
        value[0] = value[1]  # one sample is replaced by its neighbour
    two = [few, replace(few, train=Split(changed, few.train.labels))]
    once = replace(settings, rounds=1, sample_rate=1.0, batch_size=None, participation=1.0)
    releases: dict[tuple[bool, int, int], Tensor] = {}

    def hear(private: bool, side: int, client: int, t: int, k: int, release: Tensor) -> None:
        if k == 1:  # after it, the model that the noise has moved is another one than without noise
            releases[private, side, client] = release

    for at in (once, replace(once, epsilon=math.inf)):
        for side, data in enumerate(two):
            for _ in federated_rounds(data, method, at, observe=partial(hear, at.private, side)):
                pass
    noisy, clean = (
        [releases[private, 1, c] - releases[private, 0, c] for c in range(settings.clients)]
        for private in (True, False)
    )
    touched = max(range(settings.clients), key=lambda c: float(clean[c].norm()))
    return Seeds(
        release=float(releases[True, 0, touched].norm()),
        difference=float(noisy[touched].norm()),
        clean=float(clean[touched].norm()),
        apart=float((noisy[touched] - clean[touched]).abs().max()),
        others=max((float(noisy[c].norm()) for c in range(settings.clients) if c != touched), default=0.0),
    )
