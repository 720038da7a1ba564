"""Planted faults, and the checks that must notice them.

A fault is a change of the kit's own functions that leaves the ledger as it was: training goes on, ε looks as before,
and is no longer true. A check passes on the kit as it is, and raises `AssertionError` under the fault that names it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from lalora_kit import federated, local
from lalora_kit.auditing.attack import AuditResult, audit
from lalora_kit.engine.adapters import stack
from lalora_kit.engine.persample import Engine, LoraLinear
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.plan import Plan, make_plan
from lalora_kit.privacy import Ledger, Streams
from lalora_kit.tasks import Split, Task
from tests.tiny import FAST, TwoLayers, linear_task, random_adapter, randomised, swin_task

# ---- checks -----------------------------------------------------------------------------------------------------


def epsilon_is_not_contradicted(seed: int = 0, method: str = "la-lora", epsilon: float = 3.0) -> AuditResult:
    """On the kit as it is, p_f ≤ .001 (the bound's own confidence)."""
    found = audit(METHODS[method], epsilon=epsilon, confidence=0.999, seed=seed)
    assert not found.contradicts, str(found)
    return found


def one_sample_moves_a_step_by_at_most_C(seed: int = 0) -> float:
    """A step of all samples, beside steps of all but one and of one alone, noise off and everybody drawn.

    The largest difference in units of C. Some tasks have samples whose gradients overflow. p_f = 0; the room of 1e-5 is
    for float32, whose rounding depends on who else is in the batch.
    """
    largest = 0.0
    for task in (windowed_task(), wild_task(seed)):
        n = len(task.train)
        everybody = np.arange(n)
        shards = (everybody, *(np.delete(everybody, j) for j in range(n)), *(everybody[j : j + 1] for j in range(n)))
        clients = stack(random_adapter(task, FAST.rank, 1.0, seed), len(shards))
        plan = quiet_plan(task, shards, seed)
        for k, kinds in enumerate(("A", "B", "AB", ""), start=1):
            seen: dict[int, Tensor] = {}
            keep = partial(hear, seen, plan)
            local.private_step(plan, Engine(task, 1.0), task.train, clients, clients.keys(kinds), 1, k, keep)
            for j in range(n):
                for what, moved in (("removed", seen[0] - seen[1 + j]), ("alone", seen[1 + n + j])):
                    norm = float(moved.norm()) / plan.clip_norm
                    assert norm <= 1 + 1e-5, (
                        f"{task.name}: sample {j} {what} moves a step of {kinds}head by {norm:.2f} C"
                    )
                    largest = max(largest, norm)
    assert largest > 0.999, "nothing was clipped, so that nothing was tested"
    return largest


def hear(seen: dict[int, Tensor], plan: Plan, client: int, t: int, k: int, release: Tensor) -> None:
    """Keep a client's sum: its release times its divisor."""
    seen[client] = release * plan.divisor(client)


def quiet_plan(task: Task, shards: tuple[np.ndarray, ...], seed: int) -> Plan:
    """A plan for these shards, overlapping or not: everybody drawn, no noise, a clip that bites.

    The trial of the task is left out: it would stop a planted fault before the check could see it.
    """
    settings = replace(FAST, epsilon=math.inf, sample_rate=1.0, clients=1, clip_norm=0.05, seed=seed)
    count = len(shards)
    with pytest.MonkeyPatch.context() as untried:
        untried.setattr("lalora_kit.plan.check_sound", lambda *given: None)
        plan = make_plan(task, METHODS["dp-lora"], settings, Ledger())
    return replace(
        plan,
        shards=shards, units=tuple(np.arange(len(shard)) for shard in shards), rates=(1.0,) * count,
        sigmas=(0.0,) * count, schedule=(tuple(range(count)),),
    )  # fmt: skip


def noise_is_as_released(seed: int = 0) -> float:
    """Std within 1.5 %, Kolmogorov's D below .019 on 20,000, and no two of 24 tensors' noises correlated.

    Of what the server sees, when nobody is drawn. p_f = 1e-11, 1e-6, and 276 pairs beyond
    six standard deviations each: 6e-7.
    """
    settings = replace(FAST, clients=2, sample_rate=1e-9, epsilon=0.5, rank=10, seed=seed)
    seen: list[tuple[int, Tensor]] = []
    task = noise_task()
    walk = federated_rounds(task, METHODS["dp-lora"], settings, observe=lambda c, t, k, v: seen.append((c, v)))
    sigmas = [r.noise_multipliers for r in walk][-1]
    shares = [v * settings.sample_rate * len(task.train) / 2 / (sigmas[c] * settings.clip_norm) for c, v in seen]
    pooled = torch.cat(shares)
    std = float(pooled.std())
    assert std == pytest.approx(1, rel=0.015), f"the noise's standard deviation is {std:.3f} of σC/b"
    distance = stats.kstest(pooled[:: len(pooled) // 20_000][:20_000].numpy(), stats.norm.cdf).statistic
    assert distance < 0.019, f"the noise is not Gaussian: Kolmogorov's D is {distance:.3f}"
    vectors = torch.stack([part for share in shares for part in share[:15_000].split(5000)])  # A, B and head
    assert vectors.shape == (24, 5000)
    largest = float(torch.corrcoef(vectors).fill_diagonal_(0).abs().max())
    assert largest < 6 / math.sqrt(5000), f"two noises have a correlation of {largest:.2f}"
    return std


def windowed_task() -> Task:
    """Six images on Swin, LoRA where each image lies in four windows."""
    task = swin_task(samples=6)
    return replace(task, targets=tuple(name for name in task.targets if name.startswith("layers.0.")))


def wild_task(seed: int) -> Task:
    """Samples so large that some gradients overflow to infinities and NaN."""
    task = linear_task(samples=12, seed=seed)
    scale = torch.logspace(-3, 38, 12)[:, None]
    return replace(task, train=Split({"x": (task.train.inputs["x"] * scale).clamp(-3e38, 3e38)}, task.train.labels))


def noise_task() -> Task:
    """Wide enough for 5,000 noises a tensor: A and B at rank 10, and a head of 10 classes (with 10 biases beside)."""
    task = linear_task(samples=8, inputs=500, width=500, classes=10)
    return replace(task, backbone=randomised(TwoLayers(500, 500, 10)))


# ---- faults -----------------------------------------------------------------------------------------------------


def no_noise(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(local, "gaussian", lambda size, scale, generator: torch.zeros(size, dtype=torch.float64))


def noise_over_the_batch_twice(patch: pytest.MonkeyPatch) -> None:
    plain = federated.private_step

    def step(plan, *given):
        sigmas = tuple(sigma / plan.divisor(client) for client, sigma in enumerate(plan.sigmas))
        return plain(replace(plan, sigmas=sigmas), *given)

    patch.setattr(federated, "private_step", step)


def batch_means(gradients, owner, clients: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """Each client's mean gradient by tensor `(clients, d)`, its batch sizes, and the published clip's thresholds."""
    sizes = torch.bincount(owner, minlength=clients).double()
    means = [
        torch.zeros(clients, g[0].numel(), dtype=torch.float64).index_add_(0, owner, g.flatten(1).double())
        / sizes.clamp_min(1)[:, None]
        for g in gradients
    ]
    thresholds = torch.stack([mean.norm(dim=1) for mean in means]).median(dim=0).values.clamp(max=0.4)
    return means, sizes, thresholds


def clipped_batches(gradients, owner, clients, clip_norm) -> tuple[Tensor, Tensor]:
    """The published code's clip: each tensor of the batch's gradient, to min(median of the tensors' norms, 0.4)."""
    means, sizes, thresholds = batch_means(gradients, owner, clients)
    kept = [mean * (thresholds / mean.norm(dim=1).clamp_min(1e-300)).clamp(max=1)[:, None] for mean in means]
    return torch.cat(kept, dim=1) * sizes[:, None], torch.ones(len(owner), dtype=torch.float64)


def whole_batches(patch: pytest.MonkeyPatch) -> None:
    """No chunks, for a fault that looks at a client's batch as a whole."""
    plain = Engine.gradients

    def gradients(self, *given):
        self.max_samples = None
        return plain(self, *given)

    patch.setattr(Engine, "gradients", gradients)


def batch_clipped(patch: pytest.MonkeyPatch) -> None:
    """The published clip alone: the noise stays the kit's, σC/b."""
    whole_batches(patch)
    patch.setattr(local, "clipped_sum", clipped_batches)


def published(patch: pytest.MonkeyPatch, sigma: float = 0.2) -> None:
    """The published code's clip and its noise: 0.2 times its own threshold over the batch, whatever ε is."""
    no_noise(patch)
    whole_batches(patch)
    generator = torch.Generator().manual_seed(0)

    def with_own_noise(gradients, owner, clients, clip_norm):
        sums, norms = clipped_batches(gradients, owner, clients, clip_norm)
        thresholds = batch_means(gradients, owner, clients)[2]
        noise = torch.randn(sums.shape, generator=generator, dtype=torch.float64)
        return sums + sigma * thresholds[:, None] * noise, norms

    patch.setattr(local, "clipped_sum", with_own_noise)


def published_calibrated(patch: pytest.MonkeyPatch) -> None:
    """The same with the σ that the accountant asked for at the audit's claim of ε = 3."""
    published(patch, sigma=2.08)


def head_unclipped(patch: pytest.MonkeyPatch) -> None:
    plain = local.clipped_sum

    def clipped(gradients, owner, clients, clip_norm):
        sums, norms = plain(gradients[:-1], owner, clients, clip_norm)
        head, _ = plain(gradients[-1:], owner, clients, math.inf)  # keys are in order: the head's weight comes last
        return torch.cat([sums, head], dim=1), norms

    patch.setattr(local, "clipped_sum", clipped)


def windows_as_samples(patch: pytest.MonkeyPatch) -> None:
    """What comes of taking the first axis of a layer's input for samples, where Swin has windows there."""

    def forward(self, x):
        if self.A is None or self.A.ndim == 2:
            return self.frozen(x)
        each = len(x) // len(self.A)
        self.rows = {"A": self.A.repeat_interleave(each, 0), "B": self.B.repeat_interleave(each, 0)}
        low = x.reshape(len(x), -1, x.shape[-1]) @ self.rows["A"].mT  # (S·windows, tokens, r)
        return self.frozen(x) + self.scale * (low @ self.rows["B"].mT).reshape(*x.shape[:-1], -1)

    def gradients(self, stack, active, inputs, labels, owner):
        if not len(labels):
            return
        copies = {key: value[owner].requires_grad_() for key, value in stack.tensors.items()}
        loss = F.cross_entropy(self.scores(copies, inputs), labels, reduction="sum")
        wanted = [copies[key] if key[0] == "head" else self.lora[key[1]].rows[key[0]] for key in active]
        found = torch.autograd.grad(loss, wanted)
        each = max(map(len, found)) // len(labels)
        rows = [torch.zeros(len(labels) * each, *g.shape[1:]) for g in found]
        for row, g in zip(rows, found, strict=True):
            row[:: len(row) // len(g)] = g  # the head has one row an image
        yield owner.repeat_interleave(each), rows

    patch.setattr(LoraLinear, "forward", forward)
    patch.setattr(Engine, "gradients", gradients)


def with_noise_key(patch: pytest.MonkeyPatch, key: Callable[[int, int, int], tuple[int, int, int]]) -> None:
    plain = Streams.generator

    def generator(self, purpose, client=0, round=0, step=0):
        return plain(self, purpose, *(key(client, round, step) if purpose == "noise" else (client, round, step)))

    patch.setattr(Streams, "generator", generator)


def same_noise_each_step(patch: pytest.MonkeyPatch) -> None:
    with_noise_key(patch, lambda client, t, k: (client, t, 1))


def noise_shared_by_clients(patch: pytest.MonkeyPatch) -> None:
    with_noise_key(patch, lambda client, t, k: (client // 2, t, k))


@dataclass(frozen=True)
class Fault:
    """A fault by name, how it is planted, the check that notices it, and what that check then says."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    caught_by: Callable[..., object]
    says: str


AUDIT, SAMPLE, NOISE = epsilon_is_not_contradicted, one_sample_moves_a_step_by_at_most_C, noise_is_as_released
CHECKS = (AUDIT, SAMPLE, NOISE)
FAULTS = [
    Fault("noise left out", no_noise, AUDIT, "CONTRADICTED"),
    Fault("noise left out", no_noise, NOISE, "standard deviation is 0.000"),
    Fault("noise divided by the batch twice", noise_over_the_batch_twice, AUDIT, "CONTRADICTED"),
    Fault("noise divided by the batch twice", noise_over_the_batch_twice, NOISE, "standard deviation"),
    Fault("batch clipped as published, σ as calibrated", published_calibrated, AUDIT, "CONTRADICTED"),
    Fault("batch clipped and noised as published", published, AUDIT, "CONTRADICTED"),
    Fault("batch clipped in place of samples", batch_clipped, SAMPLE, "moves a step"),
    Fault("head left unclipped", head_unclipped, AUDIT, "CONTRADICTED"),
    Fault("head left unclipped", head_unclipped, SAMPLE, "moves a step"),
    Fault("Swin windows counted as samples", windows_as_samples, SAMPLE, "swin: sample . .* moves a step"),
    Fault("same noise at each step", same_noise_each_step, NOISE, "two noises have a correlation of 1.00"),
    Fault("noise shared by two clients", noise_shared_by_clients, NOISE, "two noises have a correlation of 1.00"),
]
