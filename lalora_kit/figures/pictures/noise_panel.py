"""The figure of lesson 02's panel: the four products as heatmaps, what disturbs W, and what clients do to the noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import NEUTRAL, TEMPLATE, epsilon_text
from lalora_kit.figures.noise import LOG, PER_ENTRY, SIZE, TERMS, Curve, curves, line, mark, typeset
from lalora_kit.figures.pictures.factors import tile_look
from lalora_kit.lessons.amplification import NoiseEnergy

SWITCH = ("the same people, split", "each site brings its own n")
DECADES, HEIGHT = (-3.0, 0.5), (-3.0, 2.5)  # of the live panel's left axes, fixed so that lines are seen to move


@dataclass(frozen=True)
class NoiseView:
    """What the noise panel shows. Noise per entry is that of the clients' averaged A and B.

    epsilon, rank, clients, own: where the controls stand; `own` says that each site brings its own people.
    curve, crossing: closed forms over noise per entry, and τ* on the same axis.
    step, run: noise per entry after one step and after all rounds (both 0 without noise), with the size of it all.
    split, brought: `(clients, noise per entry after one step)` at the two positions of the switch.
    tiles: of the four products, one round's noise in them, as `pictures.factors.tiles` gives them.
    """

    epsilon: float
    rank: int
    clients: int
    own: bool
    curve: Curve
    crossing: float
    step: tuple[float, NoiseEnergy]
    run: tuple[float, NoiseEnergy]
    split: Sequence[tuple[int, float]]
    brought: Sequence[tuple[int, float]]
    tiles: Sequence[dict[str, Any]]


def noise_data(view: NoiseView) -> list[dict[str, Any]]:
    """What changes in the panel's eleven lines and four heatmaps, in the order of `noise_figure`."""
    noisy = view.step[0] > 0
    marks = [
        {"x": [x] * noisy, "y": [energy.sizes.total] * noisy, "name": name}
        for name, (x, energy) in (("after one step", view.step), ("after the run", view.run))
    ]
    crosses = math.isfinite(view.crossing)
    wall = {"x": [view.crossing] * 2 * crosses, "y": [10 ** HEIGHT[0], 10 ** HEIGHT[1]] * crosses, "name": "crossing"}
    sides = [
        {"x": [n for n, _ in points], "y": [noise for _, noise in points], "name": name}
        for name, points in zip(SWITCH, (view.split, view.brought), strict=True)
    ]
    here = {"x": [view.clients] * noisy, "y": [view.step[0]] * noisy, "name": "here"}
    return [*curves(view.curve).values(), *marks, wall, *sides, here, *view.tiles]


def noise_figure(view: NoiseView) -> go.Figure:
    """The live panel: the four products; below, what disturbs W over noise per entry, and that noise over clients."""
    names = [typeset(tile["name"]) for tile in view.tiles]
    figure = make_subplots(
        2, 4, specs=[[{}] * 4, [{"colspan": 2}, None, {"colspan": 2}, None]], row_heights=[0.32, 0.68],
        horizontal_spacing=0.12, vertical_spacing=0.1, subplot_titles=names,
    )  # fmt: skip
    dotted = {"mode": "lines", "line": {"dash": "dot", "color": NEUTRAL, "width": 1.5}, "hoverinfo": "skip"}
    side = {"mode": "lines", "showlegend": False, "hovertemplate": "%{x} clients: %{y:.3g}"}
    styles: list[dict[str, Any]] = [
        *(line(term) for term in TERMS),
        *({"mode": "markers", "marker": mark(name)} for name in ("after one step", "after the run")),
        {**dotted, "showlegend": False},
        {**side, "line": {"color": NEUTRAL, "width": 2.5}},
        {**side, "line": {"color": NEUTRAL, "width": 2.5, "dash": "dash"}},
        {"mode": "markers", "marker": mark("after one step"), "showlegend": False},
    ]
    data = noise_data(view)
    for place, (style, changing) in enumerate(zip(styles, data, strict=False)):
        figure.add_trace(go.Scatter(**style, **changing), 2, 1 if place < 8 else 3)
    for column, changing in enumerate(data[len(styles) :], start=1):
        figure.add_trace(go.Heatmap(**tile_look(), **changing), 1, column)
    figure.update_layout(template=TEMPLATE, title_text=noise_title(view), height=645, autosize=True)
    figure.update_layout(margin={"l": 50, "r": 10, "t": 105, "b": 110})
    figure.update_xaxes(visible=False, row=1)
    figure.update_yaxes(visible=False, autorange="reversed", row=1)
    label_axes(figure)
    return figure


def label_axes(figure: go.Figure) -> None:
    """Axes and words of the panel's two lower pictures."""
    figure.update_xaxes(title_text=PER_ENTRY, type="log", range=list(DECADES), dtick=1, row=2, col=1)
    figure.update_yaxes(title_text=SIZE, range=list(HEIGHT), row=2, col=1, **LOG)
    counts = [1, 2, 4, 8, 16, 32, 64]
    ticks = {"tickmode": "array", "tickvals": counts, "ticktext": [str(n) for n in counts]}
    figure.update_xaxes(title_text="clients (log scale)", type="log", range=[-0.05, 1.86], **ticks, row=2, col=3)
    figure.update_yaxes(title_text="noise per entry", range=[-4, 1], row=2, col=3, **LOG)
    for words, at, anchor in (("split", 0.95, "solid"), ("each its own", 0.03, "dashed")):
        figure.add_annotation(
            text=f"{anchor}: {words}", x=0.03, y=at, xref="x6 domain", yref="y6 domain", showarrow=False,
            xanchor="left", font={"size": 12},
        )  # fmt: skip


def noise_title(view: NoiseView) -> str:
    """Whether LoRA is noisier than the full model at the end of the run, and by how much."""
    at = f"ε = {epsilon_text(view.epsilon)}, rank {view.rank}, {view.clients} clients"
    noise, energy = view.run
    if not noise:
        return f"{at}: no noise, and no privacy"
    noisier = "noisier" if energy.total > energy.full else "less noisy"
    ratio = energy.sizes.total / energy.sizes.full
    return f"{at}: LoRA is {noisier} <br>({ratio:.2g} × the noise of the full model)"
