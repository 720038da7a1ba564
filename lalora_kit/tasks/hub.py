"""Tasks of the hub: CIFAR-100, Tiny-ImageNet and four of GLUE, on the paper's backbones or on one of your choice.

Everything slow happens once: pictures are decoded to bytes and sentences to tokens in batches, and `datasets` keeps
the outcome in its cache. What a run holds, and moves to the device whole, are bytes and tokens; `Pictures` makes
inputs of the bytes there, a chunk at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lalora_kit.base.steps import step
from lalora_kit.tasks import Inputs, Split, Task
from lalora_kit.tasks.backbones import LONGEST, Backbone, build, check_kind, encode
from lalora_kit.tasks.online import from_directory, from_hub

ROWS = 4096  # samples that are decoded, or copied, at once


@dataclass(frozen=True)
class HubData:
    """Where a task's data are, and what they are called there.

    `path` is a repository of the hub, or a directory of the same form; `test` is the split whose labels are public
    (GLUE hides those of its own test split, so its validation split serves, as is usual).
    """

    kind: str
    path: str
    config: str | None
    columns: tuple[str, ...]
    label: str
    test: str
    backbone: str


SWIN, ROBERTA, GLUE = "swin_tiny_patch4_window7_224", "FacebookAI/roberta-base", "nyu-mll/glue"
PREMISE = ("premise", "hypothesis")

HUB: dict[str, HubData] = {
    "cifar100": HubData("image", "uoft-cs/cifar100", None, ("img",), "fine_label", "test", SWIN),
    "tiny-imagenet": HubData("image", "zh-plus/tiny-imagenet", None, ("image",), "label", "valid", SWIN),
    "glue/sst2": HubData("text", GLUE, "sst2", ("sentence",), "label", "validation", ROBERTA),
    "glue/qnli": HubData("text", GLUE, "qnli", ("question", "sentence"), "label", "validation", ROBERTA),
    "glue/qqp": HubData("text", GLUE, "qqp", ("question1", "question2"), "label", "validation", ROBERTA),
    "glue/mnli": HubData("text", GLUE, "mnli", PREMISE, "label", "validation_matched", ROBERTA),
    "glue/mnli-mm": HubData("text", GLUE, "mnli", PREMISE, "label", "validation_mismatched", ROBERTA),
}


def load(name: str, backbone: str | None = None) -> Task:
    """The task `name` of `HUB`, on its own backbone or on another one for such data.

    Raises:
        ValueError: if data or backbone can be neither fetched nor found in the cache, or the backbone does not fit.
    """
    import datasets

    data = HUB[name]
    chosen = backbone or data.backbone
    check_kind(chosen, data.kind)
    if backbone is not None:
        build(backbone, 2, pretrained=False, kind=data.kind)  # one that does not fit is refused before data are fetched
    reading = from_directory if Path(data.path).is_dir() else from_hub
    with reading(f"task {name!r}"), step("fetching the data"):
        stored = datasets.load_dataset(data.path, data.config)
    train, test = stored["train"], stored[data.test]
    classes = tuple(train.features[data.label].names)
    built = build(chosen, len(classes), kind=data.kind)
    with step("making inputs of the data"):
        splits = [Split(inputs_of(part, data, built), rows(part, data.label).view(-1).long()) for part in (train, test)]
        splits = trimmed(splits) if data.kind == "text" else splits
    return Task(
        name=name,
        backbone=built.module,
        targets=built.targets,
        head=built.head,
        train=splits[0],
        test=splits[1],
        classes=classes,
        description=f"{data.path} {data.config or ''}, tested on {data.test}; {built.name}, {built.description}",
        prepare=built.prepare,
        decode=built.decode if data.kind == "text" else None,
    )


def inputs_of(part: Any, data: HubData, backbone: Backbone) -> Inputs:
    """A split's stored inputs: bytes `(samples, 3, h, w)`, or tokens `(samples, LONGEST)`, from the cache if there."""
    if data.kind == "image":
        column = data.columns[0]
        side = np.asarray(part[0][column].convert("RGB")).shape
        decoded = part.map(decode, fn_kwargs={"column": column, "shape": side}, **batched(part))
        return {"x": rows(decoded, "x").view(-1, *side).permute(0, 3, 1, 2).contiguous()}
    tokens = part.map(tokenise, fn_kwargs={"tokenizer": backbone.tokenizer, "columns": data.columns}, **batched(part))
    return {name: rows(tokens, name).long() for name in tokens.column_names}


def batched(part: Any) -> dict[str, Any]:
    """How `datasets` maps a split here: many rows at once, and nothing of the old columns is kept."""
    return {"batched": True, "batch_size": ROWS, "remove_columns": part.column_names}


def decode(batch: Mapping[str, Any], column: str, shape: tuple[int, ...]) -> dict[str, list[np.ndarray]]:
    """Pictures, grey ones too, as rows of RGB bytes; all must be of one size, for they are stacked."""
    pictures = [np.asarray(picture.convert("RGB")) for picture in batch[column]]
    other = {picture.shape for picture in pictures} - {shape}
    if other:
        raise ValueError(
            f"a picture is of {other.pop()[:2]} pixels where the first is of {shape[:2]}; pictures are kept in one "
            "stack and must be of one size; resize them first"
        )
    return {"x": [picture.reshape(-1) for picture in pictures]}


def tokenise(batch: Mapping[str, Any], tokenizer: Any, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Sentences or pairs as rows of `LONGEST` tokens: small integers, for the cache."""
    tokens = encode(tokenizer, *(batch[column] for column in columns), padding="max_length")
    return {name: value.numpy().astype(np.int32) for name, value in tokens.items()}


def rows(part: Any, column: str) -> Tensor:
    """A column of numbers, or of equally long lists of them, as `(samples, length)` in its own type."""
    pieces = []
    for table in part.with_format("arrow").iter(batch_size=ROWS):
        values = table[column].combine_chunks()
        values = values.flatten() if hasattr(values, "flatten") and values.type.num_fields else values
        pieces.append(values.to_numpy(zero_copy_only=False).reshape(len(table), -1))
    return torch.from_numpy(np.concatenate(pieces))


def trimmed(splits: list[Split]) -> list[Split]:
    """Columns that are padding in every sample cut off, but for a multiple of 8: one length for all of a task."""
    longest = max(int(split.inputs["attention_mask"].sum(1).max()) for split in splits)
    length = min(LONGEST, -(-longest // 8) * 8)
    return [
        Split({name: value[:, :length].contiguous() for name, value in split.inputs.items()}, split.labels)
        for split in splits
    ]
