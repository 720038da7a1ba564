"""Standardised features: mean and shrunk covariance of public inputs' features, as a frozen layer before the head.

A head learns slowly where features share one large mean and a few large directions: every clipped gradient points the
same way. So what the head's first linear layer sees, x, becomes W·(x − μ), with μ the mean of x over unlabelled public
inputs, on the frozen backbone without an adapter, and W = √(tr S / n) · C^(−1/2), the symmetric root of their shrunk
covariance C. All directions become alike, and features stay as large as they were as a whole (tr S, their variance), so
that head and adapter keep their shares of a clipped gradient.

C = (1 − s)·S + s·(tr S / n)·I is scikit-learn's `shrunk_covariance`, with s that of Ledoit and Wolf (2004), for what
few inputs cannot tell, and at least `LEAST`, scikit-learn's own default: private data are not the public ones, and so
no direction is enlarged by more than 1 / √LEAST over the mean one, a constant one included.

No private sample is looked at, so nothing is charged. Saved, μ and W are folded into the head (`Statistics.folded`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lalora_kit.base.threads import threads_for, torch_threads
from lalora_kit.tasks import Inputs, Task, logits
from lalora_kit.tasks.heads.public import NOTE, check_public, note
from lalora_kit.tasks.padding import MASK, TEXTS, by_length, trimmed

LEAST = 0.1
CHUNK = 256  # pictures at once
OFF = "give standardise=False (--no-standardise), or take the public inputs out"


@dataclass(frozen=True, eq=False)
class Statistics:
    """What public inputs say of the features that a head's first layer, called `layer` in it, sees.

    weight: W `(n, n)`. bias: −W·μ `(n,)`; both float64. count: how many inputs. shrinkage: s. fresh: whether the head
    scores nothing at the start, so that it need not be undone for it. head, backbone, public: what they are taken of.
    """

    layer: str
    weight: Tensor
    bias: Tensor
    count: int
    shrinkage: float
    fresh: bool
    head: str
    backbone: nn.Module
    public: Inputs

    def frozen(self) -> nn.Linear:
        """x -> W·(x − μ) as a layer without gradients, in float32."""
        layer = nn.Linear(*self.weight.shape).requires_grad_(False)
        layer.weight.copy_(self.weight)
        layer.bias.copy_(self.bias)
        return layer

    def folded(self, head: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The head's tensors for features as they are: V·W and b − V·W·μ in place of V and b."""
        return self._changed(head, self.weight, self.bias)

    def unfolded(self, head: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of `folded`, up to rounding."""
        back = torch.linalg.inv(self.weight)
        return self._changed(head, back, -back @ self.bias)

    def begun(self, head: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that a head begins with: one that scores something already scores the same."""
        return dict(head) if self.fresh else self.unfolded(head)

    def _changed(self, head: Mapping[str, Tensor], weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
        names = [".".join(filter(None, (self.layer, leaf))) for leaf in ("weight", "bias")]
        V, b = (head[name].double().cpu() for name in names)
        return {
            **head,
            **dict(zip(names, ((V @ weight).to(head[names[0]]), (V @ bias + b).to(head[names[1]])), strict=True)),
        }


def settle(task: Task) -> None:
    """Check a task's public inputs, and set its `statistics` and the note by which a run with them is recognised.

    Raises:
        ValueError: see `check_public` and `taken`.
    """
    found = None
    if task.public is not None:
        check_public(task)
        found = taken(task) if task.standardise else None
    notes = {name: value for name, value in task.notes.items() if name != NOTE}
    object.__setattr__(task, "statistics", found)
    object.__setattr__(
        task,
        "notes",
        notes if found is None else {**notes, NOTE: note(found.public, f"shrunk by {LEAST} or more")},
    )


def taken(task: Task) -> Statistics:
    """The statistics of a task's public inputs, or those that it has of them already.

    Raises:
        ValueError: for a head whose first layer has no bias or sees several vectors a sample, for fewer than two
            inputs, and where their features are all alike.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage, shrunk_covariance

    public = task.public or {}
    had = task.statistics
    if had is not None and had.head == task.head and had.backbone is task.backbone and had.public is task.public:
        return had
    layer, x = features(task)
    centred = x - x.mean(0)
    variance = float(centred.square().mean())
    if len(x) < 2 or not variance > 1e-12 * float(x.square().mean()):
        raise ValueError(
            f"{task.name}: the features of {len(x)} public inputs are all alike, so there is nothing to standardise "
            f"by; bring inputs that differ, hundreds of them, or {OFF}"
        )
    shrinkage = max(LEAST, float(ledoit_wolf_shrinkage(centred.numpy(), assume_centered=True)))
    covariance = torch.from_numpy(shrunk_covariance((centred.T @ centred / len(x)).numpy(), shrinkage))
    values, vectors = torch.linalg.eigh(covariance)
    weight = vectors @ torch.diag((variance / values).sqrt()) @ vectors.T
    *_, last = (module for module in task.backbone.get_submodule(task.head).modules() if isinstance(module, nn.Linear))
    fresh = not any(bool(value.any()) for value in last.parameters())
    return Statistics(layer, weight, -weight @ x.mean(0), len(x), shrinkage, fresh, task.head, task.backbone, public)


@torch.no_grad()
def features(task: Task) -> tuple[str, Tensor]:
    """The head's first linear layer that is called, by its name there, and what it sees: float64 `(inputs, n)`."""
    public = task.public or {}
    head = task.backbone.get_submodule(task.head)
    linear = {name: module for name, module in head.named_modules() if isinstance(module, nn.Linear)}
    calls: list[tuple[str, Tensor]] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, given, name=name: calls.append((name, given[0].detach())))
        for name, module in linear.items()
    ]
    found: list[tuple[str, Tensor]] = []
    try:
        with torch_threads(threads_for(sum(value.numel() for value in task.backbone.parameters()))):
            for part in by_length(public).split(TEXTS if MASK in public else CHUNK):
                calls.clear()
                batch = trimmed({name: value[part] for name, value in public.items()})
                logits(task.backbone, batch if task.prepare is None else task.prepare(batch))
                found += [(name, x.double()) for name, x in itertools.islice(calls, 1)]
                check_first(task, linear, calls, len(part))
    finally:
        for hook in hooks:
            hook.remove()
    return found[0][0], torch.cat([x for _, x in found])


def check_first(task: Task, linear: Mapping[str, nn.Linear], calls: list[tuple[str, Tensor]], samples: int) -> None:
    """Refuse a head before whose first layer nothing can stand, or into which it could not be folded."""
    name, x = calls[0] if calls else ("", torch.empty(0))
    why = ""
    if not calls or x.shape[:-1] != (samples,) or [called for called, _ in calls].count(name) > 1:
        why = f"sees {tuple(x.shape)} for {samples} inputs, and not one vector each"
    elif linear[name].bias is None:
        why = "has no bias, into which the mean could be folded"
    elif not torch.isfinite(x).all():
        why = "sees NaN or infinities in them"
    if why:
        raise ValueError(f"{task.name}: the first layer of head {task.head!r} {why}; {OFF}")
