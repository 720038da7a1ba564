"""What a task is made of, and what it computes on fixed samples, bit for bit: by this a run is recognised."""

from __future__ import annotations

import copy
import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lalora_kit.base.fingerprint import as_bytes
from lalora_kit.tasks import Inputs, Split, Task, logits
from lalora_kit.tasks.padding import trimmed

PROBED = 2  # test samples that are run forward and backward to tell what a task computes


def data_of(task: Task) -> str:
    """All inputs, labels and units of both splits."""
    data = hashlib.blake2b(digest_size=8)
    for split in (task.train, task.test):
        for value in (*split.inputs.values(), split.labels):
            data.update(as_bytes(value).data)
    if task.train.units is not None:
        data.update(task.unit.encode() + as_bytes(task.train.units).tobytes())
    return data.hexdigest()


def backbone_of(task: Task) -> str:
    """Every tensor of the backbone, by name."""
    backbone = hashlib.blake2b(digest_size=8)
    for name, value in task.backbone.state_dict().items():
        backbone.update(name.encode() + as_bytes(value).tobytes())
    return backbone.hexdigest()


def shapes(split: Split) -> dict[str, list[object]]:
    """Shape and type of each input and of the labels, by name."""
    named = {**split.inputs, "labels": split.labels}
    return {name: [list(value.shape), str(value.dtype)] for name, value in named.items()}


def probe(task: Task) -> tuple[str, str]:
    """What `prepare`, forward and backward make of the first test samples, bit for bit.

    Where features are standardised, what this machine made of the public inputs counts too.

    Returns a digest, and "" or why it cannot be relied on. On the CPU, in float32, on one copy of the backbone;
    torch's own randomness is left as it was.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            model = copy.deepcopy(task.backbone).to("cpu", torch.float32).eval().requires_grad_(False)
            adapted = [model.get_submodule(name).weight for name in task.targets]
            trained: list[Tensor] = [*adapted, *model.get_submodule(task.head).parameters()]  # type: ignore[list-item]
            for value in trained:
                value.requires_grad_()
            batch, scores, loss = forward(task, model)
            gradients = torch.autograd.grad(loss, trained, allow_unused=True)
            again, repeated, _ = forward(task, model)
    except Exception as error:  # the task's own code, which may raise anything; the run will say what is wrong
        return "none", f"the probe failed with {type(error).__name__}"
    same = digest_of(*batch.values(), scores) == digest_of(*again.values(), repeated)
    why = "" if same else "the same samples come out otherwise the second time"
    found = task.statistics
    taken = () if found is None else (found.weight, found.bias)
    return f"{' '.join(batch)} {digest_of(*batch.values(), scores, *gradients, *taken)}", why


def forward(task: Task, model: nn.Module) -> tuple[Inputs, Tensor, Tensor]:
    """The prepared inputs of the first test samples, their scores `(samples, classes)`, and the mean loss in nats."""
    some = task.test.select(torch.arange(min(PROBED, len(task.test)))).to("cpu")
    batch = trimmed(some.inputs)
    batch = batch if task.prepare is None else task.prepare(batch)
    scores = logits(model, batch).float()
    return batch, scores, F.cross_entropy(scores, some.labels)


def digest_of(*values: Tensor | None) -> str:
    """Digest of types, shapes and bytes."""
    total = hashlib.blake2b(digest_size=8)
    for value in values:
        total.update(b"none" if value is None else f"{value.dtype} {tuple(value.shape)}".encode())
        total.update(b"" if value is None else as_bytes(value).data)
    return total.hexdigest()
