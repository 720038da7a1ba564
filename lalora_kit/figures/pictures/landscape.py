"""The loss as a map: a plane of the weights with two runs on it, round by round, and the last round's clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from torch import Tensor

from lalora_kit.figures.common import TEMPLATE, look

#: Low is pale and high is dark, in print too.
SCALE = ((0.0, "#fff7dc"), (0.5, "#d9c9a3"), (1.0, "#6f6a60"))
Place = tuple[float, float]


@dataclass(frozen=True)
class Way:
    """One method's run on the map: where the average lies after each round, the beginning first, and its loss there.

    clients: where the clients of the last round lie, each with its own loss: their real one, not the map's.
    """

    places: Sequence[Place]
    losses: Sequence[float]
    clients: Sequence[tuple[Place, float]] = ()


def extent(ways: Mapping[str, Way], room: float = 0.12) -> tuple[Place, Place]:
    """`((least x, most x), (least y, most y))` around everything on the map, with some room, one scale for both."""
    every = [place for way in ways.values() for place in (*way.places, *(place for place, _ in way.clients))]
    (x0, x1), (y0, y1) = ((min(values), max(values)) for values in zip(*every, strict=True))
    margin = room * max(x1 - x0, y1 - y0)
    return (x0 - margin, x1 + margin), (y0 - margin, y1 + margin)


def landscape(
    xs: Sequence[float], ys: Sequence[float], losses: Tensor, ways: Mapping[str, Way], title: str
) -> go.Figure:
    """The map `losses` `(len(xs), len(ys))` in nats, with each run's way, its last clients, and their average."""
    low, high = float(losses.min()), max(way.losses[0] for way in ways.values())
    top = low + 2.5 * max(high - low, 0.05)  # what is far above where the runs began is one dark colour
    figure = go.Figure(
        go.Contour(
            x=list(xs), y=list(ys), z=losses.T.tolist(), zmin=low, zmax=top, colorscale=[list(s) for s in SCALE],
            contours={"start": low, "end": top, "size": (top - low) / 10}, line={"width": 0.6, "color": "#8a8474"},
            colorbar={"title": {"text": "loss<br>(nats)"}, "thickness": 12, "len": 0.9, "tickformat": ".1f"},
            hovertemplate="loss %{z:.2f} nats<extra></extra>", name="loss",
        )
    )  # fmt: skip
    for name, way in ways.items():
        style = look(name)
        colour = style["line"]["color"]
        if way.clients:
            figure.add_trace(
                go.Scatter(
                    x=[x for (x, _), _ in way.clients], y=[y for (_, y), _ in way.clients], mode="markers",
                    name=f"{name}, last clients", customdata=[loss for _, loss in way.clients],
                    marker={
                        "symbol": f"{style['marker']['symbol']}-open", "size": 9, "color": colour, "line": {"width": 2},
                    },
                    hovertemplate="a client alone: %{customdata:.2f} nats",
                )
            )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=[x for x, _ in way.places], y=[y for _, y in way.places], mode="lines+markers",
                name=f"{name}, average", customdata=list(way.losses),
                hovertemplate="after round %{pointNumber}: %{customdata:.2f} nats",
                line={**style["line"], "width": 3},
                marker={
                    "color": colour, "symbol": style["marker"]["symbol"],
                    "size": [6] * (len(way.places) - 1) + [15], "line": {"width": 1, "color": "#ffffff"},
                },
            )
        )  # fmt: skip
    beginning = next(iter(ways.values())).places[0]
    figure.add_annotation(x=beginning[0], y=beginning[1], text="start", ax=-28, ay=24, arrowcolor="#222222")
    figure.update_layout(template=TEMPLATE, title_text=title, height=470, margin={"l": 60, "r": 10, "t": 70, "b": 120})
    figure.update_xaxes(title_text="distance in the weights", range=[xs[0], xs[-1]], showgrid=False)
    figure.update_yaxes(title_text="across, same unit", range=[ys[0], ys[-1]], showgrid=False)
    return figure
