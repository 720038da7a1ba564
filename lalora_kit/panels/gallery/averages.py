"""The panel of lesson 10: how far three servers land from the exact mean, at once and without any training.

It has the uploads of one round without noise, at several ranks, equal and unequal. What ε, rank and number of clients
do to them are closed forms for two servers, and for the SVD what it makes of one draw of noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.figures.gallery import averages as picture
from lalora_kit.figures.gallery.averages import LOOKS, AveragesView
from lalora_kit.lessons import lesson
from lalora_kit.lessons.gallery.averages import Layer, expected_off, round_noise, sampled_off
from lalora_kit.panels.lesson.moves import went
from lalora_kit.panels.panel import Panel, Shown, Values
from lalora_kit.panels.widgets import epsilon_slider, slim
from lalora_kit.settings import Settings

SWITCH = ("equal ranks", "ranks r, r/2, r/4")
READY = "Move a slider: the algebra follows at once, nothing is trained."
PLACES = lesson.EPSILONS[::3]  # of ε along which the lines are drawn; the last is the slider's
Pool = Mapping[tuple[int, bool], Sequence[Layer]]  # (rank, unequal) -> layers of all clients


class AveragesPanel(Panel):
    """ε, rank, clients and the switch, one figure, the facts. Headless: one figure and a line of text.

    Args:
        pool: a round's clients by rank, and by whether their ranks are unequal; each rank has both.
        settings: where the controls start.
        held: samples of each client of the pool.
        mode: live or headless; auto finds out.
    """

    def __init__(self, pool: Pool, settings: Settings, held: float, *, mode: str = "auto") -> None:
        lacking = [place for rank, _ in pool for place in ((rank, False), (rank, True)) if place not in pool]
        if lacking or (settings.rank, False) not in pool:
            raise ValueError(
                f"pool has (rank, unequal) {sorted(pool)}, settings ask for rank={settings.rank}; each rank, and that "
                "of the settings, needs its clients with equal and with unequal ranks"
            )
        self.pool, self.settings, self.held = dict(pool), settings, held
        most = min(len(layers[0].A) for layers in pool.values())
        if settings.clients > most:
            raise ValueError(f"clients={settings.clients} are more than the {most} of the pool; take {most} or fewer")
        self.counts = sorted({n for n in (1, 2, 4, 8, 16, 32, 64) if n < most} | {settings.clients, most})
        self.off = cache(self._off)
        self.said, self.last = "", dict[str, object]()
        start = {name: getattr(settings, name) for name in ("epsilon", "rank", "clients")}
        super().__init__({**start, "switch": SWITCH[0]}, mode=mode)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """ε, the ranks and numbers of clients at hand, and the switch."""
        ranks = sorted({rank for rank, _ in self.pool})
        return {
            "epsilon": epsilon_slider(self.start["epsilon"]),
            "rank": W.SelectionSlider(options=ranks, value=self.start["rank"], description="rank", layout=slim()),
            "clients": W.SelectionSlider(
                options=self.counts, value=self.start["clients"], description="clients", layout=slim()
            ),
            "switch": W.ToggleButtons(options=SWITCH, value=SWITCH[0], style={"button_width": "auto"}),
        }

    def draw(self, values: Values) -> go.Figure:
        """Over ε on the left, over clients on the right."""
        return picture.averages_figure(self.view(values), self.counts)

    def redraw(self, values: Values) -> Shown:
        """The algebra at the controls' values."""
        view = self.view(values)
        if self.last and self.last != values:
            self.said = f"{went(self.last, values)}. {sentence(view)}"
        self.last = dict(values)
        return Shown(
            traces=picture.averages_data(view),
            title=picture.averages_title(view),
            status=self.said or READY,
            facts=self.facts(view),
        )

    def view(self, values: Values) -> AveragesView:
        """What the figure shows at the controls' values."""
        rank, epsilon, count, unequal = (values[name] for name in ("rank", "epsilon", "clients", "switch"))
        at = rank, unequal == SWITCH[1]
        return AveragesView(
            epsilon=epsilon,
            rank=rank,
            clients=count,
            unequal=at[1],
            by_epsilon={way: [(e, self.off(*at, count, e, way)) for e in PLACES] for way in LOOKS},
            by_clients={way: [(n, self.off(*at, n, epsilon, way)) for n in self.counts] for way in LOOKS},
            here={way: self.off(*at, count, epsilon, way) for way in LOOKS},
        )

    def facts(self, view: AveragesView) -> list[tuple[str, str]]:
        """What the numbers are now, as `(name, value)` texts."""
        lost = self.off(view.rank, view.unequal, view.clients, float("inf"), "factors")
        return [
            ("noise per entry of a client", f"{round_noise(self.at(view.epsilon), self.held):.2g}"),
            *((f"{LOOKS[way][0]}: off by", f"{size:.3g}") for way, size in view.here.items()),
            ("lost by averaging factors, without noise", f"{lost:.1%}"),
        ]

    def at(self, epsilon: float) -> Settings:
        """The settings at another ε."""
        return replace(self.settings, epsilon=epsilon)

    def _off(self, rank: int, unequal: bool, count: int, epsilon: float, way: str) -> float:
        layers = [layer.first(count) for layer in self.pool[rank, unequal]]
        noise = round_noise(self.at(epsilon), self.held)
        return sampled_off(layers, noise, way)[0] if way == "SVD" else expected_off(layers, noise, way).size


def sentence(view: AveragesView) -> str:
    """How the servers stand now."""
    factors, products = view.here["factors"], view.here["products"]
    first = f"The mean of products is off by {products:.3g}, the mean of factors by {factors:.3g}"
    if factors and products:
        first += f", a ratio of {products / factors:.2g}"
    return f"{first}; nearest is the {LOOKS[view.nearest][0]}."
