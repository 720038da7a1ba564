"""Public images for pretraining: printed characters, drawn from fonts that pip installs and then roughened.

No private sample is seen here. The fonts are those that matplotlib carries (DejaVu, STIX, Computer Modern);
Pillow draws them, once, into a small bank of clean bitmaps; `augment` turns draws from the bank into endless
varied images, as a scanner, a bad printer and a careless hand would.
"""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

#: Side of a clean bitmap in pixels, and of what the backbone sees.
BANK_SIDE, SIDE = 32, 16
LETTERS = string.ascii_uppercase + "abdefghnqrt"
DIGITS = string.digits
#: Fonts never seen in pretraining, one of each family and kind: they measure how well it generalises.
HELD_OUT_FONTS = ("DejaVuSansMono-Oblique", "DejaVuSerif-Bold", "STIXGeneralItalic", "cmss10")
TRAIN_FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralBolIta", "cmr10", "cmb10", "cmti10", "cmtt10"),
)


def draw(characters: str, fonts: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """White-on-black bitmaps `(fonts·characters, 1, 32, 32)` in [0, 1], and the index of each character."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    bitmaps = [_glyph(character, folder / f"{font}.ttf") for font in fonts for character in characters]
    images = torch.from_numpy(np.stack(bitmaps)).float().div(255).unsqueeze(1)
    return images, torch.arange(len(characters)).repeat(len(fonts))


def _glyph(character: str, font: Path) -> np.ndarray:
    """One character cut to its own ink, then scaled to 26 pixels of height or width and centred."""
    from PIL import Image, ImageDraw, ImageFont

    face = ImageFont.truetype(str(font), 64, layout_engine=ImageFont.Layout.BASIC)
    sheet = Image.new("L", (192, 192))
    ImageDraw.Draw(sheet).text((64, 48), character, fill=255, font=face)
    ink = sheet.crop(sheet.getbbox())
    scale = 26 / max(ink.size)
    ink = ink.resize([max(1, round(scale * length)) for length in ink.size], Image.Resampling.BOX)
    bitmap = Image.new("L", (BANK_SIDE, BANK_SIDE))
    bitmap.paste(ink, ((BANK_SIDE - ink.width) // 2, (BANK_SIDE - ink.height) // 2))
    return np.asarray(bitmap)


def augment(bitmaps: Tensor, generator: torch.Generator) -> Tensor:
    """Roughened images `(samples, 1, 16, 16)` in [0, 1]: affine, stroke, coarse pixels, contrast, noise."""
    images = _stroke(_affine(bitmaps, generator), generator)
    images = F.interpolate(images, (SIDE, SIDE), mode="area")
    coarse = F.interpolate(F.avg_pool2d(images, 2), (SIDE, SIDE), mode="bilinear")
    images = torch.where(_uniform(images, generator, 0, 1) < 0.5, coarse, images)
    images = images * _uniform(images, generator, 0.7, 1.3)
    noise = torch.randn(images.shape, generator=generator) * _uniform(images, generator, 0.0, 0.1)
    return (images + noise).clamp(0, 1)


def _uniform(images: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    """One draw per image, `(samples, 1, 1, 1)`, uniform between `low` and `high`."""
    return low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=generator)


def _affine(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate to 0.2 rad, shear to 0.2, stretch each axis by 0.8 to 1.25, shift by up to 1.6 of 32 pixels."""
    angle, shear = (_uniform(images, generator, -0.2, 0.2).flatten() for _ in range(2))
    stretch = torch.exp(torch.rand(len(images), 2, generator=generator) * 0.45 - 0.225)
    shift = torch.rand(len(images), 2, generator=generator) * 0.2 - 0.1
    cosine, sine = angle.cos(), angle.sin()
    columns = (
        torch.stack([cosine, sine], 1) * stretch[:, :1],
        torch.stack([shear * cosine - sine, shear * sine + cosine], 1) * stretch[:, 1:],
        shift,
    )
    theta = torch.stack(columns, 2)  # three (samples, 2) -> (samples, 2, 3): from output to input places
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _stroke(images: Tensor, generator: torch.Generator) -> Tensor:
    """A third of the images with thicker ink, a third with thinner ink."""
    choice = _uniform(images, generator, 0, 3)
    thick = F.max_pool2d(images, 3, 1, 1)
    thin = -F.max_pool2d(-images, 3, 1, 1)
    thin = torch.maximum(thin, 0.5 * images)  # hairlines fade but stay
    return torch.where(choice < 1, thick, torch.where(choice < 2, thin, images))
