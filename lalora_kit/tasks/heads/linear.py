"""Linear models on a task's raw inputs: the rivals that know no backbone, as tasks of their own.

Each is a `Task` without targets whose backbone is one linear layer on fixed features, so that the method `head-only`
trains it by the very loop, clip, accountant and ledger of every other run. Whoever adapts a backbone in private has to
be ahead of these (Tramèr and Boneh, "Differentially private learning needs better features", ICLR 2021).

- `linear`: pictures as pixels, averaged down to at most `PIXELS` a side, for more numbers mean more noise; texts as
  hashed words (scikit-learn's `HashingVectorizer`, 2,048 buckets); anything else as it is.
- `linear-hog`, of pictures: histograms of oriented gradients (Dalal and Triggs 2005) by scikit-image.

Nothing is taken from private data: features are centred by the means of public inputs and scaled by their mean length
to `LENGTH`, where the task brings any; else each sample by its own mean and length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lalora_kit.tasks import Inputs, Split, Task, load_task
from lalora_kit.tasks.heads.public import NOTE, note
from lalora_kit.tasks.padding import MASK

LINEAR, HOG = "linear", "linear-hog"
PIXELS, SHARP = 16, 32  # most pixels a side, of the pixels themselves and of what gradients are taken from
CELL = 4  # pixels a side of a histogram; all histograms of a picture are normalised together
BUCKETS = 2048
LENGTH = 8.0  # of a sample's features: what the default head's rate suits
IDS = "input_ids"


class LinearModel(nn.Module):
    """A head of zeros on features `(samples, n)` that are centred and scaled by fixed numbers."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, classes: int, mean: Tensor | None = None, length: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features) if mean is None else mean)
        self.register_buffer("scale", torch.tensor(LENGTH / length if length else 1.0))
        self.head = nn.Linear(features, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`(samples, n)` -> `(samples, classes)`."""
        return self.head((x - self.mean) * self.scale)


@dataclass(frozen=True)
class Buckets:
    """`Task.prepare` of hashed words: `places` and `values` `(samples, words)` to `x` `(samples, BUCKETS)`."""

    def __call__(self, inputs: Inputs) -> Inputs:
        """One number a bucket."""
        places, values = inputs["places"], inputs["values"]
        return {"x": values.new_zeros(len(values), BUCKETS).scatter_add_(1, places, values)}


def linear_views(task: Task) -> dict[str, Callable[[], Task]]:
    """The linear models that a task can be held against, by name; each is made when it is called."""
    found = {LINEAR: lambda: linear_task(task, hashed_words(task) if MASK in task.train.inputs else pixels)}
    if is_pictures(task.train.inputs) and min(sides(task.train.inputs)) >= CELL:
        found[HOG] = lambda: linear_task(task, gradients)
    return found


@lru_cache(maxsize=4)
def linear_of(task: str, name: str) -> Task | None:
    """The linear model `name` of a task of `TASKS`, kept for the next call; None if none is called so."""
    found = linear_views(load_task(task)).get(name) if name in (LINEAR, HOG) else None
    return None if found is None else found()


def linear_task(task: Task, view: Callable[[Inputs], Inputs]) -> Task:
    """`task` with `view`'s features for inputs and a linear model for a backbone.

    Samples, owners, units and the data set's name stay, so that a ledger adds it up with other runs on the same data.

    The features of a linear task are stored, float32: at most 3 kB a picture, but for its colours.
    """

    def seen(split: Split) -> Split:
        return Split(by_itself(view(split.inputs), task), split.labels, split.owners, split.units)

    train, test = seen(task.train), seen(task.test)
    prepare = Buckets() if "places" in train.inputs else None
    mean, length, notes = None, 0.0, {key: value for key, value in task.notes.items() if key != NOTE}
    if task.public is not None:
        seen_public = view(task.public)
        x = (seen_public if prepare is None else prepare(seen_public))["x"].double()
        mean, length = x.mean(0).float(), float((x - x.mean(0)).norm(dim=1).mean())
        notes[NOTE] = note(task.public, f"means, length {LENGTH:g}")
    features = BUCKETS if prepare else train.inputs["x"].shape[1]
    return dataclasses.replace(
        task, backbone=LinearModel(features, len(task.classes), mean, length), targets=(),
        head="head", train=train, test=test, prepare=prepare, public=None, statistics=None, notes=notes, source={},
        description=f"a linear model on {features} features of the inputs of {task.name}",
    )  # fmt: skip


def is_pictures(inputs: Mapping[str, Tensor]) -> bool:
    """One input `(samples, 1 or 3, height, width)`."""
    return len(inputs) == 1 and all(x.ndim == 4 and x.shape[1] in (1, 3) for x in inputs.values())


def sides(inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Height and width of pictures."""
    return tuple(next(iter(inputs.values())).shape[2:])


def by_itself(inputs: Inputs, task: Task) -> Inputs:
    """Pictures and words without public means: each sample less its own mean, and of one length."""
    if task.public is not None or not (is_pictures(task.train.inputs) or MASK in task.train.inputs):
        return inputs
    name = "values" if "values" in inputs else "x"
    x = inputs[name] if name == "values" else inputs[name] - inputs[name].mean(1, keepdim=True)
    return {**inputs, name: F.normalize(x, dim=1) * LENGTH}


def smaller(x: Tensor, most: int) -> Tensor:
    """Pictures `(samples, c, h, w)` as floats, averaged down to at most `most` a side; bytes to [0, 1]."""
    x = x.float().div(255) if x.dtype == torch.uint8 else x.float()
    side = (min(x.shape[2], most), min(x.shape[3], most))
    return x if x.shape[2:] == side else F.interpolate(x, side, mode="area")


def pixels(inputs: Inputs) -> Inputs:
    """`(samples, c·h·w)` of pictures, at most `PIXELS` a side; other inputs one after another, as they are."""
    if is_pictures(inputs):
        return {"x": torch.cat([smaller(part, PIXELS).flatten(1) for x in inputs.values() for part in x.split(1024)])}
    return {"x": torch.cat([x.float().flatten(1) for x in inputs.values()], dim=1)}


def gradients(inputs: Inputs) -> Inputs:
    """Histograms of oriented gradients `(samples, n)`, of pictures at most `SHARP` a side; colours by the strongest."""
    from skimage.feature import hog

    [x] = inputs.values()
    cells = tuple(min(side, SHARP) // CELL for side in x.shape[2:])
    size = {"pixels_per_cell": (CELL, CELL), "cells_per_block": cells, "channel_axis": 2}
    rows = [hog(picture.permute(1, 2, 0).numpy(), **size) for part in x.split(1024) for picture in smaller(part, SHARP)]
    return {"x": torch.from_numpy(np.stack(rows)).float()}


def token_words(tokens: Tensor, kept: Tensor) -> list[str]:
    """Texts whose words are token numbers, where nobody says what they stand for."""
    return [" ".join(f"token{n}" for n in row[used].tolist()) for row, used in zip(tokens, kept, strict=True)]


def hashed_words(task: Task) -> Callable[[Inputs], Inputs]:
    """A view of texts: their words by `Task.decode`, or, where there is none, their token numbers; hashed."""

    def view(inputs: Inputs) -> Inputs:
        from sklearn.feature_extraction.text import HashingVectorizer

        kept = inputs[MASK].bool()
        texts = token_words(inputs[IDS], kept) if task.decode is None else task.decode(inputs)
        found = HashingVectorizer(n_features=BUCKETS).transform(texts)
        most = max(kept.shape[1], int(np.diff(found.indptr).max()))
        places, values = np.zeros((len(texts), most), "int64"), np.zeros((len(texts), most), "float32")
        for row, (start, end) in enumerate(zip(found.indptr, found.indptr[1:], strict=False)):
            places[row, : end - start], values[row, : end - start] = found.indices[start:end], found.data[start:end]
        return {"places": torch.from_numpy(places), "values": torch.from_numpy(values)}

    return view
