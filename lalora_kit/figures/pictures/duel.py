"""Methods against each other, in shipped runs: at one rate round by round (what lesson 04 opens on), and in tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from lalora_kit.figures.common import ACCURACY, TEMPLATE, Line, band, by_round, edge, look, seeds
from lalora_kit.figures.pictures.across import rival_lines, rival_style
from lalora_kit.trial.ablation import BEST, Gain
from lalora_kit.trial.rivals import Rival

Curves = Sequence[Sequence[float]]
Gains = Mapping[tuple[str, str, float | str], Gain]


def duel_figure(curves: Mapping[str, Curves], rivals: Sequence[Rival], title: str) -> go.Figure:
    """Accuracy by round, a curve a seed in `curves`: a band from the worst to the best, and the mean."""
    figure, last = go.Figure(), max((len(run) for runs in curves.values() for run in runs), default=1)
    for name, runs in curves.items():
        points, style = by_round(runs), look(name)
        low, high, mean = band(points)
        colour = style["line"]["color"]
        label = f"{name} ({seeds(points)})" if len(runs) > 1 else f"{name}, one run"
        figure.add_trace(go.Scatter(**low, **edge(colour)))
        figure.add_trace(go.Scatter(**high, **edge(colour, fill=True)))
        figure.add_trace(go.Scatter(**mean, **style, name=label, mode="lines+markers", hovertemplate="%{y:.1%}"))
    for line in rival_lines(rivals, (0.5, last + 0.5), named_left=True):  # at the right end, curves are high
        figure.add_trace(go.Scatter(**{**rival_style(), **line}))
    figure.update_layout(template=TEMPLATE, title_text=title, height=400, legend_traceorder="normal")
    figure.update_xaxes(title_text="round", range=[0.5, last + 0.5], dtick=1)
    figure.update_yaxes(title_text=ACCURACY, range=[0, 1], tickformat=".0%")
    return figure


def short(found: Gain | None) -> str:
    """`+7.9 ± 3.1 *`, with a star where the interval leaves out zero; a dash where nothing was asked or run."""
    if found is None or not found.seeds:
        return "–"
    return f"{found.points:+.1f} ± {found.margin:.1f}{' *' * found.clear}"


def top(line: Line) -> float:
    """The highest of a line's means; NaN without any."""
    return max(map(statistics.fmean, line.values()), default=float("nan"))


def duel_rows(gains: Gains, one: str, others: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each rate that was asked, and one for each side's best: how far `one` is above the others."""
    places = list(dict.fromkeys(place for first, other, place in gains if first == one and other in others))
    return [
        {
            "adapter's rate": place if isinstance(place, str) else f"{place:g}",
            **{f"above {other}": short(gains.get((one, other, place))) for other in others},
        }
        for place in places
    ]


def best_rows(lines: Mapping[str, Line], rivals: Sequence[Rival], gains: Gains, one: str) -> list[dict[str, Any]]:
    """A row for each method at its best rate, and for each baseline, the highest mean first."""
    found: list[tuple[str, str, str, Sequence[float]]] = []
    for name, line in lines.items():
        rate = max(line, key=lambda x: statistics.fmean(line[x]))
        found.append((name, name, f"{rate:g}", line[rate]))
    found += [(rival.name, rival.label, "none", [curve[-1] for curve in rival.curves]) for rival in rivals]
    return [
        {
            "method": label,
            "rate": rate,
            "mean (seeds)": f"{statistics.fmean(ends):.1%} ({100 * min(ends):.0f} to {100 * max(ends):.0f})",
            f"{one} is above by": short(gains.get((one, name, BEST))),
        }
        for name, label, rate, ends in sorted(found, key=lambda row: -statistics.fmean(row[3]))
    ]


def not_behind(lines: Mapping[str, Line], rivals: Sequence[Rival]) -> str:
    """Which baselines are level with an adapter at its best rate (mean within its band of seeds) or ahead, in words."""
    said = []
    for rival in rivals:
        level, ahead = [], []
        for name, line in lines.items():
            ends = max(line.values(), key=statistics.fmean)
            if rival.accuracy > max(ends):
                ahead.append(name)
            elif rival.accuracy >= min(ends):
                level.append(name)
        for word, names in (("ahead of", ahead), ("level with", level)):
            everyone = "every adapter" if len(names) == len(lines) else ", ".join(names)
            said += [f"{rival.text} is {word} {everyone}"] * bool(names)
    return "; ".join(said) or "no baseline is level with any adapter"
