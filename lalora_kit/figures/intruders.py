"""The figure of intruder dimensions: how many there are, by the threshold that makes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from lalora_kit.figures.common import LOOKS, NEUTRAL, TEMPLATE

if TYPE_CHECKING:
    from lalora_kit.lessons.intruders import Intruders

THRESHOLDS = tuple(i / 20 for i in range(1, 20))


def intruders_figure(runs: Mapping[str, Sequence[Intruders]], title: str) -> go.Figure:
    """Intruders of all layers against the threshold, a line a run; `runs` names methods, or anything else."""
    from lalora_kit.lessons.intruders import THRESHOLD, counts

    figure = go.Figure()
    for name, found in runs.items():
        colour = LOOKS[name][0] if name in LOOKS else NEUTRAL
        trace = go.Scatter(
            x=THRESHOLDS, y=counts(found, THRESHOLDS), name=name, mode="lines+markers",
            line={"color": colour, "width": 2.5}, marker={"color": colour, "size": 6},
            hovertemplate="|cosine| below %{x:.2f}: %{y}",
        )  # fmt: skip
        figure.add_trace(trace)
    figure.add_vline(THRESHOLD, line={"dash": "dot", "color": NEUTRAL}, annotation_text="the paper's")
    figure.update_layout(template=TEMPLATE, title_text=title, margin_t=70)
    figure.update_xaxes(title_text="threshold of |cosine| with the frozen weight's directions")
    figure.update_yaxes(title_text="intruders among the first ten of each layer", rangemode="tozero")
    return figure
