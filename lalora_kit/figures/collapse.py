"""Where each method breaks down: accuracy against the adapter's rate, a picture for each ε and rank.

Lines are means over seeds with all of them as a band; the baselines, which have no such rate, lie across.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import ACCURACY, NEUTRAL, TEMPLATE, Line, band, edge, look, seeds

Lines = Mapping[tuple[float, int], Mapping[str, Line]]  # (ε, rank) -> method -> rate -> accuracies
Baselines = Mapping[float, Mapping[str, Sequence[float]]]  # ε -> name -> accuracies
#: dashes of the lines across, told apart in grey print too
DASHES = {"head-only": "dot", "linear": "dash", "linear-hog": "longdashdot"}


def collapse_figure(lines: Lines, baselines: Baselines, title: str) -> go.Figure:
    """A row for each ε, a column for each rank; the y axes are one, so that heights compare."""
    epsilons, ranks = sorted({epsilon for epsilon, _ in lines}), sorted({rank for _, rank in lines})
    names = [f"ε = {epsilon:g}, rank {rank}" for epsilon in epsilons for rank in ranks]
    figure = make_subplots(
        len(epsilons), len(ranks), subplot_titles=names, shared_yaxes="all", horizontal_spacing=0.05,
        vertical_spacing=0.16,
    )  # fmt: skip
    for row, epsilon in enumerate(epsilons, start=1):
        for column, rank in enumerate(ranks, start=1):
            first = row == column == 1
            drawn = [trace for name, line in lines[epsilon, rank].items() for trace in traces(name, line, first)]
            across = [level(name, values, lines[epsilon, rank], first) for name, values in baselines[epsilon].items()]
            for trace in (*drawn, *across):
                figure.add_trace(trace, row=row, col=column)
            ticks = sorted({rate for line in lines[epsilon, rank].values() for rate in line})
            axis = {"type": "log", "tickvals": ticks, "ticktext": [f"{rate:g}" for rate in ticks]}
            figure.update_xaxes(**axis, row=row, col=column)
    figure.update_xaxes(title="adapter's learning rate (log)", row=len(epsilons))
    figure.update_yaxes(title=ACCURACY, tickformat=".0%", col=1)
    figure.update_layout(template=TEMPLATE, title=title, height=620)
    return figure


def traces(name: str, line: Line, first: bool) -> list[go.Scatter]:
    """A method's band and mean; only the first picture names it in the legend."""
    low, high, mean = band(line)
    style = look(name)
    colour = style["line"]["color"]
    return [
        go.Scatter(**low, **edge(colour), legendgroup=name),
        go.Scatter(**high, **edge(colour, fill=True), legendgroup=name),
        go.Scatter(
            **mean, **style, mode="lines+markers", legendgroup=name, showlegend=first,
            name=f"{name} ({seeds(line)})", hovertemplate="rate %{x}: %{y:.1%}",
        ),
    ]  # fmt: skip


def level(name: str, values: Sequence[float], lines: Mapping[str, Line], first: bool) -> go.Scatter:
    """A baseline's mean, across all rates."""
    rates = [rate for line in lines.values() for rate in line]
    mean = statistics.fmean(values)
    return go.Scatter(
        x=[min(rates), max(rates)], y=[mean, mean], mode="lines", legendgroup=name, showlegend=first, name=name,
        line={"color": NEUTRAL, "width": 1.5, "dash": DASHES.get(name, "dot")}, hovertemplate="%{y:.1%}",
    )  # fmt: skip
