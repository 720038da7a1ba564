"""LA-LoRA as an algorithm box: numbered lines, each a link to the function that does it. A page of HTML, not an SVG:
its lines break where a phone ends.

The functions' docstrings link back: "Line 4 of the algorithm in lesson 04."
"""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from lalora_kit.engine.adapters import average, create
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import Side
from lalora_kit.local import noised
from lalora_kit.methods.filter import binomial_smooth
from lalora_kit.methods.la_lora import alternate
from lalora_kit.methods.optimisers import Optimisers
from lalora_kit.privacy.mechanism import clipped_sum, poisson_draw

TITLE = "LA-LoRA: lines 4 and 8 are its own, all others are DP-LoRA's too"
ALT = "LA-LoRA in ten numbered lines, each a link to the function that does it"
SHADE = "#fdf0d5"
STYLE = (
    "<style>figure.algorithm{margin:1em 0;max-width:52em;border:1px solid #999;border-radius:4px;padding:.6em .8em}"
    "figure.algorithm .line{display:flex;gap:.6em;padding:.18em .3em;line-height:1.45}"
    "figure.algorithm .own{border-left:4px solid #D55E00;padding-left:.1em}"
    "figure.algorithm .n{min-width:1.4em;text-align:right;color:#555}</style>"
)


@dataclass(frozen=True)
class Line:
    """A line: how deep it stands, its words as HTML, what does it, and whether LA-LoRA alone has it."""

    depth: int
    says: str
    done_by: Callable[..., Any]
    own: bool = False


LINES = (
    Line(0, "The server draws <i>A</i> at random and sets <i>B</i> = 0, so the product <i>BA</i> is 0.", create),
    Line(0, "In every round, each client starts from the server’s <i>A</i> and <i>B</i>.", Side.local_round),
    Line(1, "In local step <i>k</i>, it draws each of its samples with probability <i>q</i>.", poisson_draw),
    Line(
        1, "If <i>k</i> is odd, the factor <i>F</i> that trains is <i>B</i>; if even, it is <i>A</i>.", alternate, True
    ),
    Line(
        1, "For each drawn sample <i>j</i>: <i>g<sub>j</sub></i> = gradient of its loss by <i>F</i>.", Engine.gradients
    ),
    Line(1, "Shorten every <i>g<sub>j</sub></i> to length <i>C</i> at most, and add them up.", clipped_sum),
    Line(1, "Add noise of standard deviation <i>σC</i>. Divide by the expected batch: <i>g</i>.", noised),
    Line(1, "Filter <i>g</i> along the long side of <i>F</i>, by [1 4 6 4 1] / 16.", binomial_smooth, True),
    Line(1, "<i>F</i> ← <i>F</i> − <i>η g</i>. The other factor stays.", Optimisers.apply),
    Line(0, "The server averages all clients’ <i>A</i>, and all their <i>B</i>.", average),
)


@dataclass(frozen=True)
class Box:
    """The algorithm as HTML; `alt` are its words for who cannot see it."""

    title: str = TITLE
    alt: str = ALT

    def _repr_html_(self) -> str:
        lines = "".join(drawn(number, line) for number, line in enumerate(LINES, start=1))
        caption = f"<figcaption style='font-weight:600'>{html.escape(self.title)}</figcaption>"
        return f"{STYLE}<figure class='algorithm' aria-label='{html.escape(self.alt)}'>{caption}{lines}</figure>"


def drawn(number: int, line: Line) -> str:
    """A numbered line, indented, a link on its number and on its function's name."""
    shade, there = (f";background:{SHADE}" if line.own else ""), html.escape(address(line.done_by), quote=True)
    name = html.escape(line.done_by.__qualname__)
    return (
        f"<div class='line{' own' if line.own else ''}' style='margin-left:{1.6 * line.depth:g}em{shade}'>"
        f"<a class='n' href='{there}'>{number}</a><span>{line.says} "
        f"<a href='{there}'><code>{name}</code></a></span></div>"
    )


def address(function: Callable[..., Any]) -> str:
    """Where a function stands in the repository, by the address that the installed package names."""
    source = Path(inspect.getsourcefile(function) or "")
    place = source.relative_to(Path(__file__).parents[3]).as_posix()
    return f"{repository()}/blob/HEAD/{place}#L{inspect.getsourcelines(function)[1]}"


def repository() -> str:
    """The repository's address, as the package's metadata holds it."""
    urls = metadata("lalora-kit").get_all("Project-URL") or []
    named = dict(url.split(", ", 1) for url in urls)
    return named["Repository"]
