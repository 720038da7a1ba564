"""Task `mnist`: real handwriting, photographed by a simulated camera, for a backbone that has only ever read print.

The private side is 10,000 digits of MNIST (LeCun, Cortes and Burges; CC BY-SA 3.0); that a camera took them askew and
in poor light is made up here, once and for all (`lalora_kit.tasks.embedded.camera`). Every fifth is a public test
image; who wrote a digit is not known, so one hand may be on both sides. The public side is printed letters and digits
of open fonts in the same view: features are standardised by it, and the printed digits among it name a class for each
photograph before anything is trained. `mnist-upright` leaves the camera out: there the head alone is enough.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lalora_kit.base.steps import step
from lalora_kit.tasks import Inputs, Split, Task
from lalora_kit.tasks.embedded.camera import photograph, upright
from lalora_kit.tasks.embedded.digits import normalise
from lalora_kit.tasks.embedded.swin_pico_32 import backbone, targets_of

#: The split is a fact of the task, not of a run: every fifth image of the file, from the fifth on, is for testing.
FIFTH = 5
#: Seeds of the camera: facts of the task too.
PRIVATE_SHOTS, PUBLIC_SHOTS = 20260301, 20260311
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def stored(name: str) -> dict[str, np.ndarray]:
    """The arrays of a shipped file."""
    with as_file(files("lalora_kit.tasks.assets.letters") / name) as path, np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


@step("photographing the digits")
def splits(photographed: bool = True) -> tuple[Split, Split]:
    """8,000 private training images and 2,000 public test images, `(n, 1, 32, 32)` in [-1, 1]."""
    arrays = stored("mnist10k.npz")
    shots = photograph(arrays["x"], PRIVATE_SHOTS) if photographed else upright(arrays["x"])
    whole = Split({"x": to_input(shots)}, torch.from_numpy(arrays["y"]))
    place = torch.arange(len(whole))
    tested = place % FIFTH == FIFTH - 1
    return whole.select(place[~tested]), whole.select(place[tested])


def printed(photographed: bool = True) -> tuple[Inputs, Tensor]:
    """Public inputs, printed characters of open fonts in the same view, and each one's place in `CHARACTERS`."""
    sheets = stored("printed.npz")["x"]  # (fonts, characters, 28, 28)
    fonts, characters = sheets.shape[:2]
    flat = sheets.reshape(-1, *sheets.shape[2:])
    shots = photograph(flat, PUBLIC_SHOTS) if photographed else upright(flat)
    return {"x": to_input(shots)}, torch.arange(characters).repeat(fonts)


def to_input(shots: np.ndarray) -> Tensor:
    """Bytes `(n, 32, 32)` as the backbone takes them, `(n, 1, 32, 32)`."""
    return normalise(torch.from_numpy(shots).unsqueeze(1).float() / 255)


def load(photographed: bool = True) -> Task:
    """The embedded vision task: the shipped backbone, LoRA on attention and MLPs, a fresh head of zeros."""
    train, test = splits(photographed)
    public, characters = printed(photographed)
    model = backbone(classes=10)
    view = "photographed by a simulated camera" if photographed else "as they are"
    return Task(
        name="mnist" if photographed else "mnist-upright",
        backbone=model,
        targets=targets_of(model),
        head="head.fc",
        train=train,
        test=test,
        classes=tuple("0123456789"),
        description=f"handwritten digits of MNIST, {view}; Swin-pico-32 learnt printed letters",
        public=public,
        guess=NearestMean(public["x"], characters),
    )


def load_upright() -> Task:
    """The same digits as MNIST has them, without the camera."""
    return load(photographed=False)


class NearestMean:
    """Names the printed digit whose mean feature is nearest, by cosine, once all features are standardised in public.

    `printed` `(n, 1, 32, 32)` are the public inputs, `characters` `(n,)` their places in `CHARACTERS`.
    """

    def __init__(self, printed: Tensor, characters: Tensor) -> None:
        self.printed, self.characters = printed, characters

    @torch.no_grad()
    def __call__(self, inputs: Inputs) -> Tensor:
        """Classes `(samples,)` of `x` `(samples, 1, 32, 32)`."""
        model = backbone(classes=10)
        known, asked = (self.features(model, x) for x in (self.printed, inputs["x"]))
        centre, spread = known.mean(0), known.std(0)
        return nearest((known - centre) / spread, self.characters, (asked - centre) / spread)

    @staticmethod
    def features(model: Any, x: Tensor) -> Tensor:
        """What the head sees, before any adapter: `(samples, features)`."""
        return torch.cat([model.forward_head(model.forward_features(part), pre_logits=True) for part in x.split(250)])


def nearest(known: Tensor, characters: Tensor, asked: Tensor) -> Tensor:
    """Digits `(m,)` whose means in `known` `(n, features)`, of `characters` `(n,)`, are nearest `asked` by cosine."""
    means = torch.stack([known[characters == digit].mean(0) for digit in range(10)])
    return (F.normalize(asked, dim=1) @ F.normalize(means, dim=1).T).argmax(1)
