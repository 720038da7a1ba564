"""Pictures that models are to name, and what each model names them: right in plain, wrong in brackets and red."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from lalora_kit.figures.pictures.frame import Picture, tag

LEFT, SIDE, GAP, ROW = 130, 42, 4, 26
RIGHT_INK, WRONG_INK = "#222222", "#B00020"


def digits_picture(
    views: Mapping[str, np.ndarray], labels: Sequence[str], named: Mapping[str, Sequence[str]], title: str
) -> Picture:
    """A row of pictures for each view, and below them a row for each model.

    Args:
        views: name -> `(n, height, width)` in any range, larger being lighter.
        labels: the right name of each picture.
        named: model -> the name that it gives each picture.
    """
    parts, y = [], 0
    for name, pictures in views.items():
        parts.append(tag("text", name, x=0, y=y + SIDE / 2 + 5))
        for place, picture in enumerate(pictures):
            at = {"x": LEFT + place * (SIDE + GAP), "y": y, "width": SIDE, "height": SIDE}
            parts.append(tag("image", href=png(picture), **at))
        y += SIDE + 2 * GAP
    for name, guesses in named.items():
        y += ROW
        parts.append(tag("text", name, x=0, y=y - 8))
        parts += [guess_text(place, guess, labels[place], y - 8) for place, guess in enumerate(guesses)]
    width = LEFT + len(labels) * (SIDE + GAP)
    return Picture(title, words(labels, named), width, y + GAP, "".join(parts))


def guess_text(place: int, guess: str, label: str, y: float) -> str:
    """One model's name for one picture."""
    right = guess == label
    x = LEFT + place * (SIDE + GAP) + SIDE / 2
    look = {"fill": RIGHT_INK if right else WRONG_INK, "font_weight": "normal" if right else "bold"}
    return tag("text", guess if right else f"({guess})", x=x, y=y, text_anchor="middle", **look)


def png(picture: np.ndarray) -> str:
    """A picture `(height, width)` as the address of a PNG that holds it."""
    low, high = float(picture.min()), float(picture.max())
    bytes_ = np.round(255 * (picture - low) / ((high - low) or 1)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(bytes_).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def words(labels: Sequence[str], named: Mapping[str, Sequence[str]]) -> str:
    """The picture in words."""
    right = {name: sum(map(str.__eq__, guesses, labels)) for name, guesses in named.items()}
    told = [f"{name} names {count} of {len(labels)} rightly" for name, count in right.items()]
    return f"Pictures of {', '.join(labels)}. " + "; ".join(told) + "."
