"""Public inputs: what they must be, and that none of them is among the samples that a run trains on or tells of."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import torch

from lalora_kit.base.fingerprint import as_bytes
from lalora_kit.tasks.padding import MASK

if TYPE_CHECKING:
    from lalora_kit.tasks import Inputs, Task

NOTE = "public"  # of a task whose features depend on public inputs: a run is recognised by it, and a statement made


def note(public: Inputs, rule: str) -> str:
    """How many public inputs, their content, and by which rule they are used.

    The numbers that come of them belong to what a machine computes (`tasks.probe`).
    """
    content = hashlib.blake2b(b"".join(sorted(contents(public))), digest_size=8).hexdigest()
    return f"{len(next(iter(public.values())))} inputs {content}, {rule}"


def count_of(task: Task) -> int:
    """How many public inputs a task's features depend on."""
    return int(task.notes.get(NOTE, "0").split()[0])


def sentence(count: int) -> str:
    """What a statement says of it."""
    return (
        f"Features are centred or standardised by statistics of public inputs: no ε (of {count:,} without labels, "
        "public by the word of whoever brought them; none is among the training or test samples)"
    )


def check_public(task: Task) -> None:
    """Refuse public inputs that are not like the task's own, not finite, or among its training or test samples.

    A test sample may not be there either: accuracy is told of samples that nothing has seen. Compared are contents,
    bit for bit, a text's without its padding: who is in both by another picture cannot be told.
    """
    public, private = task.public or {}, task.train.inputs
    forms = [{name: (value.dtype, *value.shape[1 : None if MASK not in given else 1]) for name, value in given.items()}
             for given in (public, private)]  # fmt: skip
    if forms[0] != forms[1] or len(set(map(len, public.values()))) != 1:
        raise ValueError(
            f"{task.name}: public inputs are {shapes(public)}, and training inputs {shapes(private)}; they must have "
            "the same names, types and shapes, one row an input; make them by the same code"
        )
    for name, value in public.items():
        bad = (~torch.isfinite(value.flatten(1)).all(dim=1)).nonzero()
        if len(bad):
            raise ValueError(
                f"{task.name}: public input {name!r} holds NaN or an infinity in row {int(bad[0])}; every value must "
                "be finite; clean or drop that row"
            )
    known = {content: row for row, content in enumerate(contents(public))}
    for what, split in (("training", task.train), ("test", task.test)):
        for row, content in enumerate(contents(split.inputs)):
            if content in known:
                raise ValueError(
                    f"{task.name}: public input {known[content]} is {what} sample {row}, and what it says would be "
                    f"told without noise; public inputs are none of the {what} samples; take it out of them"
                )


def shapes(inputs: Inputs) -> str:
    """Names, types and shapes, for a message."""
    return ", ".join(f"{name} {value.dtype} {tuple(value.shape)}" for name, value in inputs.items()) or "none"


def contents(inputs: Inputs) -> list[bytes]:
    """A digest of each sample by name and content; a text's without its padding."""
    mask = inputs.get(MASK)
    kept = [slice(None)] * min(map(len, inputs.values()), default=0) if mask is None else list(mask.bool())
    columns = [(name, value) for name, value in sorted(inputs.items())]
    found = []
    for row, places in enumerate(kept):
        whole = hashlib.blake2b(digest_size=16)
        for name, value in columns:
            per_token = mask is not None and value.shape == mask.shape
            whole.update(name.encode() + as_bytes(value[row][places] if per_token else value[row]).data)
        found.append(whole.digest())
    return found


def guessed(task: Task) -> float:
    """Test accuracy of a task's public guess, which no training made; NaN where it has none."""
    if task.guess is None:
        return math.nan
    return float((task.guess(task.test.inputs) == task.test.labels).double().mean())
