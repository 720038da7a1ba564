"""The table of noise: A, B, their noise, and the four products of a multiplication table, as heatmaps.

Noise is drawn once, at deviation 1. A louder noise is the same picture on a smaller scale, so a slider changes scales
alone: it needs no kernel, and a page stays small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lalora_kit.figures.common import TEMPLATE
from lalora_kit.figures.noise import typeset

#: part -> (row, column of the table, how often the noise is a factor of it)
PARTS: dict[str, tuple[int, int, int]] = {
    "A": (1, 2, 0), "N_A": (1, 3, 1), "B": (2, 1, 0), "N_B": (3, 1, 1),
    "B·A": (2, 2, 0), "B·N_A": (2, 3, 1), "N_B·A": (3, 2, 1), "N_B·N_A": (3, 3, 2),
}  # fmt: skip
FACTORS, PRODUCTS = list(PARTS)[:4], list(PARTS)[4:]
Parts = Mapping[str, np.ndarray]  # by name, noise at deviation 1
DEEPEST = 2.5  # typical sizes at which the colour of the loudest part is deepest


def sizes(parts: Parts, noise: float) -> dict[str, float]:
    """Typical size (root mean square) of each part, where each entry of N_A and N_B has deviation `noise`."""
    return {name: noise ** PARTS[name][2] * float(np.sqrt(np.mean(z**2))) for name, z in parts.items()}


def scales(parts: Parts, noise: float) -> dict[str, float]:
    """Where each part's colours end: one true scale for the factors, and one for the products."""
    found = sizes(parts, noise)
    ends = {name: DEEPEST * max(found[other] for other in group) for group in (FACTORS, PRODUCTS) for name in group}
    return {name: ends[name] / max(noise ** PARTS[name][2], 1e-9) for name in parts}


def tiles(parts: Parts, noise: float, names: Sequence[str]) -> list[dict[str, Any]]:
    """z and its scale for the heatmaps of some parts: what changes while a panel is live."""
    ends = scales(parts, noise)
    return [{"z": rounded(parts[name]), "zmin": -ends[name], "zmax": ends[name], "name": name} for name in names]


def rounded(values: np.ndarray) -> list[list[float]]:
    """Three digits are enough for a colour."""
    return [[float(f"{value:.3g}") for value in row] for row in values]


def tile_look() -> dict[str, Any]:
    """What stays as it is in a heatmap of a part; dark is negative in grey print too, white is zero."""
    return {"colorscale": "RdBu", "showscale": False, "hoverinfo": "skip"}


def factors_figure(parts: Parts, noises: Mapping[str, float], titles: Sequence[str], active: int) -> go.Figure:
    """The table, with a slider over ε.

    Args:
        parts: by name, noise at deviation 1.
        noises: label of a slider's place -> noise per entry.
        titles: of each place.
        active: the place that it opens at.
    """
    figure = make_subplots(
        3, 3, column_widths=[0.12, 0.44, 0.44], row_heights=[0.12, 0.44, 0.44], horizontal_spacing=0.07,
        vertical_spacing=0.09,
    )  # fmt: skip
    opened = list(noises.values())[active]
    for name, data in zip(PARTS, tiles(parts, opened, list(PARTS)), strict=True):
        row, column, _ = PARTS[name]
        figure.add_trace(go.Heatmap(**tile_look(), **data), row, column)
        place = figure.get_subplot(row, column)
        figure.add_annotation(
            text=f"<b>{typeset(name)}</b>", x=place.xaxis.domain[0], y=place.yaxis.domain[1], xref="paper",
            yref="paper", xanchor="left", yanchor="bottom", showarrow=False,
        )  # fmt: skip
    steps = []
    for (label, noise), title in zip(noises.items(), titles, strict=True):
        ends = [scales(parts, noise)[name] for name in PARTS]
        scale = {"zmin": [-end for end in ends], "zmax": ends}
        steps.append({"label": label, "method": "update", "args": [scale, {"title.text": typeset(title)}]})
    slider = {"steps": steps, "currentvalue": {"prefix": "ε = "}, "pad": {"t": 20}, "active": active}
    figure.update_layout(template=TEMPLATE, title_text=typeset(titles[active]), sliders=[slider], height=575)
    figure.update_layout(margin={"l": 10, "r": 10, "t": 95, "b": 20})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, autorange="reversed")
    return figure
