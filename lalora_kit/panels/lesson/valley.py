"""The panel of lesson 03: how far clients stand above their average, forecast at once, and measured when it trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.figures.sharpness import BETAS, HeightView, height_data, height_figure, height_title
from lalora_kit.panels.lesson.heights import Height, Scores, Shares, forecast, shares_of
from lalora_kit.panels.lesson.moves import shown, times, went
from lalora_kit.panels.live import LiveTraining
from lalora_kit.panels.live_panel import LivePanel
from lalora_kit.panels.panel import Shown, Values
from lalora_kit.panels.widgets import choice_slider, three_sliders
from lalora_kit.settings import Settings

MOVED = ("epsilon", "rank", "clients", "dirichlet_beta")


class ValleyPanel(LivePanel):
    """ε, rank, clients and β; Run, Stop, Next seed, Reset. Headless: one figure and the facts.

    Args:
        training: a live training, its lens `heights_lens`, its settings with a β.
        scores: what the forecast reads, for each rank that the slider may stand at.

    Raises:
        ValueError: if the training's own rank has no scores.
    """

    def __init__(self, training: LiveTraining, scores: Mapping[int, Scores], *, mode: str = "auto") -> None:
        if training.start.rank not in scores:
            raise ValueError(
                f"rank={training.start.rank} has no forecast among {sorted(scores)}; "
                "make its scores too, by `panels.lesson.heights.scores_of`"
            )
        self.scores, self.said = scores, ""
        self.splits: dict[tuple[int, float, int | None], Shares | None] = {}
        self.tight: dict[tuple[float, int], float] = {}
        start = {name: getattr(training.start, name) for name in MOVED}
        self.last: tuple[Values, float] = (start, math.nan)
        super().__init__(training, start, mode=mode)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """The three, and β."""
        beta = choice_slider(BETAS, self.start["dirichlet_beta"], "β, evenness")
        return {**three_sliders(self.start), "dirichlet_beta": beta}

    def moved(self) -> None:
        """Hand the values on, and say what the move did."""
        before, old = self.last
        super().moved()
        new = self.height(self.training.settings).above
        said = went(before, self.values)
        self.said = self.sentence(said, old, new) if said else self.said
        self.last = (dict(self.values), new)
        self.update()

    def sentence(self, said: str, old: float, new: float) -> str:
        """What was moved, and what the forecast is now."""
        if math.isnan(new):
            return f"{said}: in 100 draws some client was left without a digit. Take fewer clients, or a larger β."
        near = (
            "" if self.values["rank"] in self.scores else f" (of rank {self.nearest(self.values['rank'])}, the nearest)"
        )
        change = "" if math.isnan(old) else f" {times(old, new)},"
        return f"{said}: the forecast{near} is{change} {new:.2f} nats."

    def reset(self) -> None:
        """Back to the first picture, and to its words."""
        super().reset()
        self.said = ""
        self.update()

    def nearest(self, rank: int) -> int:
        """The rank with a forecast that is nearest, by ratio."""
        return min(self.scores, key=lambda known: abs(math.log(known / rank)))

    def split(self, settings: Settings) -> Shares | None:
        """Who holds what; None where no draw leaves every client a sample."""
        at = settings.clients, settings.dirichlet_beta or math.inf, settings.seed
        if at not in self.splits:
            try:
                self.splits[at] = shares_of(self.training.task, settings)
            except ValueError:  # said by `sentence`, with what to do
                self.splits[at] = None
        return self.splits[at]

    def noise_multiplier(self) -> float:
        """σ where the sliders stand: the tight one where it is known, else a safe one that is there at once."""
        settings, outlook = self.training.settings, self.training.outlook
        at = settings.epsilon, settings.clients
        if outlook.tight:
            self.tight[at] = outlook.noise_multiplier
        return self.tight.get(at, outlook.noise_multiplier)

    def height(self, settings: Settings, *, data: bool = True, noise: bool = True) -> Height:
        """The forecast at some settings, of data and noise, or without one of them."""
        shares = self.split(settings)
        if shares is None:
            return Height(math.nan, math.nan)
        scores = self.scores[self.nearest(settings.rank)]
        return forecast(scores, shares, settings, self.noise_multiplier() if noise else 0.0, data=data)

    def view(self, values: Values) -> HeightView:
        """What the figure shows: the run's measured heights, and the forecast where the sliders stand."""
        training, now = self.training, self.training.settings
        betas = sorted({*BETAS, now.dirichlet_beta or BETAS[-1]})
        at = [(beta, replace(now, dirichlet_beta=beta)) for beta in betas]
        there = [(beta, settings) for beta, settings in at if self.split(settings) is not None]
        both = [(beta, self.height(settings).above) for beta, settings in there]
        data = [(beta, self.height(settings, noise=False).above) for beta, settings in there]
        noise = [(beta, self.height(settings, data=False).above) for beta, settings in there]
        known = dict(both)

        def curve(records: Any) -> list[tuple[float, float | None]]:
            return [point for r in records if r in training.seen for point in training.seen[r].points]

        return HeightView(
            epsilon=values["epsilon"], rank=values["rank"], clients=values["clients"], beta=values["dirichlet_beta"],
            rounds=training.start.rounds, forecast=known.get(values["dirichlet_beta"], math.nan),
            measured=curve(training.records), before=curve(training.previous), along=(both, data, noise),
            name=training.name, before_name=training.previous_name,
        )  # fmt: skip

    def redraw(self, values: Values) -> Shown:
        """Sums over a small array of scores."""
        training, now = self.training, self.view(values)
        if math.isnan(self.last[1]):
            self.last = (self.last[0], now.forecast)
        status = (
            training.status if training.armed or not self.said else f"{training.status.split(' Move')[0]} {self.said}"
        )
        return Shown(
            height_data(now), height_title(now), status, self.facts(now), [training.caution], None, training.error
        )

    def facts(self, now: HeightView) -> list[tuple[str, str]]:
        """Forecast and measured, and what the runs cost."""
        known = dict(self.training.facts())
        found = [("forecast for round 1", f"{now.forecast:.2f} nats" if now.forecast == now.forecast else "none")]
        if now.measured:
            found.append(("measured in round 1", f"{now.measured[0][1]:.2f} nats"))
        trained = self.training.trained
        at = f"ε {shown(trained.epsilon)}, rank {trained.rank}, {trained.clients} clients, β {trained.dirichlet_beta:g}"
        kept = ("σ, noise multiplier", "ε of this run", "ε of all runs on these data")
        return [*found, ("measured at", at), *((name, known[name]) for name in kept)]

    def draw(self, values: Values) -> go.Figure:
        """By round on one side, by β on the other."""
        return height_figure(self.view(values))
