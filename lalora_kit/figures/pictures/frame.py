"""What pictures are made of: an SVG with its words, a table with the row that matters marked, a figure's title as text.

A picture is inline SVG: it scales to a phone's width, holds links, and moves by CSS or SMIL without a kernel. Whoever
asks for less motion sees it still: put what moves by CSS into the class `moves`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from pandas.io.formats.style import Styler

STYLE = (
    "<style>svg.picture{max-width:100%;height:auto;font:14px Arial,Helvetica,sans-serif}"
    "svg.picture a text{fill:#0b5cad;text-decoration:underline}"
    "@media (prefers-reduced-motion: reduce){svg.picture .moves{animation:none !important}}</style>"
)
MARKED = "background-color: #fdf0d5; font-weight: 600"


@dataclass(frozen=True)
class Picture:
    """An SVG of `width` × `height` units, its title in a sentence, and `alt`, its words for who cannot see it."""

    title: str
    alt: str
    width: int
    height: int
    body: str

    def _repr_html_(self) -> str:
        title = f"<figcaption style='font-weight:600'>{html.escape(self.title)}</figcaption>"
        return f"<figure class='picture' style='margin:1em 0'>{title}{self.svg()}</figure>"

    def svg(self) -> str:
        """The drawing alone."""
        return (
            f"<svg class='picture' role='img' aria-label='{html.escape(self.alt, quote=True)}' xmlns="
            f"'http://www.w3.org/2000/svg' viewBox='0 0 {self.width} {self.height}' width='{self.width}'>"
            f"{STYLE}{self.body}</svg>"
        )


def tag(name: str, *inside: str, **attributes: Any) -> str:
    """One element of an SVG; `text_anchor` becomes `text-anchor`, `class_` becomes `class`.

    >>> tag("text", "Tom & I".replace("&", "&amp;"), x=1, text_anchor="middle")
    "<text x='1' text-anchor='middle'>Tom &amp; I</text>"
    """
    said = "".join(
        f" {key.rstrip('_').replace('_', '-')}='{html.escape(number(value), quote=True)}'"
        for key, value in attributes.items()
    )
    return f"<{name}{said}>{''.join(inside)}</{name}>"


def number(value: Any) -> str:
    """A number with two decimals at most; anything else as it is.

    >>> number(1.23456), number(2.0), number("red")
    ('1.23', '2', 'red')
    """
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def table(
    rows: Iterable[Mapping[str, Any]],
    *,
    caption: str = "",
    marked: Sequence[int] = (),
    formats: Mapping[str, str] | None = None,
) -> Styler:
    """Rows as a table without an index, `marked` ones (by place) in colour and bold; numbers to the right.

    Args:
        rows: one mapping a row, the columns in the order of the first.
        caption: what the table says, in a sentence.
        marked: places of the rows that matter.
        formats: a column's format, `{"ε": "{:.3g}"}`.
    """
    frame = pd.DataFrame(list(rows))
    numbers = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    styled = frame.style.hide(axis="index").format(dict(formats or {}), na_rep="–")
    styled = styled.set_properties(**{"text-align": "left"}).set_properties(subset=numbers, **{"text-align": "right"})
    places = set(marked)
    styled = styled.apply(lambda row: [MARKED if row.name in places else ""] * len(row), axis=1)
    return styled.set_caption(html.escape(caption)) if caption else styled


def alt(figure: go.Figure) -> str:
    """A figure's title as plain words."""
    return plain(figure.layout.title.text or "")


def plain(text: str) -> str:
    """Words without plotly's tags, in one line.

    >>> plain("Loss<br><sup>of one run</sup>")
    'Loss of one run'
    """
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())
