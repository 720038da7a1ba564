"""Figures of lesson 09: the same run twice, bytes by kind, a replay on a naive site, and whose ledger says what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import ACCURACY, LOOKS, NEUTRAL, TEMPLATE, rounds_tick
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.records import Round

HERE, THERE, LIMIT = LOOKS["dp-lora"][0], LOOKS["la-lora"][0], LOOKS["ffa-lora"][0]
#: What travels in a round -> its colour; the order is that of the way.
KINDS = {"down: the model": HERE, "up: the noised upload": THERE, "facts beside them": NEUTRAL}


@dataclass(frozen=True)
class AcrossView:
    """What the panel shows.

    sites, simulator: records of the same rounds, over sites and in one process.
    rounds: how many there will be.
    apart: the largest difference between the two models so far; None before the first round.
    clients: number of sites.
    travels: bytes that a site and the server send each other in one round, by kind, in the order of `KINDS`.
    sigma: the noise multiplier of what goes up.
    stays: bytes of one site's samples.
    """

    sites: Sequence[Round]
    simulator: Sequence[Round]
    rounds: int
    apart: float | None
    clients: int
    travels: Mapping[str, int]
    sigma: float
    stays: int


def across_data(view: AcrossView) -> list[dict[str, Any]]:
    """What changes in the panel's traces: both curves, and a bar a kind and one for what stays."""
    curves = [
        {"x": [r.round for r in records], "y": [r.accuracy for r in records]}
        for records in (view.simulator, view.sites)
    ]
    kilo = [*(view.travels[kind] / 1000 for kind in KINDS), view.stays / 1000]
    text = [f"{value:,.0f} kB" if value >= 1 else f"{1000 * value:,.0f} B" for value in kilo]
    text[1] += f", σ {view.sigma:.2f}"
    names = [*KINDS, "stays: the samples"]
    return [*curves, *({"x": [v], "y": [n], "text": [t]} for v, n, t in zip(kilo, names, text, strict=True))]


ROUNDING = 1e-7  # two models that are further apart, entry by entry, are not one


def across_title(view: AcrossView) -> str:
    """How far simulator and sites are apart, or what a site sends."""
    if view.apart is None:
        sent = (view.travels["up: the noised upload"] + view.travels["facts beside them"]) / 1000
        return f"{view.clients} sites: each would send {sent:.0f} kB a round, and no sample"
    done = f"after {len(view.sites)} round{'s' * (len(view.sites) > 1)}"
    if view.apart == 0:
        return f"{view.clients} sites and one process, {done}: the same model, to the last bit"
    size = "which is rounding" if view.apart < ROUNDING else "which is more than rounding"
    return f"{view.clients} sites and one process, {done}: {view.apart:.1g} apart, {size}"


def across_figure(view: AcrossView) -> go.Figure:
    """Left: accuracy by round, simulated and over sites. Right: bytes of one site and round, by kind."""
    figure = make_subplots(1, 2, column_widths=[0.5, 0.5], horizontal_spacing=0.26)
    styles: list[dict[str, Any]] = [
        {"name": "in one process", "line": {"color": HERE, "width": 6},
         "marker": {"size": 13, "symbol": "square-open"}},
        {"name": "over sites", "line": {"color": THERE, "width": 2, "dash": "dot"},
         "marker": {"size": 8, "color": THERE}},
    ]  # fmt: skip
    data = across_data(view)
    for style, points in zip(styles, data[:2], strict=True):
        figure.add_trace(
            go.Scatter(mode="lines+markers", hovertemplate="round %{x}: %{y:.2%}", **style, **points), 1, 1
        )
    for colour, bar in zip([*KINDS.values(), LIMIT], data[2:], strict=True):
        drawn = go.Bar(orientation="h", marker_color=colour, showlegend=False, textposition="auto",
                       hovertemplate="%{y}: %{text}<extra></extra>", **bar)  # fmt: skip
        figure.add_trace(drawn, 1, 2)
    figure.update_layout(template=TEMPLATE, title_text=across_title(view), height=420)
    figure.update_xaxes(title_text="round", range=[0, view.rounds + 0.5], dtick=rounds_tick(view.rounds), col=1)
    figure.update_yaxes(title_text=ACCURACY, range=[0, 1], tickformat=".0%", col=1)
    figure.update_xaxes(title_text="kB of one site, in one round", rangemode="tozero", col=2)
    figure.update_yaxes(autorange="reversed", col=2)
    return figure


def replay_figure(
    truth: Sequence[float], answer: Sequence[float], difference: Sequence[float], title: str
) -> go.Figure:
    """Entries of a gradient: as they are, against one noised answer (left) and the difference of two (right)."""
    figure = make_subplots(1, 2, horizontal_spacing=0.16, subplot_titles=("one answer", "two answers, subtracted"))
    ends = [min(truth), max(truth)]
    for column, (read, colour) in enumerate(((answer, HERE), (difference, THERE)), start=1):
        line = go.Scatter(x=ends, y=ends, mode="lines", line={"color": NEUTRAL, "dash": "dot"}, hoverinfo="skip")
        dots = go.Scatter(
            x=list(truth), y=list(read), mode="markers", marker={"color": colour, "size": 5, "opacity": 0.6},
            hovertemplate="true %{x:.4f}, read %{y:.4f}<extra></extra>",
        )  # fmt: skip
        figure.add_trace(dots, 1, column).add_trace(line, 1, column)
    figure.update_layout(template=TEMPLATE, title_text=title, showlegend=False, margin={"t": 80, "b": 70}, height=400)
    figure.update_xaxes(title_text="the gradient's entry, as it is", nticks=6)
    figure.update_yaxes(title_text="what the server reads", nticks=6)
    return figure


def ledgers_figure(ledgers: Mapping[str, Sequence[float]], sites: Sequence[str], title: str) -> go.Figure:
    """ε of each site (a group of bars) as each ledger has it, from `{whose ledger: one ε a site}`."""
    figure = go.Figure()
    looks = zip(ledgers.items(), (THERE, LIMIT, HERE, LOOKS["dp-lora-filter"][0]), ("", "/", "", "x"), strict=False)
    for (name, values), colour, shape in looks:
        figure.add_trace(
            go.Bar(
                x=list(sites), y=list(values), name=name, text=[epsilon_text(value) for value in values],
                marker={"color": colour, "pattern_shape": shape}, textposition="outside", cliponaxis=False,
                hovertemplate="%{x}, " + name + ": ε = %{y:.3f}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_layout(template=TEMPLATE, title_text=title, barmode="group", height=420, legend_traceorder="normal")
    figure.update_xaxes(title_text="site")
    figure.update_yaxes(title_text="ε", rangemode="tozero")
    return figure
