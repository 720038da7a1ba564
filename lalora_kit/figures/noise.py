"""Figures of noise amplification: energies in, a plotly figure out. Colours here mean terms, not methods.

The picture to remember: noise per entry against the size of the disturbance of W, both logarithmic. Noise on one
factor has slope 1, noise on both has slope 2, and so crosses whatever has slope 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from lalora_kit.figures.common import NEUTRAL, TEMPLATE, look, rounds_tick
from lalora_kit.lessons.amplification import NoiseEnergy, SampledNoise

#: term -> (label, colour, dash, width)
TERMS: dict[str, tuple[str, str, str, float]] = {
    "from_A": ("B·N_A", "#888888", "dot", 2.0),
    "from_B": ("N_B·A", "#888888", "dash", 2.0),
    "cross": ("N_B·N_A", "#882255", "solid", 3.0),
    "total": ("all three", "#222222", "longdash", 1.5),
    "full": ("noise on the full model", "#222222", "dashdot", 1.5),
}
AVERAGES = {"factors": ("factors averaged", "solid", "circle"), "products": ("products averaged", "dash", "square")}
SIZE = "disturbance of W (norm)"
LOG = {"type": "log", "dtick": 1, "exponentformat": "power", "tickfont": {"size": 12}}
PER_ENTRY = "noise per entry (log scale)"

Curve = Sequence[tuple[float, NoiseEnergy]]


def disturbance_figure(
    curve: Curve,
    title: str,
    *,
    crossing: float = math.nan,
    sampled: Sequence[tuple[float, SampledNoise]] = (),
    marks: Mapping[str, tuple[float, float]] | None = None,
) -> go.Figure:
    """Lines of the closed forms over noise per entry, Monte Carlo dots on them, τ* and named marks `(x, size)`."""
    figure = go.Figure([go.Scatter(**data, **line(term)) for term, data in curves(curve).items()])
    for term, data in curves([(x, dots.mean) for x, dots in sampled]).items() if sampled else ():
        marker = {"color": TERMS[term][1], "size": 7, "symbol": "circle-open", "line": {"width": 1.5}}
        figure.add_trace(go.Scatter(**{**data, "name": "simulated"}, mode="markers", marker=marker, showlegend=False))
    for name, (x, y) in (marks or {}).items():
        figure.add_trace(go.Scatter(x=[x], y=[y], name=name, mode="markers", marker=mark(name)))
    if math.isfinite(crossing):
        figure.add_vline(crossing, line={"dash": "dot", "color": NEUTRAL})
        place = {"x": math.log10(crossing), "y": 0.02, "yref": "paper"}  # a log axis takes logarithms here
        figure.add_annotation(text=f"crossing, {crossing:.2g}", xanchor="left", showarrow=False, **place)
    figure.update_layout(template=TEMPLATE, title_text=typeset(title), height=460)
    figure.update_xaxes(title_text=PER_ENTRY, type="log", dtick=1)
    figure.update_yaxes(title_text=SIZE, **LOG)
    return figure


def typeset(text: str) -> str:
    """N_A and N_B with their letters as subscripts, as plotly draws them."""
    return re.sub(r"N_([AB])", r"N<sub>\1</sub>", text)


def curves(curve: Curve) -> dict[str, dict[str, Any]]:
    """x, y and name of each term's trace; what is exactly zero has no place on a log axis."""
    traces = {}
    for term, (label, *_) in TERMS.items():
        points = [(x, getattr(energy.sizes, term)) for x, energy in curve]
        shown = [(x, y) for x, y in points if y > 0]
        traces[term] = {"x": [x for x, _ in shown], "y": [y for _, y in shown], "name": typeset(label)}
    return traces


def line(term: str) -> dict[str, Any]:
    """Look of a term's line."""
    _, colour, dash, width = TERMS[term]
    style = {"color": colour, "dash": dash, "width": width}
    return {"mode": "lines", "line": style, "hovertemplate": "noise %{x:.3g}: %{y:.3g}"}


def mark(name: str) -> dict[str, Any]:
    """Marker of a place on the curve: hollow after one step, filled after the run."""
    return {"size": 13, "color": TERMS["cross"][1], "symbol": "circle-open" if "step" in name else "circle"}


def growth_figure(sizes: Mapping[str, Sequence[float]], title: str) -> go.Figure:
    """Size of N_B·N_A in the averaged model after each round, a line a method; linear axes, so that none is seen."""
    figure = go.Figure(
        [
            go.Scatter(
                x=list(range(1, len(values) + 1)), y=list(values), name=method, mode="lines+markers",
                hovertemplate="round %{x}: %{y:.3g}", **look(method),
            )
            for method, values in sizes.items()
        ]
    )  # fmt: skip
    figure.update_layout(template=TEMPLATE, title_text=typeset(title))
    figure.update_xaxes(title_text="round", rangemode="tozero", dtick=rounds_tick(max(map(len, sizes.values()))))
    figure.update_yaxes(title_text=typeset("size of N_B·N_A in the average"), rangemode="tozero")
    return figure


def averaging_figure(
    expected: Mapping[str, Sequence[tuple[int, float]]], sampled: Mapping[str, Sequence[tuple[int, float]]], title: str
) -> go.Figure:
    """Size of N_B·N_A by number of clients, for factors and for products averaged, with Monte Carlo dots."""
    figure = go.Figure()
    for average, (label, dash, symbol) in AVERAGES.items():
        colour = TERMS["cross"][1]
        x, y = zip(*expected[average], strict=True)
        figure.add_trace(go.Scatter(x=x, y=y, name=label, mode="lines", line={"color": colour, "dash": dash}))
        x, y = zip(*sampled[average], strict=True)
        marker = {"color": colour, "symbol": f"{symbol}-open", "size": 9}
        figure.add_trace(go.Scatter(x=x, y=y, name=f"{label}, simulated", mode="markers", marker=marker))
    figure.update_layout(template=TEMPLATE, title_text=typeset(title))
    counts = sorted({n for n, _ in expected["factors"]})
    ticks = {"tickmode": "array", "tickvals": counts, "ticktext": [str(n) for n in counts]}
    figure.update_xaxes(title_text="clients N (log scale)", type="log", **ticks)
    figure.update_yaxes(title_text=typeset("size of N_B·N_A"), **LOG)
    return figure
