"""The forest plot of the claims: each effect with its interval, beside what these seeds could not have shown.

The intervals drawn are those that decide the verdicts (`lalora_kit.trial.effects`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import NEUTRAL, TEMPLATE
from lalora_kit.trial.verdicts import Row

MODES = ("best", "equal")
#: How a verdict begins -> its colour (Okabe and Ito) and marker.
VERDICTS = {
    "holds": ("#009E73", "circle"),
    "holds only": ("#E69F00", "circle-open"),
    "the opposite holds": ("#D55E00", "x"),
    "the opposite holds only": ("#D55E00", "x-open"),
    "ruled out": ("#0072B2", "square"),
    "no gain": ("#0072B2", "square-open"),
    "too few": ("#222222", "diamond-open"),
    "no verdict": ("#222222", "line-ns-open"),
}
UNITS = ("points of accuracy", "c_W", "ln of the ratio")
SMALL, LARGE = 11, 15  # of a mark
THIN, THICK = 1, 2.5  # of its outline, filled or open
ROW, NAME = 38, 15  # pixels: a row, and how far above its middle its name stands
GAP, ABOVE, BELOW = 80, 100, 150  # pixels: between two parts, above all and below
TOP = 0.4  # rows that stay free above the first, for its name
AXES = ("effect on accuracy, points", "effect on the cosine c_W", "ln of the ratio of λ_max")


def kind_of(verdict: str) -> str:
    """How a verdict begins, as `VERDICTS` names it."""
    return next(start for start in sorted(VERDICTS, key=len, reverse=True) if verdict.startswith(start))


def verdict_look(verdict: str) -> tuple[str, str]:
    """Colour and marker of a verdict."""
    return VERDICTS[kind_of(verdict)]


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many rows got a verdict of each kind, in the order of `VERDICTS`."""
    kinds = [kind_of(row.verdict) for row in rows]
    return {kind: kinds.count(kind) for kind in VERDICTS}


def parts(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows by the family of their unit, in the order of `UNITS`."""
    return [[row for row in rows if row.claim.unit.name.startswith(unit)] for unit in UNITS]


def forest_data(rows: Sequence[Row], mode: str, large: Collection[str] = ()) -> list[dict[str, Any]]:
    """What changes in the figure's traces: by part: undetectable zone, effects, controls, the paper.

    `large`: keys of the claims whose marks are larger.
    """
    data: list[dict[str, Any]] = []
    for part in parts(rows):
        names = [row.claim.text for row in part]
        effects = [getattr(row, mode) for row in part]
        looks = [verdict_look(row.verdict) for row in part]
        said = [f"{row.verdict}; {e.seeds} seeds; rates {row.rates[0]:g} and {row.rates[1]:g} at best"
                for row, e in zip(part, effects, strict=True)]  # fmt: skip
        zone = [none_if_nan(e.detectable) or 0 for e in effects]
        data += [
            {"y": names, "x": [2 * width for width in zone], "base": [-width for width in zone]},
            {
                "y": names, "x": [none_if_nan(e.mean) for e in effects], "customdata": said,
                "marker": {
                    "color": [colour for colour, _ in looks], "symbol": [symbol for _, symbol in looks],
                    "size": [LARGE if row.claim.key in large else SMALL for row in part],
                    "line": {"width": [THICK if symbol.endswith("open") else THIN for _, symbol in looks]},
                },
                "error_x": {"array": [none_if_nan(e.high - e.mean) for e in effects]},
            },
            {"y": names, "x": [none_if_nan(row.control.mean) for row in part],
             "customdata": [row.claim.control or "" for row in part]},
            {"y": names, "x": [row.claim.paper for row in part], "customdata": [row.claim.source for row in part]},
        ]  # fmt: skip
    return data


def none_if_nan(value: float) -> float | None:
    """plotly draws nothing for None."""
    return value if math.isfinite(value) else None


def forest_title(rows: Sequence[Row], mode: str) -> str:
    """How many of the claims that are drawn got which verdict."""
    found = counts(rows)
    where = "each at its best rate" if mode == "best" else "at equal rate"
    at_equal = found["holds only"] + found["the opposite holds only"]
    undecided = found["too few"] + found["no verdict"]
    seeds = " or ".join(str(count) for count in sorted({row.best.seeds for row in rows}))
    return (
        f"{found['holds']} of {len(rows)} hold, {found['the opposite holds']} are reversed, "
        f"{undecided} are undecided; <br>"
        f"{at_equal} decided only at equal rate, {found['ruled out'] + found['no gain']} ruled out above some size. "
        f"<br><sup>{seeds} seeds, {where}; all {rows[0].best.among} intervals of the trial hold together at 95 %</sup>"
    )


def span(part: Sequence[Row], mode: str) -> list[float] | None:
    """The ends of an axis that has room for all that these rows draw; None where there is nothing."""
    effects = [getattr(row, mode) for row in part]
    ends = [abs(x) for e in effects for x in (e.mean, e.low, e.high, e.detectable)]
    ends += [abs(x) for row in part for x in (row.control.mean, row.claim.paper or 0.0)]
    most = max((x for x in ends if math.isfinite(x)), default=0.0)
    return [-1.05 * most, 1.05 * most] if most else None


def forest_layout(rows: Sequence[Row], mode: str, scale: Sequence[Row] | None = None) -> dict[str, Any]:
    """What changes in the figure's layout with the rows: its height and its axes; a part without a row has no room.

    `scale`: the same rows and all others, by all seeds: an axis across has room for those of them that are drawn, so
    that fewer seeds are seen to widen an interval. By default `rows` themselves.
    """
    drawn, scaled = parts(rows), parts(rows if scale is None else scale)
    names = []
    sizes = [ROW * (len(part) + TOP) if part else 0.0 for part in drawn]
    whole = sum(sizes) + GAP * max(sum(map(bool, sizes)) - 1, 0) or 1.0
    layout: dict[str, Any] = {"height": round(ABOVE + BELOW + whole)}
    top = whole
    for place, (part, size) in enumerate(zip(drawn, sizes, strict=True), start=1):
        own, bottom = str(place) if place > 1 else "", max(top - size, 0.0)
        layout[f"yaxis{own}"] = {
            "domain": [bottom / whole, top / whole] if part else [0, 0.001], "visible": bool(part),
            "range": [len(part) - 0.5, -0.5 - TOP],
        }  # fmt: skip
        at = {row.claim.key: line for line, row in enumerate(part)}
        shown = [row for row in scaled[place - 1] if row.claim.key in at]
        layout[f"xaxis{own}"] = {"range": span(shown, mode), "visible": bool(part)}
        names += [  # always as many: of a shorter list plotly would keep the rest of the longer one
            {
                "text": row.claim.text, "y": at.get(row.claim.key, 0), "yref": f"y{own}", "x": 0,
                "xref": f"x{own} domain", "visible": row.claim.key in at, "yshift": NAME, "xanchor": "left",
                "showarrow": False, "font": {"size": 12},
            }
            for row in scaled[place - 1]
        ]  # fmt: skip
        top = bottom - GAP if part else top
    return {**layout, "annotations": names}


def forest_figure(rows: Sequence[Row], mode: str, scale: Sequence[Row] | None = None) -> go.Figure:
    """Effects in the direction of each claim, so that right of zero is what the paper says; `scale`: see the layout."""
    figure = make_subplots(len(AXES), 1)
    dot = {"mode": "markers", "hovertemplate": "%{x:.2f}: %{customdata}<extra></extra>"}
    thin = {"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": NEUTRAL}}
    star = {"symbol": "star", "size": 10, "color": "#CC79A7"}
    grey = {"orientation": "h", "marker": {"color": "#DDDDDD"}, "width": 0.5, "hoverinfo": "skip"}
    styles: list[dict[str, Any]] = [
        {**grey, "name": "too small for these seeds to show"},
        {**dot, "name": "measured, joint 95 % interval", "error_x": {"color": NEUTRAL}},
        {**dot, "name": "against its control, equal rate", "marker": thin},
        {**dot, "name": "the paper's figure, at its scale", "marker": star},
    ]
    for place, data in enumerate(forest_data(rows, mode)):
        part, kind = divmod(place, 4)
        style = styles[kind]
        merged = {**style, **data, "legendgroup": str(kind), "showlegend": part == 0}
        for key in ("marker", "error_x"):
            if key in style or key in data:
                merged[key] = {**style.get(key, {}), **data.get(key, {})}
        figure.add_trace((go.Bar if kind == 0 else go.Scatter)(**merged), part + 1, 1)
    line = {"zeroline": True, "zerolinecolor": NEUTRAL, "zerolinewidth": 1.5}
    for place, axis in enumerate(AXES, start=1):
        figure.update_xaxes(title_text=axis, **line, row=place)
    figure.update_yaxes(type="category", ticks="", showticklabels=False)
    figure.update_layout(
        template=TEMPLATE, title_text=forest_title(rows, mode), barmode="overlay",
        margin={"t": ABOVE, "b": BELOW, "l": 20}, **forest_layout(rows, mode, scale),
    )  # fmt: skip
    return figure
