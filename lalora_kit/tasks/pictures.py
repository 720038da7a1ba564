"""Pictures: files as bytes, and bytes made into a backbone's inputs in batches, on the device.

Nothing larger than those bytes is ever kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from lalora_kit.base.steps import step
from lalora_kit.tasks import Inputs
from lalora_kit.tasks.online import first_line

if TYPE_CHECKING:
    from PIL.Image import Image

BICUBIC = 3  # Pillow's number of it; it averages where it makes an image smaller
#: Formats whose first picture is the photo, by their own definition, and whose further ones are made from it: previews,
#: depth or gain maps (CIPA DC-007, Multi-Picture Format). Telephones write them as .jpg.
ONE_PHOTO = ("MPO",)


@dataclass(frozen=True)
class Pictures:
    """`Task.prepare` of images: bytes `(samples, 1 or 3, h, w)` to floats `(samples, 3, *size)`, each by itself.

    The whole picture is resized (no crop: these pictures are small and their edges count), as Pillow does it: with
    antialiasing, and kept within black and white. Then it is normalised by the public constants of the backbone's
    own pretraining.

    Attributes:
        size: height and width.
        mean, std: one a colour, of values in [0, 1].
        interpolation: "bicubic" or "bilinear"; timm's "random" becomes bilinear.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"

    def __call__(self, inputs: Inputs) -> Inputs:
        """`{"x": uint8}` to `{"x": float32}` on the same device."""
        x = inputs["x"]
        if x.dtype != torch.uint8 or x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(
                f"images are {x.dtype} of shape {tuple(x.shape)}; stored are bytes (samples, 1 or 3, height, width); "
                "convert them to uint8 in grey or RGB"
            )
        x = x.float().div_(255).expand(-1, 3, -1, -1)
        if x.shape[2:] != self.size:
            mode = "bicubic" if self.interpolation == "bicubic" else "bilinear"
            x = F.interpolate(x, self.size, mode=mode, antialias=True, align_corners=False).clamp_(0, 1)
        mean, std = (x.new_tensor(value).view(3, 1, 1) for value in (self.mean, self.std))
        return {"x": (x - mean) / std}


@step("reading the images")
def read_pictures(
    paths: Sequence[Path], places: Sequence[str], size: tuple[int, int], grey: bool, bad: list[str]
) -> Tensor:
    """Images as bytes `(images, 1 or 3, height, width)`, upright as their EXIF says, resized whole, without a crop.

    One that cannot be read stays black and is added to `bad`.
    """
    import numpy as np

    x = torch.zeros(len(paths), 1 if grey else 3, *size, dtype=torch.uint8)
    for row, (path, place) in enumerate(zip(paths, places, strict=True)):
        try:
            small = opened(path).convert("L" if grey else "RGB").resize(size[::-1], resample=BICUBIC)
        except Exception as error:  # Pillow has an error of its own for every way a file can be broken
            bad.append(f"{place} cannot be read as an image ({first_line(error)})")
            continue
        x[row] = torch.from_numpy(np.array(small)).view(*size, -1).permute(2, 0, 1)  # (h, w, c) -> (c, h, w)
    return x


def opened(path: Path) -> Image:
    """The one picture that a file holds, upright, on white where it is transparent.

    Raises:
        ValueError: where it holds several, more than 8 bits, or nothing that would be seen.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in ONE_PHOTO:
            raise ValueError(f"it holds {frames} pictures ({image.format}); save each as a file of its own")
        image.load()
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"its pixels have more than 8 bits ({image.mode}); scale it to 8 bits first")
        return on_white(ImageOps.exif_transpose(image))


def on_white(image: Image) -> Image:
    """A picture as it looks on white paper; `ValueError` if it then shows nothing, though it holds a shape.

    What lies under a transparent pixel is never seen, and often black.
    """
    from PIL import Image

    if not image.has_transparency_data:
        return image
    whole = image.convert("RGBA")
    if whole.getchannel("A").getextrema()[0] == 255:
        image.info.pop("transparency", None)
        return image
    paper = Image.new("RGBA", whole.size, "white")
    paper.alpha_composite(whole)
    if paper.convert("L").getextrema() == (255, 255):
        raise ValueError(
            "it is white, or nothing, on a transparent ground, so that on white paper nothing is seen; give it a ground"
        )
    return paper.convert("RGB")
