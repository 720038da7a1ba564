"""The rectangle with its corner: what a step on both factors was promised, and what neither gradient knew of.

A's typical number is the rectangle's width and B's its height, so that areas are typical sizes of products. Beside it,
the same two moves one after the other: the second strip spans the whole height, and no corner is left.
"""

from __future__ import annotations

from dataclasses import dataclass

from lalora_kit.figures.pictures.frame import Picture, tag

WIDTH, HEIGHT, SIDE, FLOOR = 640, 384, 240, 300  # of the picture; of a rectangle's room, and its lower edge
FILLS = {"now": "#d9d9d9", "promised": "#a6cbe3", "corner": "#c0392b"}
WAYS = {"together": "#0072B2", "in turn": "#D55E00"}
STYLE = (
    "<style>@keyframes corner-comes{0%,45%{opacity:0}60%,100%{opacity:1}}"
    "@keyframes strip-comes{0%,12%{opacity:0}30%,100%{opacity:1}}"
    "@keyframes way-goes{0%,10%{stroke-dashoffset:1}55%,100%{stroke-dashoffset:0}}"
    ".corner-comes{animation:corner-comes 6s infinite}.strip-comes{animation:strip-comes 6s infinite}"
    ".way-goes{animation:way-goes 6s infinite}</style>"
)


@dataclass(frozen=True)
class Sides:
    """Typical sizes (root mean square over all layers): of the numbers in A and B, and of their changes in a step."""

    A: float
    B: float
    dA: float
    dB: float

    @property
    def corner(self) -> float:
        """The corner over the larger of the two strips."""
        return self.dA * self.dB / max(self.B * self.dA, self.A * self.dB)


def corner_picture(together: Sides, turn: float, title: str, under: tuple[str, str] = ("", "")) -> Picture:
    """Both ways from W to W + ΔW.

    Args:
        together: the sides of a step on both factors.
        turn: size of A's change where its gradient is asked for anew, after B has moved.
        title: the finding.
        under: a line below each rectangle.
    """
    unit = SIDE / max(together.A + max(together.dA, turn), together.B + together.dB)
    left = half(48, unit, together, together.dA, "together", under[0])
    right = half(WIDTH // 2 + 44, unit, together, turn, "in turn", under[1])
    alt = (
        f"Two rectangles, as wide as A's typical number, {together.A:.2g}, and as high as B's, {together.B:.2g}. "
        f"Left, both move at once, by {together.dA:.2g} and {together.dB:.2g}: two strips, and a corner of "
        f"{together.corner:.0%} of the larger strip. Right, B moves first, then A by {turn:.2g}: two strips, no corner."
    )
    return Picture(title, alt, WIDTH, HEIGHT, STYLE + left + right)


def half(x: float, unit: float, sides: Sides, dA: float, way: str, under: str) -> str:
    """One rectangle with its strips, its way from corner to corner, and its words."""
    a, b, da, db = (unit * value for value in (sides.A, sides.B, dA, sides.dB))
    turns = way == "in turn"
    top = box(x, b, a, db, "promised", "strip-comes")
    side = box(x + a, 0, da, b + db * turns, "promised", "strip-comes")
    corner = "" if turns else box(x + a, b, da, db, "corner", "corner-comes")
    start, end = (x + a, FLOOR - b), (x + a + da, FLOOR - b - db)
    knee = [(start[0], end[1])] if turns else []
    words = label(x + a / 2, b / 2, "B·A") + label(x + a / 2, b + db / 2, "ΔB·A")
    words += label(x + a + da / 2, (b + db * turns) / 2, "(B+ΔB)·ΔA" if turns else "B·ΔA")
    words += "" if turns else label(x + a + 0.62 * da, b + 0.2 * db, "ΔB·ΔA", "#fff", "corner-comes moves")
    head = tag("text", way, x=x, y=FLOOR - SIDE - 26.0, font_size=24, font_weight="bold", fill=WAYS[way])
    foot = tag("text", under, x=x, y=FLOOR + 62, font_size=20)
    axes = tag("text", "width: A, ΔA", x=x, y=FLOOR + 30, font_size=19, fill="#444")
    axes += tag(
        "text", "height: B, ΔB", transform=f"translate({x - 12} {FLOOR}) rotate(-90)", font_size=19, fill="#444"
    )
    return head + box(x, 0, a, b, "now") + side + top + corner + route([start, *knee, end], way) + words + axes + foot


def box(x: float, y: float, width: float, height: float, kind: str, moves: str = "") -> str:
    """A rectangle that stands `y` above the floor; the corner has a dark rim, so that it stands out in grey too."""
    rim = {"stroke": "#222", "stroke_width": 3} if kind == "corner" else {"stroke": "#fff", "stroke_width": 2}
    place = {"x": float(x), "y": float(FLOOR - y - height), "width": float(width), "height": float(height)}
    return tag("rect", **place, **rim, fill=FILLS[kind], class_=f"{moves} moves".strip())


def label(x: float, y: float, words: str, fill: str = "#111", moves: str = "") -> str:
    """Words in the middle of an area."""
    return tag(
        "text", words, x=float(x), y=float(FLOOR - y + 6), text_anchor="middle", font_size=19, fill=fill, class_=moves
    )


def route(points: list[tuple[float, float]], way: str) -> str:
    """The way from start to end, drawn along its length."""
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        tag("circle", cx=float(x), cy=float(y), r=6, fill=fill, stroke="#111", stroke_width=2)
        for (x, y), fill in ((points[0], "#fff"), (points[-1], "#111"))
    )
    look = {"fill": "none", "stroke": "#111", "stroke_width": 4, "pathLength": 1, "stroke_dasharray": 1}
    return tag("polyline", points=line, **look, class_="way-goes moves") + dots
