"""A picture of a federation, as SVG from real numbers and real samples: what stays at a site, and what travels."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lalora_kit.figures.sites.across import HERE, LIMIT, THERE

WIDE, HIGH, BOX, SHOWN = 760, 330, 340, 2  # of the drawing and of a site's box; how many sites are drawn
DOT = 5  # pixels of one of a sample's own


@dataclass(frozen=True)
class Drawn:
    """A site as the picture shows it: its name, how many samples it holds, and some of them `(h, w)`, 0 to 1."""

    name: str
    size: int
    samples: Sequence[np.ndarray]


def federation(sites: Sequence[Drawn], down: int, up: int) -> str:
    """The server above, two of the sites below, and dots on the ways between them; of more sites the number is told.

    Args:
        sites: all of them.
        down, up: bytes that one site gets and sends in a round.
    """
    more = f"and {len(sites) - SHOWN} sites more" if len(sites) > SHOWN else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" width="100%" style="max-width:{WIDE}px" '
        'font-family="Arial, Helvetica, sans-serif" font-size="15" fill="#222" role="img">',
        f"<title>A server and {len(sites)} sites: {down:,} bytes down and {up:,} bytes up in a round</title>",
        f'<rect width="{WIDE}" height="{HIGH}" fill="#fff"/>',
        box(230, 8, 300, 62, HERE), text(380, 34, "the server", bold=True),
        text(380, 57, "sees every upload, and no sample"),
        *(line for place, site in enumerate(sites[:SHOWN]) for line in drawn(place, site, down, up)),
        text(380, 322, more), "</svg>",
    ]  # fmt: skip
    return "".join(parts)


def drawn(place: int, site: Drawn, down: int, up: int) -> list[str]:
    """One site's box, its samples, and its two ways."""
    left = 20 + place * (WIDE - BOX - 40)
    middle, at, side = left + BOX // 2, 300 + 160 * place, 2 * place - 1
    beside, anchor = (at + middle) / 2 + side * 26, "start" if place else "end"
    return [
        *way((at - 12, 70), (middle - 12, 178), HERE, 0.0), *way((middle + 12, 178), (at + 12, 70), THERE, 1.5),
        text(beside, 118, f"down: the model, {down / 1000:.0f} kB", HERE, anchor),
        text(beside, 140, f"up: noised, {up / 1000:.0f} kB", THERE, anchor),
        box(left, 180, BOX, 124, LIMIT), text(middle, 202, site.name, bold=True),
        *(pixels(left + 33 + 78 * i, 210, sample) for i, sample in enumerate(site.samples[:4])),
        text(middle, 271, f"{site.size} samples, the secret of the noise"),
        text(middle, 292, "and the ledger of ε stay here"),
    ]  # fmt: skip


def way(start: tuple[int, int], end: tuple[int, int], colour: str, late: float) -> list[str]:
    """A line with a dot that runs along it for a minute, every three seconds, the first time after `late`."""
    line = f"M{start[0]} {start[1]} L{end[0]} {end[1]}"
    return [
        f'<path d="{line}" stroke="{colour}" stroke-width="2.5" fill="none"/>',
        f'<circle cx="{start[0]}" cy="{start[1]}" r="6" fill="{colour}"><animate attributeName="cx" dur="3s" '
        f'begin="{late}s" repeatCount="20" values="{start[0]};{end[0]}"/><animate attributeName="cy" dur="3s" '
        f'begin="{late}s" repeatCount="20" values="{start[1]};{end[1]}"/></circle>',
    ]


def box(x: int, y: int, w: int, h: int, colour: str) -> str:
    """A rectangle with a coloured edge."""
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="8" fill="#fff" stroke="{colour}" stroke-width="3"/>'


def text(x: float, y: float, said: str, colour: str = "#222", anchor: str = "middle", bold: bool = False) -> str:
    """A line of text."""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" text-anchor="{anchor}"{weight}>{html.escape(said)}</text>'


def pixels(x: int, y: int, sample: np.ndarray) -> str:
    """A small grey picture, its rows as runs of one shade."""
    cells = []
    for row, line in enumerate(np.clip(sample, 0, 1)):
        for column, value in enumerate(line):
            if value > 0.04:
                shade = 255 - round(255 * float(value))
                corner = f"M{x + DOT * column} {y + DOT * row}h{DOT}v{DOT}h-{DOT}z"
                cells.append(f'<path d="{corner}" fill="#{3 * f"{shade:02x}"}"/>')
    return "".join(cells)
