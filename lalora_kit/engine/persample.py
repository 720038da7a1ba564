"""The engine: gradients per sample, for all clients at once, from one ordinary forward and backward.

The idea: give every sample its own copy of its client's factors. Then the gradient of the *summed* loss with
respect to that copy *is* the sample's own gradient. No gradient hooks, no vmap, no wrapped optimiser; and only the
tensors that train at this step are differentiated.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lalora_kit.base.allocator import keep_freed_memory
from lalora_kit.base.layers import adapted, mergeable, through
from lalora_kit.base.rows import Watched
from lalora_kit.engine.adapters import OWN, Adapter, Key
from lalora_kit.tasks import Inputs, Split, Task, logits
from lalora_kit.tasks.adaptable import check_backbone, linear_names
from lalora_kit.tasks.padding import MASK, TEXTS, by_length, trimmed


class LoraLinear(nn.Module):
    """A frozen linear layer with a low-rank path whose factors may differ from sample to sample.

    `A` `(S, r, n)` and `B` `(S, m, r)` are one copy a sample, or `(r, n)` and `(m, r)` one for all. The input's
    first axis is samples, or samples times windows with the sample slowest; the fold gives each sample back its
    windows (counting windows as samples would let one image contribute many clipped gradients). `W` `(m, n)` is what
    a method has merged into the frozen weight, one for all; None where nothing ever is.
    """

    def __init__(self, frozen: nn.Linear, scale: float) -> None:
        super().__init__()
        self.frozen = frozen
        self.scale = scale
        self.place = ""  # its full name, for messages
        self.A: Tensor | Watched | None = None
        self.B: Tensor | Watched | None = None
        self.W: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(W0 + W)·x + s·B·A·x, `(S·windows, ..., n)` -> `(S·windows, ..., m)`."""
        A, B = self.A, self.B
        if isinstance(A, Watched) and isinstance(B, Watched):
            return adapted(x, self.frozen, A, B, self.scale, self.W)
        if A is None or B is None:
            return through(x, self.frozen, self.W)
        assert isinstance(A, Tensor) and isinstance(B, Tensor)
        if A.ndim == 2 and not torch.is_grad_enabled() and mergeable(x, self.frozen, A):
            BA = self.scale * (B @ A)
            return through(x, self.frozen, BA if self.W is None else self.W + BA)
        y = through(x, self.frozen, self.W)
        if A.ndim == 2:
            return torch.addmm(y.flatten(0, -2), F.linear(x.flatten(0, -2), A), B.mT, alpha=self.scale).view_as(y)
        folded = x.reshape(len(A), -1, x.shape[-1])  # (S·windows, tokens, n) -> (S, windows·tokens, n)
        low = torch.bmm(folded, A.mT)  # -> (S, windows·tokens, r)
        base = y.reshape(len(B), -1, y.shape[-1])
        return torch.baddbmm(base, low, B.mT, alpha=self.scale).view_as(y)  # (S, windows·tokens, m), in one pass


class OwnLinear(nn.Module):
    """A linear layer of the head, trained in full: weight `(S, m, n)` and bias `(S, m)` a sample, or shared.

    `before` is the frozen layer of public statistics that stands before the first one, where there is one.
    """

    def __init__(self, before: nn.Module | None = None) -> None:
        super().__init__()
        self.before = before
        self.place = ""
        self.weight: Tensor | Watched | None = None
        self.bias: Tensor | Watched | None = None

    def forward(self, x: Tensor) -> Tensor:
        """`(S, ..., n)` -> `(S, ..., m)`."""
        weight, bias = self.weight, self.bias
        assert weight is not None
        x = x if self.before is None else self.before(x)
        if isinstance(weight, Tensor) and weight.ndim == 2:
            return F.linear(x, weight, bias)  # type: ignore[arg-type]
        folded = x.reshape(len(weight), -1, x.shape[-1])  # (S, ..., n) -> (S, positions, n)
        y = weight.times(folded) if isinstance(weight, Watched) else torch.bmm(folded, weight.mT)
        if bias is not None:
            y = bias.plus(y) if isinstance(bias, Watched) else y + bias.unsqueeze(1)
        return y.reshape(*x.shape[:-1], y.shape[-1])


class Engine:
    """A task's backbone, ready for per-sample gradients. The task's own backbone is never changed.

    Args:
        task: says where LoRA goes and what the head is.
        scale: LoRA's s = α/r.
        device: where to compute.
        precision: "fp32", or "bf16" for the frozen part under autocast; clipping stays in float32.
        max_samples: chunk size that bounds memory; results do not depend on it. None takes all at once.
        dtype: of the factors and the backbone; float64 is for tests of identities.
        reads: a method's, for gradients; what is evaluated is a model that was read already.

    Raises:
        ValueError: if a target is no linear layer, the head holds a parameter that no rule covers, or the
            backbone mixes samples (BatchNorm).
    """

    def __init__(
        self,
        task: Task,
        scale: float,
        *,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        max_samples: int | None = None,
        dtype: torch.dtype = torch.float32,
        reads: Callable[[Mapping[Key, Tensor]], Mapping[Key, Tensor]] | None = None,
    ) -> None:
        check_backbone(task)
        keep_freed_memory()
        self.device, self.precision, self.max_samples = torch.device(device), precision, max_samples
        self.prepare, self.reads = task.prepare, reads or dict
        self.model = copy.deepcopy(task.backbone).to(self.device, dtype).eval().requires_grad_(False)
        self.lora = {name: LoraLinear(self.model.get_submodule(name), scale) for name in task.targets}  # type: ignore[arg-type]
        self.head = {name: OwnLinear() for name in linear_names(self.model.get_submodule(task.head))}
        if task.statistics is not None:
            self.head[task.statistics.layer].before = task.statistics.frozen().to(self.device, dtype)
        for name, lora in self.lora.items():
            lora.place = name
            self.model.set_submodule(name, lora)
        for name, own in self.head.items():
            own.place = ".".join(filter(None, (task.head, name)))
            self.model.set_submodule(own.place, own)

    def gradients(
        self, stack: Adapter, active: Sequence[Key], inputs: Inputs, labels: Tensor, owner: Tensor,
        widths: Tensor | None = None,
    ) -> Iterator[tuple[Tensor, list[Tensor]]]:  # fmt: skip
        """Gradients per sample of the cross-entropy by the active tensors. Line 5 of the algorithm in lesson 04.

        Args:
            stack: the clients' tensors, each `(clients, ...)`.
            active: keys to differentiate; everything else is only read.
            inputs: the backbone's keyword inputs, each `(samples, ...)`.
            labels: `(samples,)`.
            owner: `(samples,)` client position of each sample.
            widths: `(samples,)` columns that each text uses, on the host; None asks the mask, and waits for it.

        Yields:
            Per chunk `(owner of the chunk, gradients)`, one `(chunk, ...)` tensor an active key, in order. An
            empty draw yields nothing.
        """
        owner, labels = owner.to(self.device), labels.to(self.device)
        for part, longest in self.chunks(inputs, widths):
            mine = owner[part]
            copies = {k: v.index_select(0, mine) if k[0] in OWN else v for k, v in stack.tensors.items()}
            leaves = [copies[key].requires_grad_() for key in active]
            batch = self.batch(inputs, part, longest)
            with torch.enable_grad():
                scores = self.scores(self.reads(copies), batch)
                loss = F.cross_entropy(scores.to(leaves[0].dtype), labels[part], reduction="sum")
                gradients = list(torch.autograd.grad(loss, leaves))
            yield mine, gradients  # outside the block: while suspended, the caller's gradient mode is its own

    def chunks(self, inputs: Inputs, widths: Tensor | None) -> Iterator[tuple[Tensor, int | None]]:
        """Places of each chunk's samples, on the device, and the longest of their `widths`, which lie on the host."""
        done = 0
        for part in self.parts(inputs, torch.arange(len(next(iter(inputs.values()))), device=self.device)):
            yield part, None if widths is None else int(widths[done : done + len(part)].amax())
            done += len(part)

    def parts(self, inputs: Inputs, order: Tensor, most: int | None = None) -> Sequence[Tensor]:
        """`order` in chunks of at most `max_samples`, `most`, and for texts `TEXTS`; none of nothing."""
        bounds = (self.max_samples, most, TEXTS if MASK in inputs else None)
        return order.split(min(filter(None, bounds), default=len(order))) if len(order) else ()

    def batch(self, inputs: Inputs, part: Tensor, longest: int | None = None) -> Inputs:
        """The samples at `part`, on the device, as the backbone takes them; texts padded only to their longest."""
        batch = trimmed({name: v[part.to(v.device)].to(self.device) for name, v in inputs.items()}, longest)
        return batch if self.prepare is None else self.prepare(batch)

    def scores(self, tensors: Mapping[Key, Tensor | Watched], batch: Inputs) -> Tensor:
        """Logits `(samples, classes)` under the given tensors, per sample, shared, or watched."""
        for name, lora in self.lora.items():
            lora.A, lora.B, lora.W = tensors["A", name], tensors["B", name], tensors.get(("W", name))  # type: ignore[assignment]
        for name, own in self.head.items():
            prefix = f"{name}." if name else ""
            own.weight, own.bias = tensors["head", f"{prefix}weight"], tensors.get(("head", f"{prefix}bias"))
        try:
            with self.autocast():
                return logits(self.model, batch)
        finally:
            for lora in self.lora.values():
                lora.A = lora.B = lora.W = None
            for own in self.head.values():
                own.weight = own.bias = None

    def autocast(self) -> contextlib.AbstractContextManager:
        """bf16 autocast for the frozen part, where asked for."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    @torch.no_grad()
    def predict(self, adapter: Adapter, inputs: Inputs, chunk: int | None = None) -> Tensor:
        """Logits `(samples, classes)` of one adapter, on the CPU; by default in chunks that suit a CPU's cache."""
        tensors = {key: value.to(self.device) for key, value in adapter.tensors.items()}
        order = by_length(inputs)
        parts = self.parts(inputs, order, chunk or (256 if self.device.type == "cpu" else 512))
        scores = torch.cat([self.scores(tensors, self.batch(inputs, part)).float() for part in parts]).cpu()
        return torch.empty_like(scores).index_copy_(0, order.cpu(), scores)

    def evaluate(self, adapter: Adapter, split: Split) -> tuple[float, float]:
        """`(accuracy, mean cross-entropy in nats)` of one adapter on a split."""
        scores = self.predict(adapter, split.inputs)
        loss = F.cross_entropy(scores, split.labels)
        return float((scores.argmax(1) == split.labels).double().mean()), float(loss)
