"""Clipped sums without a copy of the factors for each sample: samples lie client by client, layers are watched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lalora_kit.base.rows import Gradient, Layout, Watched
from lalora_kit.engine.adapters import OWN, Adapter, Key
from lalora_kit.engine.persample import Engine
from lalora_kit.privacy.budgets import Clip, shrunk
from lalora_kit.tasks import Inputs


def clipped_by_client(
    engine: Engine, stack: Adapter, active: Sequence[Key], inputs: Inputs, labels: Tensor, owner: Tensor, clip: Clip,
    widths: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
    """Per chunk `clipped_sum` of `Engine.gradients`, whose arguments it takes; inside, samples lie client by client."""
    owner, labels, clients = owner.to(engine.device), labels.to(engine.device), len(next(iter(stack.tensors.values())))
    for some, longest in engine.chunks(inputs, widths):
        part = some[owner[some].argsort(stable=True)]
        at = Layout(owner[part], clients, engine.device)
        watched = {k: Watched(v, k in active, at) if k[0] in OWN else v for k, v in stack.tensors.items()}
        batch = engine.batch(inputs, part, longest)
        with torch.enable_grad():
            scores = engine.scores(watched, batch).to(stack.tensors[active[0]].dtype)
            loss = cross_entropy(scores, labels[part], reduction="sum")
            torch.autograd.grad(loss, at.anchor, allow_unused=True)
        del scores, loss
        found = [gradient for key in active if (gradient := watched[key].found) is not None]  # type: ignore[union-attr]
        assert len(found) == len(active), "a layer that trains takes no part in the scores"
        yield clipped(found, at, clip)


def clipped(gradients: Sequence[Gradient], at: Layout, clip_norm: Clip) -> tuple[Tensor, Tensor]:
    """What `mechanism.clipped_sum` gives, to the same bound C, of gradients that may be kept as two sides.

    A gradient that was multiplied out is clipped and added as it is: rounding before that is part of the gradient. Of
    two sides, the product of their norms is the norm, and no terms cancel in it: in float64 both are right to
    (a + b)·2⁻⁵², relatively. Sums are float64 too: of n samples of a client, one moves the rounding of its row by at
    most n²·2⁻⁵²·C. 1 − MARGIN covers both up to n = 60,000. A sample that is not finite is zero before any product.
    """
    norms = torch.stack([gradient.norms() for gradient in gradients])
    finite = torch.isfinite(norms.square().sum(dim=0))
    factors, lengths = shrunk(norms, finite, clip_norm)
    if at.sizes is None or not finite.all():  # only a CPU is asked, which need not be waited for
        gradients = [gradient.only(finite) for gradient in gradients]
    return torch.cat([g.added(factor, at) for g, factor in zip(gradients, factors, strict=True)], dim=1), lengths
