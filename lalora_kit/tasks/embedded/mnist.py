"""Data of a task `mnist`: real handwriting, photographed by a simulated camera, and print in the same view.

The private side is 10,000 digits of MNIST (LeCun, Cortes and Burges; CC BY-SA 3.0); that a camera took them askew and
in poor light is made up here, once and for all (`lalora_kit.tasks.embedded.camera`). Every fifth is a public test
image; who wrote a digit is not known, so one hand may be on both sides. The public side is printed letters and digits
of open fonts in the same view, by which features can be standardised.
"""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
import torch
from torch import Tensor

from lalora_kit.tasks import Inputs, Split
from lalora_kit.tasks.embedded.camera import photograph, upright
from lalora_kit.tasks.embedded.digits import normalise

#: The split is a fact of the task, not of a run: every fifth image of the file, from the fifth on, is for testing.
FIFTH = 5
#: Seeds of the camera: facts of the task too.
PRIVATE_SHOTS, PUBLIC_SHOTS = 20260301, 20260311
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def stored(name: str) -> dict[str, np.ndarray]:
    """The arrays of a shipped file."""
    with as_file(files("lalora_kit.tasks.assets") / name) as path, np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


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
