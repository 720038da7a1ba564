"""The figure of a class's pooled runs: a dot a seed, the mean and its interval; all intervals hold at once at 95 %."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from lalora_kit.figures.common import LOOKS, NEUTRAL, TEMPLATE
from lalora_kit.trial.pool import Pooled

COLOUR = LOOKS["dp-lora"][0]


def pooled_figure(pooled: Pooled) -> go.Figure:
    """A dot for each seed in its group, beside it the mean with its interval; the title says the first of them."""
    figure, effects = go.Figure(), pooled.effects
    names = list(pooled.groups)
    legend = "mean, 95 % interval" if len(names) == 1 else "mean, joint 95 % interval"
    for place, (name, values) in enumerate(pooled.groups.items()):
        figure.add_trace(
            go.Scatter(
                x=[place + 0.12 * ((i * 7) % 11 - 5) / 5 for i in range(len(values))], y=list(values.values()),
                mode="markers", name="one seed", showlegend=place == 0, text=[f"seed {seed}" for seed in values],
                hovertemplate="%{text}: %{y:.4g}", marker={"color": NEUTRAL, "size": 7, "opacity": 0.45},
            )
        )  # fmt: skip
        effect = effects[name]
        half = effect.margin if math.isfinite(effect.low) else None
        figure.add_trace(
            go.Scatter(
                x=[place + 0.25], y=[effect.mean], mode="markers", name=legend, showlegend=place == 0,
                error_y={"type": "data", "array": [half], "thickness": 2.5, "width": 8} if half is not None else None,
                marker={"color": COLOUR, "size": 12, "symbol": "diamond"}, hovertemplate="mean %{y:.4g}",
            )
        )  # fmt: skip
    first = effects[names[0]]
    span = f" [{first.low:.3g}, {first.high:.3g}]" if math.isfinite(first.low) else ""
    where = f" at {names[0]}" if names[0] else ""
    title = f"{pooled.figure} {first.mean:.3g}{span} over {first.seeds} seed{'s' * (first.seeds > 1)}{where}"
    figure.update_layout(template=TEMPLATE, title_text=title)
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=[name or pooled.notebook for name in names])
    figure.update_yaxes(title_text=pooled.figure)
    return figure
