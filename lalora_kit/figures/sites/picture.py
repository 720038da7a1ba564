"""A picture of a federation, from real numbers and real samples: what stays at a site, and what travels."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lalora_kit.figures.pictures.digits import png
from lalora_kit.figures.pictures.frame import Picture, tag
from lalora_kit.figures.sites.across import HERE, LIMIT, THERE

WIDE, HIGH, BOX, SHOWN = 440, 300, 214, 2  # of the drawing, and of a site's box; how many sites are drawn
TOP, FLOOR, SIDE, DIGITS = 62, 158, 58, 3  # the ways' two ends; the side of a sample, and how many are drawn
STYLE = (
    "<style>@keyframes site-message{0%,8%{transform:translate(0,0)}92%,100%{transform:translate(var(--x),var(--y))}}"
    ".site-message{animation:site-message 3s linear infinite}</style>"
)


@dataclass(frozen=True)
class Drawn:
    """A site as the picture shows it: name, how many samples it holds, some of them `(h, w)`, larger being lighter."""

    name: str
    size: int
    samples: Sequence[np.ndarray]


def federation(sites: Sequence[Drawn], down: int, up: int, title: str) -> Picture:
    """The server above, two of the sites below, and dots on the ways between them; of more sites the number is told.

    Args:
        sites: all of them.
        down, up: bytes that one site gets and sends in a round.
        title: what is to be seen.
    """
    rest = len(sites) - SHOWN
    more = f"and {rest} more {'sites' if rest > 1 else 'site'}" if rest > 0 else ""
    parts = [
        STYLE, box(WIDE / 2 - 130, 4, 260, 56, HERE), text(WIDE / 2, 27, "the server", bold=True),
        text(WIDE / 2, 48, "sees every upload, and no sample"),
        *(part for place, site in enumerate(sites[:SHOWN]) for part in drawn(place, site, down, up)),
        text(WIDE / 2, HIGH + 18, more),
    ]  # fmt: skip
    held = "; ".join(f"{site.name} keeps {site.size:,} samples" for site in sites)
    alt = f"{title}. A server and {len(sites)} sites: {down:,} bytes down and {up:,} bytes up a round and site. {held}."
    return Picture(title, alt, WIDE, HIGH + (26 if more else 0), "".join(parts))


def drawn(place: int, site: Drawn, down: int, up: int) -> list[str]:
    """One site's box, its samples, and its two ways."""
    left = 2 + place * (WIDE - BOX - 4)
    middle, side = left + BOX / 2, 2 * place - 1
    at, beside, anchor = WIDE / 2 + 70 * side, middle + 12 * side, "start" if place else "end"
    return [
        way(at - 9, TOP, middle - 9, FLOOR, HERE, 0.0), way(middle + 9, FLOOR, at + 9, TOP, THERE, 1.5),
        text(beside, 100, f"down: {down / 1000:.0f} kB", HERE, anchor),
        text(beside, 122, f"up: {up / 1000:.0f} kB", THERE, anchor),
        box(left, FLOOR + 2, BOX, 138, LIMIT), text(middle, FLOOR + 22, site.name, bold=True),
        *(tag("image", href=png(sample), x=left + 12 + 66 * i, y=FLOOR + 30, width=SIDE, height=SIDE)
          for i, sample in enumerate(site.samples[:DIGITS])),
        text(middle, FLOOR + 106, f"{site.size:,} samples, the ledger of ε"),
        text(middle, FLOOR + 127, "and the noise's secret stay"),
    ]  # fmt: skip


def way(x1: float, y1: float, x2: float, y2: float, colour: str, late: float) -> str:
    """A line with a dot that runs along it every three seconds, the first time after `late`."""
    moves = f"--x:{x2 - x1:.0f}px;--y:{y2 - y1:.0f}px;animation-delay:{late:g}s"
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour, stroke_width=2.5) + tag(
        "circle", cx=x1, cy=y1, r=6, fill=colour, class_="site-message moves", style=moves
    )


def box(x: float, y: float, w: float, h: float, colour: str) -> str:
    """A rectangle with a coloured edge."""
    return tag("rect", x=x, y=y, width=w, height=h, rx=8, fill="#fff", stroke=colour, stroke_width=3)


def text(x: float, y: float, said: str, colour: str = "#222", anchor: str = "middle", bold: bool = False) -> str:
    """A line of text."""
    look = {"fill": colour, "text_anchor": anchor, "font_weight": "bold" if bold else "normal"}
    return tag("text", html.escape(said), x=x, y=y, **look)
