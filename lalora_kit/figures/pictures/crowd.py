"""In a crowd: the same few people are drawn from ever larger clients, and the noise that ε asks for shrinks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lalora_kit.figures.pictures.frame import Picture, tag

WIDE, SIDE, GAP, LEFT, BAR = 430, 118, 16, 128, 186  # units; SIDE is the largest crowd's square, BAR the longest bar
CROWD, DRAWN, NOISE = "#d9e3ee", "#D55E00", "#666666"


def crowd_picture(needed: Mapping[int, float], drawn: int, title: str, seed: int = 0) -> Picture:
    """A row a client: its people as a square, those of one local step as dots in it, and a bar as long as σ.

    Args:
        needed: people of a client -> its noise multiplier σ.
        drawn: people that a local step draws on average.
        title: what was found.
        seed: of where the dots lie.
    """
    random, largest, widest = np.random.default_rng(seed), max(needed), max(needed.values())
    body, y = (
        [tag("text", f"{drawn} of so many people", x=4, y=18), tag("text", "ask for noise σ", x=LEFT + 62, y=18)],
        32,
    )
    for people, sigma in needed.items():
        side = max(16.0, SIDE * (people / largest) ** 0.5)
        middle = y + side / 2
        body.append(tag("rect", x=4, y=float(y), width=side, height=side, fill=CROWD, stroke=NOISE))
        body += [
            tag("circle", cx=float(4 + side * a), cy=float(y + side * b), r=2.4, fill=DRAWN)
            for a, b in random.uniform(0.08, 0.92, (drawn, 2))
        ]
        body.append(tag("text", f"{people:,}", x=LEFT, y=float(middle + 5), font_weight="bold"))
        bar = BAR * sigma / widest
        body.append(tag("rect", x=LEFT + 62, y=float(middle - 8), width=float(bar), height=16, fill=NOISE))
        body.append(tag("text", f"{sigma:.2f}", x=float(LEFT + 68 + bar), y=float(middle + 5)))
        y += round(side) + GAP
    told = "; ".join(f"{people:,} people need σ = {sigma:.2f}" for people, sigma in needed.items())
    return Picture(title, f"{title}. {told}.", WIDE, y, "".join(body))
