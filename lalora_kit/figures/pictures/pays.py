"""Who pays: owners in groups by how much they brought, each group's accuracy without noise and with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lalora_kit.figures.pictures.frame import Picture, tag
from lalora_kit.lessons.lesson import epsilon_text

WIDE, ROW, TOP, LEFT, RIGHT = 430, 74, 62, 124, 400  # units; the axis lies between LEFT and RIGHT
CLEAR, NOISY, PAPER = "#0072B2", "#D55E00", "#f4ecd8"
STACK = 9  # sheets that the largest group's pile has


def pays_picture(
    sizes: Sequence[tuple[int, int]], clear: Sequence[float], noisy: Sequence[float], epsilon: float, title: str
) -> Picture:
    """A row a group of owners: a pile of sheets as high as what they bring, and an arrow from `clear` to `noisy`.

    Args:
        sizes: least and most training samples of an owner, by group.
        clear, noisy: accuracy without noise and with that of ε, by group.
        title: what was found.
    """
    low, high = scale_of([*clear, *noisy])
    height = TOP + ROW * len(sizes) + 40
    most = np.sqrt(max(b for _, b in sizes))
    body = [legend(epsilon), axis(low, high, height - 34)]
    for place, ((a, b), before, after) in enumerate(zip(sizes, clear, noisy, strict=True)):
        y = TOP + ROW * place + ROW // 2
        sheets = max(1, round(STACK * np.sqrt(b) / most))
        body += [pile(12, y + 22, sheets), arrow(x_of(before, low, high), x_of(after, low, high), y)]
        said = f"{'lost' if before >= after else 'gained'} {abs(100 * (before - after)):.1f}"
        body.append(tag("text", said, x=float(x_of((before + after) / 2, low, high)), y=y - 15, text_anchor="middle",
                        font_weight="bold"))  # fmt: skip
        body.append(tag("text", f"{a} to {b}", x=50, y=y + 5))
    told = "; ".join(
        f"owners of {a} to {b} sentences: {before:.1%} without noise, {after:.1%} with it"
        for (a, b), before, after in zip(sizes, clear, noisy, strict=True)
    )
    return Picture(title, f"{title}. {told}.", WIDE, height, "".join(body))


def scale_of(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis in whole steps of five points that holds all values with some room."""
    return np.floor(20 * min(values) - 0.2) / 20, np.ceil(20 * max(values) + 0.2) / 20


def x_of(value: float, low: float, high: float) -> float:
    """Where an accuracy lies."""
    return LEFT + (RIGHT - LEFT) * (value - low) / (high - low)


def legend(epsilon: float) -> str:
    """What the marks mean."""
    return (
        tag("text", "sentences", x=12, y=20)
        + tag("text", "of an owner", x=12, y=38)
        + tag("circle", cx=LEFT + 6, cy=15, r=6, fill="white", stroke=CLEAR, stroke_width=3)
        + tag("text", "accuracy without noise", x=LEFT + 20, y=20)
        + tag("circle", cx=LEFT + 6, cy=37, r=7, fill=NOISY)
        + tag("text", f"with the noise of ε = {epsilon_text(epsilon)}", x=LEFT + 20, y=42)
    )


def axis(low: float, high: float, y: float) -> str:
    """Ticks every five points, with faint lines up."""
    drawn = [tag("line", x1=LEFT, y1=float(y), x2=RIGHT, y2=float(y), stroke="#444")]
    for value in np.arange(low, high + 1e-9, 0.05):
        x = float(x_of(value, low, high))
        drawn.append(tag("line", x1=x, y1=TOP, x2=x, y2=float(y), stroke="#e5e5e5"))
        drawn.append(tag("text", f"{value:.0%}", x=x, y=float(y + 20), text_anchor="middle"))
    return "".join(drawn)


def pile(x: float, foot: float, sheets: int) -> str:
    """A pile of sheets on `foot`."""
    return "".join(
        tag("rect", x=float(x), y=float(foot - 5 * place - 5), width=28, height=6, fill=PAPER, stroke="#777")
        for place in range(sheets)
    )


def arrow(start: float, end: float, y: float) -> str:
    """From the open mark without noise to the full one with it."""
    line = tag("line", x1=float(start), y1=float(y), x2=float(end), y2=float(y), stroke=NOISY, stroke_width=4)
    before = tag("circle", cx=float(start), cy=float(y), r=7, fill="white", stroke=CLEAR, stroke_width=3)
    return line + before + tag("circle", cx=float(end), cy=float(y), r=7, fill=NOISY)
