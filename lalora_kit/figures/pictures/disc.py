"""Clip and noise as vectors in a disc: a batch of gradients, the same clipped to C, and their noised sum.

Everything is projected on one plane. It holds one sample's gradient whole, and of the others as much as a plane can; in
a plane, lengths can only shrink, so what is clipped to C stays in the disc, and noise of σC an entry is noise of σC an
axis.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lalora_kit.figures.pictures.frame import Picture, tag

SIDE, HALF, FIT = 240, 120, 104  # units: a picture's side, its half, and the radius that things are fitted into
DRAWS = 70  # noised sums that are shown with the sample, and as many without
ONE, OTHERS, DISC, DOTS = "#D55E00", "#0072B2", "#ececec", "#5c5c5c"
MOVE = (
    "<style>@keyframes lalora-clip{0%,12%{transform:scale(var(--was))}55%,100%{transform:scale(1)}}"
    "svg.picture .clips{animation:lalora-clip 4s ease-in-out 3}</style>"
)


@dataclass(frozen=True)
class Row:
    """Pictures side by side, below each other where the page is narrow; each one's title stands below it."""

    title: str
    pictures: Sequence[Picture]

    def _repr_html_(self) -> str:
        title = f"<figcaption style='font-weight:600'>{html.escape(self.title)}</figcaption>"
        cells = "".join(
            f"<div style='flex:1 1 220px;max-width:300px'>{one.svg()}<div>{html.escape(one.title)}</div></div>"
            for one in self.pictures
        )
        row = f"<div style='display:flex;flex-wrap:wrap;gap:1em'>{cells}</div>"
        return f"<figure class='picture' style='margin:1em 0'>{title}{row}</figure>"


@dataclass(frozen=True)
class Projected:
    """One batch in its plane, in units of C.

    before, after: `(samples, 2)` gradients before and after the clip. lengths: `(samples,)` before it, in the whole
    space. one: the sample whose gradient lies in the plane whole.
    """

    before: np.ndarray
    after: np.ndarray
    lengths: np.ndarray
    one: int

    @property
    def shortened(self) -> int:
        """How many gradients are longer than C."""
        return int((self.lengths > 1).sum())


def projected(gradients: ArrayLike, clip_norm: float, one: int | None = None) -> Projected:
    """A batch's gradients `(samples, d)` and their clips in a plane, in units of C.

    The first axis lies along the gradient of `one` (None: the longest), the second along most of what the others,
    clipped, have beside it.

    Raises:
        ValueError: with fewer than two samples, or where the gradient of `one` is zero: it has no direction.
    """
    raw = np.asarray(gradients, dtype=float) / clip_norm
    if raw.ndim != 2 or len(raw) < 2:
        raise ValueError(f"gradients of shape {raw.shape}: a picture of a batch needs (samples, d) with two samples")
    lengths = np.linalg.norm(raw, axis=1)
    chosen = int(lengths.argmax()) if one is None else one
    if not lengths[chosen]:
        raise ValueError(f"gradients[{chosen}] is zero: it has no direction to look along; choose another sample")
    clipped = raw / np.maximum(lengths, 1.0)[:, None]
    first = raw[chosen] / lengths[chosen]
    beside = clipped - np.outer(clipped @ first, first)
    second = np.linalg.svd(beside, full_matrices=False)[2][0] if beside.any() else np.zeros_like(first)
    plane = np.stack([first, second], axis=1)  # (d, 2)
    return Projected(raw @ plane, clipped @ plane, lengths, chosen)


def disc(
    gradients: ArrayLike, clip_norm: float, noise_multiplier: float, *, one: int | None = None, seed: int = 0,
    title: str = "",
) -> Row:  # fmt: skip
    """Three pictures: gradients as they are, clipped to the disc of radius C, and their noised sums.

    Args:
        gradients: `(samples, d)`, flat over all that trains, before any clip. Not private: for data of a lesson.
        clip_norm, noise_multiplier: C and σ.
        one: the sample to follow; None takes the one with the longest gradient.
        seed: of the noise that is drawn for the picture.
        title: of the row; empty tells what was found.
    """
    batch, count = projected(gradients, clip_norm, one), len(np.asarray(gradients))
    found = f"{batch.shortened} of {count} gradients are longer than C: clipping shortens them, then noise hides each"
    longest = f"{batch.lengths.max():.3g} C"
    said = (
        f"1. {count} gradients, one a sample: the longest is {longest}.",
        "2. Each is shortened to C, the disc: nobody counts for more.",
        f"3. The sum, noised with σ = {noise_multiplier:.3g}: dots with the orange sample, squares without it.",
    )
    drawn = as_they_are(batch), clipped(batch), noised(batch, noise_multiplier, np.random.default_rng(seed))
    return Row(title or found, [Picture(told, told, SIDE, SIDE, body) for told, body in zip(said, drawn, strict=True)])


def circle(x: float, y: float, radius: float) -> str:
    """A disc; its rim is dashed, so that it shows in grey print."""
    look = {"fill": DISC, "stroke": DOTS, "stroke_dasharray": "4 3"}
    return tag("circle", cx=float(x), cy=float(y), r=float(radius), **look)


def arrow(to: np.ndarray, scale: float, chosen: bool, was: float = 1.0) -> str:
    """An arrow from the middle; one that clipping shortens begins `was` times as long, where motion is wanted."""
    x, y = HALF + scale * to[0], HALF - scale * to[1]
    look = {"stroke": ONE if chosen else OTHERS, "stroke_width": "4" if chosen else "1.8", "stroke_linecap": "round"}
    line = tag("line", x1=HALF, y1=HALF, x2=float(x), y2=float(y), **look)
    head = tag("circle", cx=float(x), cy=float(y), r=5 if chosen else 2.6, fill=look["stroke"])
    if was <= 1:
        return line + head
    return tag("g", line, head, class_="moves clips", style=f"transform-origin:{HALF}px {HALF}px;--was:{was:.2f}")


def as_they_are(batch: Projected) -> str:
    """All gradients at one scale, the disc of radius C among them."""
    scale = FIT / max(1.0, float(np.linalg.norm(batch.before, axis=1).max()))
    return circle(HALF, HALF, scale) + arrows(batch, batch.before, scale, False)


def clipped(batch: Projected) -> str:
    """The clipped gradients, the disc as large as the picture."""
    return MOVE + circle(HALF, HALF, FIT) + arrows(batch, batch.after, FIT, True)


def arrows(batch: Projected, vectors: np.ndarray, scale: float, move: bool) -> str:
    """Arrows of all samples, the one to follow last, so that it lies on top."""
    order = sorted(range(len(vectors)), key=lambda place: place == batch.one)
    return "".join(arrow(vectors[j], scale, j == batch.one, float(batch.lengths[j]) if move else 1.0) for j in order)


def noised(batch: Projected, sigma: float, random: np.random.Generator) -> str:
    """Noised sums with and without the one sample, around the sum without; the disc of radius C is where it may be."""
    step = batch.after[batch.one]  # what the sample moves the sum by
    spread = random.standard_normal((2, DRAWS, 2)) * sigma
    scale = FIT / max(1.2, 2.6 * sigma + 0.5)
    middle = np.array([HALF, HALF]) - scale * step * [0.5, -0.5]  # half way between the two sums lies in the middle
    marks = [circle(float(middle[0]), float(middle[1]), scale)]
    for draws, offset, shape in ((spread[0], 0 * step, False), (spread[1], step, True)):
        for x, y in middle + scale * (draws + offset) * [1, -1]:
            marks.append(
                tag("circle", cx=float(x), cy=float(y), r=3, fill=ONE, fill_opacity="0.75")
                if shape
                else tag("rect", x=float(x) - 3, y=float(y) - 3, width=6, height=6, fill="none", stroke=DOTS)
            )
    end = middle + scale * step * [1, -1]
    marks.append(tag("line", x1=float(middle[0]), y1=float(middle[1]), x2=float(end[0]), y2=float(end[1]),
                     stroke="#000", stroke_width=3))  # fmt: skip
    return "".join(marks)
