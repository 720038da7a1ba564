"""A round, step by step: every client's path through its local steps, where the server goes, how far each came.

It plays by itself, over and over; still, it shows the whole round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lalora_kit.figures.pictures.frame import Picture, tag

if TYPE_CHECKING:
    from lalora_kit.lessons.oneround import OneRound

WIDTH, HEIGHT, TOP, LEFT, RIGHT, BOTTOM = 600, 380, 60, 50, 300, 20
BARS, LONGEST, ROW = 320, 160, 24  # where the bars of lengths begin, the longest one's, and from one to the next
SECONDS = 1.3  # for each local step, and for the average
INK = "#222222"
#: what trains -> (colour, dashes), told apart in grey print too
LOOKS = {"B": ("#D55E00", ""), "A": ("#0072B2", "6 4"), "AB": ("#7a4d9e", "2 3"), "": ("#888888", "1 4")}
WORDS = {"B": "B trains", "A": "A trains", "AB": "A and B train", "": "no factor trains"}
Point = tuple[float, float]


def round_picture(seen: OneRound, title: str) -> Picture:
    """The round as a picture that plays; `title` says what it shows."""
    steps = len(seen.factors)
    place = scaled([point for path in seen.paths for point in path] + [seen.average])
    parts = [style(steps), *banner(seen.factors)]
    for k, trained in enumerate(seen.factors):
        colour, dashes = LOOKS[trained]
        lines = [line(place(path[k]), place(path[k + 1]), colour, dashes) for path in seen.paths]
        parts.append(appearing("".join(lines), k, steps))
    parts.append(appearing(named([place(path[-1]) for path in seen.paths]), steps - 1, steps))
    parts.append(appearing(mean(place((0.0, 0.0)), place(seen.average)), steps, steps))
    parts += [server(place((0.0, 0.0))), *lengths(seen, steps)]
    return Picture(title, words(seen), WIDTH, HEIGHT, "".join(parts))


def scaled(points: Sequence[Point]) -> Callable[[Point], Point]:
    """A function from lengths to places in the picture, the same scale along both axes."""
    xs, ys = ([point[axis] for point in points] for axis in (0, 1))
    left, right, low, high = min(0.0, *xs), max(xs), min(0.0, *ys), max(0.0, *ys)
    scale = min((WIDTH - LEFT - RIGHT) / (right - left or 1), (HEIGHT - TOP - BOTTOM) / (high - low or 1))
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2

    def place(point: Point) -> Point:
        return LEFT + (point[0] - left) * scale, middle - (point[1] - (low + high) / 2) * scale

    return place


def style(steps: int) -> str:
    """When each part appears, as rules of CSS; the whole stays on show for two steps before it begins anew."""
    beats = steps + 3
    rules = [
        f"@keyframes round{steps}-{k}{{0%,{100 * k / beats:.1f}%{{opacity:0}}"
        f"{100 * (k + 0.4) / beats:.1f}%,97%{{opacity:1}}100%{{opacity:0}}}}"
        for k in range(steps + 1)
    ]
    return tag("style", "".join(rules))


def appearing(inside: str, k: int, steps: int) -> str:
    """A group that appears with local step `k`, counted from 0, or with the average after the last."""
    whole = (
        f"{SECONDS * (steps + 3):g}s linear {-SECONDS * (steps + 1):g}s infinite"  # it begins with the whole on show
    )
    lasts = f"animation:round{steps}-{k} {whole}"
    return tag("g", inside, class_="moves", style=lasts)


def banner(factors: Sequence[str]) -> list[str]:
    """The steps by name, in a row at the top; each lights up when it is played."""
    names = [*(f"{k}: {WORDS[trained]}" for k, trained in enumerate(factors, 1)), "average"]
    wide, found = (WIDTH - 20) / len(names), []
    for k, name in enumerate(names):
        x = 10 + k * wide
        colour = LOOKS[factors[k]][0] if k < len(factors) else INK
        lit = tag("rect", x=x + 2, y=30, width=wide - 4, height=4, fill=colour)
        found += [appearing(lit, k, len(factors)), tag("text", name, x=x + 2, y=24, fill=colour, font_size=14)]
    return found


def line(start: Point, end: Point, colour: str, dashes: str, width: float = 2.5) -> str:
    """A straight piece of a path."""
    (x1, y1), (x2, y2) = start, end
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return tag("line", **ends, stroke=colour, stroke_width=width, stroke_dasharray=dashes or "none")


def named(ends: Sequence[Point]) -> str:
    """Where each client ends, with its number; numbers keep apart where ends lie close."""
    drawn, lowest = "", -math.inf
    for (x, y), number in sorted(((end, n) for n, end in enumerate(ends, 1)), key=lambda one: one[0][1]):
        lowest = max(y + 5, lowest + 15)
        drawn += tag("circle", cx=x, cy=y, r=4, fill=INK)
        drawn += tag("text", str(number), x=x + 9, y=lowest, fill=INK)
    return drawn


def lengths(seen: OneRound, steps: int) -> list[str]:
    """How far each client came, and the average: bars to one scale, at most as many as there is room for."""
    room = (HEIGHT - TOP) // ROW - 3
    shown = list(enumerate(seen.lengths, 1))[:room]
    rows = [(f"client {number}", length, "#999999", steps - 1) for number, length in shown]
    rows.append(("average", seen.moved, INK, steps))
    found = [tag("text", "how far each moved", x=BARS, y=TOP + 14, fill=INK, font_weight="bold")]
    for row, (name, length, colour, k) in enumerate(rows, 1):
        y, wide = TOP + 14 + row * ROW, LONGEST * length / max(seen.lengths)
        bar = tag("rect", x=BARS + 64, y=y - 13, width=wide, height=16, fill=colour)
        text = tag("text", name, x=BARS, y=y, fill=INK) + tag(
            "text", f"{length:.2f}", x=BARS + wide + 70, y=y, fill=INK
        )
        found.append(appearing(bar + text, k, steps))
    if len(shown) < len(seen.lengths):
        left = f"and {len(seen.lengths) - len(shown)} more clients"
        found.append(tag("text", left, x=BARS, y=TOP + 14 + (len(rows) + 1) * ROW, fill=INK))
    return found


def server(start: Point) -> str:
    """Where all begin."""
    x, y = start
    drawn = tag("rect", x=x - 6, y=y - 6, width=12, height=12, fill=INK)
    return drawn + tag("text", "server", x=x - 42, y=y + 24, fill=INK)


def mean(start: Point, end: Point) -> str:
    """The server's move to the average."""
    x, y = end
    arrow = line(start, end, INK, "", 4) + tag("circle", cx=x, cy=y, r=8, fill="white", stroke=INK, stroke_width=4)
    return arrow + tag("text", "average", x=x + 14, y=y + 5, fill=INK, font_weight="bold")


def words(seen: OneRound) -> str:
    """The picture in words."""
    trained = ", then ".join(WORDS[one] for one in seen.factors)
    lengths = ", ".join(f"{length:.2f}" for length in seen.lengths)
    return (
        f"{len(seen.paths)} clients start from the server's model. In each client {trained}. They end "
        f"{lengths} away from the start, each in another direction. The average of their ends, where the server goes, "
        f"is {seen.moved:.2f} away."
    )
