"""Wrappers: an option around any method, named NAME+option. `tangent` clips in W's tangent space, `flat` perturbs W.

`after` is none of them: it takes a method over the boundary between two tasks.

What a wrapper gives is a method like any other: a value, with a name, a schedule and hooks of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.methods.algebra import rows_apart, with_base
from lalora_kit.methods.hooks import Begins, Chart, Crosses, as_they_are
from lalora_kit.methods.method import Method
from lalora_kit.settings import Settings

PLUS = "+"
STRENGTH = 0.05  # Flat-LoRA's σ, in row norms of the weight
SINGULAR = 1e-5  # relative: what a factor has less of counts as none


def tangent(method: Method) -> Method:
    """The method with PRISM's norm (arXiv 2606.00944): a clip that does not depend on how B·A is factored.

    A sample's gradient G of W is seen through P(G), its part in the tangent space of the matrices B·A (with one factor
    active: of those that this factor can reach), and ‖P(G)‖ is held to C, where ‖∇A‖² + ‖∇B‖² would change under
    B → B·Q, A → Q⁻¹·A. The noise is white in that space.

    Sensitivity: the coordinates h = L·∇·R are orthonormal ones of P(G), and whatever they were, `clipped_sum` takes h
    as it takes any gradient: each sample's h is scaled to ‖h‖ ≤ C, so that adding or removing one moves the sum by at
    most C. L and R come of factors that noised releases have moved, and of nothing else. σC on every number of h gives
    the same ε as ever; reading h back as ∇A and ∇B is post-processing. The head's gradient is in the same vector, as
    it is.

    The step that follows is the method's own, with the ordinary gradient (PRISM retracts onto the matrices of rank r).

    Raises:
        ValueError: if the method has coordinates of its own.
    """
    if method.chart is not None:
        raise ValueError(f"{method.name} has coordinates of its own to clip in; leave out {PLUS}tangent")
    changed = "clipped in the tangent space of W, by PRISM's norm (arXiv 2606.00944)"
    return replace(
        method, name=f"{method.name}{PLUS}tangent", chart=tangent_space,
        about=replace(method.about, does=f"{method.about.does}; {changed}"),
    )  # fmt: skip


def tangent_space(local: Adapter, active: Sequence[Key]) -> Chart:
    """G·Qᵀ for B (A = R·Q), and for A the part of Qᵀ·G (B = Q·R) that B's does not hold already."""
    chart, both = Chart({}, {}, {}, {}), dict[str, tuple[Tensor, Tensor]]()
    s = local.scale
    for kind, name in active:
        if kind == "B":
            R, Q = rows_apart(local.tensors["A", name])
            chart.right["B", name], chart.back_right["B", name] = inverse(R.mT) / s, s * R.mT
            both[name] = (inverse(R.mT), Q)
    for kind, name in active:
        if kind == "A":
            R, _ = rows_apart(local.tensors["B", name].mT)  # B = Qᵀ·Rᵀ
            chart.left["A", name], chart.back_left["A", name] = inverse(R) / s, s * R
            if name in both:
                Q = both[name][1]
                chart.right["A", name] = chart.back_right["A", name] = torch.eye(Q.shape[2], device=Q.device) - Q.mT @ Q
    if not any(kind == "A" for kind, _ in active):
        return chart

    def put_together(read: dict[Key, Tensor]) -> dict[Key, Tensor]:
        """∇A's part in the rows of A is Bᵀ·∇B·R⁻ᵀ·Q, and was released with ∇B."""
        whole = dict(read)
        for name, (back, Q) in both.items():
            if ("A", name) in whole:
                B = local.tensors["B", name].double()
                whole["A", name] = read["A", name] + B.mT @ read["B", name].double() @ back @ Q
        return whole

    return replace(chart, mend=put_together)


def inverse(R: Tensor) -> Tensor:
    """The pseudo-inverse of `(clients, r, r)`: while B is zero no coordinate of A's is looked at."""
    return torch.linalg.pinv(R, rtol=SINGULAR)


@dataclass(frozen=True)
class WithRows:
    """A method's own beginning, and then the norms `(m,)` of the frozen weight's rows, and a base to perturb."""

    inner: Begins

    def __call__(self, adapter: Adapter, backbone: nn.Module, generator: np.random.Generator) -> Adapter:
        """The adapter that a run begins with."""
        begun = self.inner(adapter, backbone, generator)
        rows: dict[Key, Tensor] = {}
        for name in begun.of("A"):
            weight: Tensor = backbone.get_submodule(name).weight.detach().cpu()  # type: ignore[union-attr, assignment, operator]
            rows["rows", name] = weight.norm(dim=1).to(begun.tensors["A", name].dtype)
        based = begun if begun.of("W") else with_base(begun, backbone, generator)
        return based.with_tensors(rows)


def flat(method: Method) -> Method:
    """The method as Flat-LoRA (arXiv 2409.14396): gradients are taken beside the weights, at a random place near them.

    Each step adds one Gaussian matrix to every adapted weight before its forward pass and takes it away afterwards:
    entries of row i have standard deviation σ_t·‖W0_i‖/√n, and σ_t rises from 0 to `STRENGTH` over the run as
    ½(1 − cos(π·share of the steps)). That is one gradient a step, as without (sharpness-aware minimisation takes two),
    and one matrix of noise a layer. It knows no data, so ε is what it was.

    Raises:
        ValueError: if gradients are taken elsewhere already.
    """
    if method.perturbs is not as_they_are:
        raise ValueError(f"{method.name} takes gradients at perturbed weights already; leave out one +flat")
    changed = "gradients at randomly perturbed weights (Flat-LoRA, arXiv 2409.14396), one a step"
    return replace(
        method, name=f"{method.name}{PLUS}flat", begins=WithRows(method.begins), perturbs=near_by,
        about=replace(method.about, does=f"{method.about.does}; {changed}"),
    )  # fmt: skip


def near_by(
    local: Adapter, start: Adapter, settings: Settings, round: int, step: int, generator: np.random.Generator
) -> Adapter:
    """The stack with one perturbation for all in what its base has moved by; the clients' own tensors stay."""
    share = ((round - 1) * settings.local_steps + step) / (settings.rounds * settings.local_steps)
    strength = STRENGTH * (1 - math.cos(math.pi * share)) / 2
    moved: dict[Key, Tensor] = {}
    for name, W in local.of("W").items():
        noise = torch.from_numpy(generator.standard_normal(W.shape, dtype=np.float32)).to(W)
        moved["W", name] = W + strength / math.sqrt(W.shape[1]) * local.tensors["rows", name][:, None] * noise
    return local.with_tensors(moved)


OPTIONS = {"tangent": tangent, "flat": flat}


def wrapped(method: Method, options: Sequence[str]) -> Method:
    """The method with these options around it, in order; `ValueError` naming the ones that there are."""
    for option in options:
        if option not in OPTIONS:
            raise ValueError(f"{method.name}{PLUS}{option}: there is no option {option!r}; use {' or '.join(OPTIONS)}")
        method = OPTIONS[option](method)
    return method


@dataclass(frozen=True, eq=False)
class After:
    """A `begins` that knows the adapter which the task before left."""

    begins: Begins
    crosses: Crosses
    before: Adapter

    def __call__(self, adapter: Adapter, backbone: nn.Module, generator: np.random.Generator) -> Adapter:
        """The task's first adapter."""
        return self.crosses(self.begins(adapter, backbone, generator), self.before)


def after(method: Method, before: Adapter) -> Method:
    """The method on its next task, from `before`, the last record's adapter of the task that it comes from.

    Each task is a run of its own; what is kept, frozen or begun anew at the boundary is the method's `crosses`, which
    by default keeps nothing. `before` was made of noised releases, so that carrying it over costs nothing. It is part
    of what the run is: another one gives fresh noise. Tasks on the same people share a ledger and add up; on different
    people each has its own. The method goes on in Python (`save_rounds(..., resume=True)`), for no file names it.
    """
    return replace(method, begins=After(method.begins, method.crosses, before))
