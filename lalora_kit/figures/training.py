"""The figure of a training's panel: what a lens sees of each round, beside the noise that the settings ask for.

Under the run lies the shipped grid, a band over seeds, where it holds runs at these settings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import (
    EPSILON,
    FAINT,
    LOOKS,
    NEUTRAL,
    TEMPLATE,
    band,
    by_round,
    edge,
    log_ticks,
    look,
    rounds_tick,
    seeds,
    without_noise,
)
from lalora_kit.figures.pictures.across import RIVAL_LINES, rival_lines, rival_style
from lalora_kit.lessons.lens import ACCURACY, Lens, Points, Seen
from lalora_kit.lessons.lesson import epsilon_text

if TYPE_CHECKING:
    from lalora_kit.lessons.lesson import Outlook
    from lalora_kit.records import Round
    from lalora_kit.trial.rivals import Rival


@dataclass(frozen=True)
class TrainingView:
    """What the live panel shows: a method's outlook, the run so far, the run before, and head-only's beside them.

    `seen` holds what the lens saw of each round; a round that is not there is shown by its accuracy.
    `others` are whole runs that differ by their seed only; `shipped` is the grid's, a curve a seed, of
    accuracy, or what its name says.
    `rivals` are the shipped baselines nearest to the settings, of accuracy too.
    """

    method: str
    outlook: Outlook
    records: Sequence[Round]
    rounds: int
    name: str = "this run"
    previous: Sequence[Round] = ()
    previous_name: str = "run before"
    reference: Sequence[Round] = ()
    lens: Lens = ACCURACY
    seen: Mapping[Round, Seen] = field(default_factory=dict)
    others: Sequence[Sequence[Round]] = ()
    shipped: Sequence[Sequence[float]] = ()
    shipped_name: str = "shipped grid"
    rivals: Sequence[Rival] = ()

    def points(self, records: Sequence[Round]) -> Points:
        """A run's curve."""
        return [point for r in records for point in self.look(r).points]

    def look(self, r: Round) -> Seen:
        """What was seen of a round."""
        return self.seen.get(r) or Seen([(r.round, r.accuracy)] if r.evaluated else [])

    def beside(self) -> Points:
        """The curve drawn along: the reference's, or, without one, the second that the lens saw of this run."""
        return self.points(self.reference) or [point for r in self.records for point in self.look(r).beside]


def training_data(view: TrainingView) -> list[dict[str, Any]]:
    """x, y and name of the panel's traces, in the order of `training_figure`: what changes while it is live."""
    outlook, shown = view.outlook, math.isfinite(view.outlook.epsilon)
    curves = [
        (view.lens.beside or "head-only (at the first settings)", view.beside()),
        (view.previous_name, view.points(view.previous)),
        (view.name, view.points(view.records)),
    ]
    grid = by_round(view.shipped)
    low, high, mean = band(grid)
    apart = [point for run in view.others for point in (*view.points(run), (run[-1].round, None))]
    return [
        *({"x": [x for x, _ in points], "y": [y for _, y in points], "name": name} for name, points in curves),
        {"x": [e for e, _ in outlook.curve], "y": [noise for _, noise in outlook.curve], "name": "noise"},
        {"x": [0.08, 12], "y": [1, 1], "name": "longest signal"},
        {"x": [outlook.epsilon] * shown, "y": [outlook.noise] * shown, "name": "here"},
        low,
        high,
        {**mean, "name": f"{view.shipped_name}, {seeds(grid)}"},
        {"x": [x for x, _ in apart], "y": [y for _, y in apart], "name": "other seeds run here"},
        *rival_lines(view.rivals, (0, view.rounds + 0.5)),
    ]


def training_figure(view: TrainingView) -> go.Figure:
    """The live panel: what the lens sees as the rounds come in, beside the noise that ε, rank and clients ask for."""
    figure = make_subplots(1, 2, column_widths=[0.56, 0.44], horizontal_spacing=0.13)
    colour = LOOKS.get(view.method, (NEUTRAL, "", ""))[0]
    run = {"mode": "lines+markers", "hovertemplate": view.lens.hover, **look(view.method)}
    noise = {"showlegend": False, "hovertemplate": "ε = %{x:g}: %{y:.2f} C"}
    styles: list[dict[str, Any]] = [
        {**run, **(without_noise(look(view.method)) if view.lens.beside else look("head-only"))},
        {**run, "opacity": FAINT},
        run,
        {**noise, "mode": "lines", "line": {"color": NEUTRAL, "width": 2.5}},
        {**noise, "mode": "lines", "line": {"dash": "dot", "color": NEUTRAL}},
        {**noise, "mode": "markers", "marker": {"size": 14, "color": colour}},
        edge(colour),
        edge(colour, fill=True),
        {"mode": "lines", "line": {"color": colour, "width": 1}, "opacity": 0.6, "hovertemplate": view.lens.hover},
        {"mode": "lines", "line": {"color": colour, "width": 1.5}, "opacity": FAINT, "hovertemplate": view.lens.hover},
        *([rival_style()] * RIVAL_LINES),
    ]
    for place, (style, data) in enumerate(zip(styles, training_data(view), strict=True)):
        figure.add_trace(go.Scatter(**style, **data), 1, 2 if place in (3, 4, 5) else 1)
    label = {"text": "longest signal", "showarrow": False, "xanchor": "left", "yanchor": "top"}
    figure.add_annotation(x=-1.05, y=0, yshift=-3, row=1, col=2, **label)  # a log axis takes logarithms here
    figure.update_layout(template=TEMPLATE, title_text=training_title(view), height=430, autosize=True)
    figure.update_layout(legend_traceorder="normal")  # a filled band would turn it round
    figure.update_xaxes(title_text="round", range=[0, view.rounds + 0.5], dtick=rounds_tick(view.rounds), col=1)
    figure.update_yaxes(title_text=view.lens.axis, col=1, **view.lens.yaxis)
    figure.update_xaxes(title_text=EPSILON, type="log", range=[-1.1, 1.1], col=2, **log_ticks())
    figure.update_yaxes(title_text="noise in an averaged step (÷ C)", type="log", range=[-1.5, 3], dtick=1, col=2)
    return figure


def training_title(view: TrainingView) -> str:
    """What the newest round says, or, before any, what the noise will be."""
    if not view.records:
        at, noise = epsilon_text(view.outlook.epsilon), view.outlook.noise
        return f"{view.method} at ε = {at}: noise is {noise:.2g} × the longest signal"
    last = view.records[-1]
    return f"{view.method}: {view.lens.headline(last, view.look(last))}"
