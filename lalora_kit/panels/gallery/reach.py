"""The panel of lesson 11: what a step reaches and what noise it pays, at once and without any training.

It has each way's reach at several ranks, from real gradients. ε and clients move the noise alone: σ follows from ε, and
the average of N clients of the same people has √N times the noise of one that holds them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.figures.gallery import reach as picture
from lalora_kit.figures.gallery.reach import LOOKS, Reaches, ReachView
from lalora_kit.panels.lesson.moves import times, went
from lalora_kit.panels.lesson.noise import sampling
from lalora_kit.panels.panel import Panel, Shown, Values
from lalora_kit.panels.widgets import slim, three_sliders
from lalora_kit.settings import Settings

READY = "Move a slider: nothing is trained."


def step_noise(settings: Settings, people: int) -> float:
    """Noise on each number of one averaged step's mean gradient, in units of C: σ / (L·√N), L = q·people/N."""
    held = people / settings.clients
    rate, sigma = sampling(settings, held)
    return sigma / (rate * held * math.sqrt(settings.participants))


class ReachPanel(Panel):
    """ε, rank and clients, one figure, the facts. Headless: one figure and a line of text.

    Args:
        reaches: the ways by rank; the rank slider offers these.
        settings: where the controls start.
        people: samples of the private data.
        mode: live or headless; auto finds out.
    """

    def __init__(self, reaches: Mapping[int, Reaches], settings: Settings, people: int, *, mode: str = "auto") -> None:
        if settings.rank not in reaches:
            raise ValueError(f"rank={settings.rank} has no reaches here ({sorted(reaches)}); pass those of that rank")
        self.reaches, self.settings, self.people = dict(reaches), settings, people
        self.said = ""
        self.last: tuple[Values, ReachView] | None = None
        super().__init__({name: getattr(settings, name) for name in ("epsilon", "rank", "clients")}, mode=mode)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """The three sliders, the ranks those at hand."""
        ranks = sorted(self.reaches)
        return {
            **three_sliders(self.start),
            "rank": W.SelectionSlider(options=ranks, value=self.start["rank"], description="rank", layout=slim()),
        }

    def draw(self, values: Values) -> go.Figure:
        """Reach on the left, signal over noise on the right."""
        return picture.reach_panel(self.view(values))

    def redraw(self, values: Values) -> Shown:
        """The ways at the controls' values."""
        view = self.view(values)
        if self.last is not None and self.last[0] != values:
            self.said = sentence(*self.last, values, view)
        self.last = dict(values), view
        return Shown(
            traces=picture.reach_data(view),
            title=picture.reach_title(view),
            status=self.said or READY,
            facts=[(f"{LOOKS[way][0]}: {one.numbers:,} numbers, within reach", f"{one.reach:.1%}")
                   for way, one in view.reaches.items()],
        )  # fmt: skip

    def view(self, values: Values) -> ReachView:
        """What the figure shows at the controls' values."""
        settings = replace(self.settings, **values)
        noise, found = step_noise(settings, self.people), self.reaches[settings.rank]
        ratios = {way: one.signal_to_noise(noise) for way, one in found.items()}
        return ReachView(settings.epsilon, settings.rank, settings.clients, found, ratios)


def sentence(before: Values, was: ReachView, now: Values, view: ReachView) -> str:
    """What was moved, and what that did to reach, or to signal over noise."""
    if not math.isfinite(view.epsilon) or not math.isfinite(was.epsilon):
        return f"{went(before, now)}. Without noise, reach is all that counts."
    old, new = (seen.reaches["FFA"] for seen in (was, view))
    ratio = times(was.ratios["FFA"], view.ratios["FFA"])
    reach = f"; it reaches {new.reach:.0%} of the gradient, not {old.reach:.0%}" if new.numbers != old.numbers else ""
    return f"{went(before, now)}. FFA's signal over noise is {ratio}{reach}."
