"""The panel of lesson 01: the rectangle with its corner, and the surprise after each round; few moves need training.

A step's surprise is known from the factors and the step's gradients, so the adapter's rate moves both pictures at once,
and so do ε and the number of clients, by the noise that they ask for. The rank waits for a run.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as W
import plotly.graph_objects as go
from torch import Tensor

from lalora_kit.engine.adapters import Adapter
from lalora_kit.figures.coupling import CornerView, corner_data, corner_figure, corner_frame, corner_title
from lalora_kit.figures.pictures.corner import Sides
from lalora_kit.lessons.coupling import cross_over_linear
from lalora_kit.lessons.gradients import Gradients
from lalora_kit.panels.lenses import Pair, Steps, noise_std
from lalora_kit.panels.lesson.moves import shown, times, went
from lalora_kit.panels.live import LiveTraining
from lalora_kit.panels.live_panel import LivePanel
from lalora_kit.panels.panel import Shown, Values
from lalora_kit.panels.widgets import choice_slider, three_sliders
from lalora_kit.records import Round

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def typical(tensors: Sequence[Tensor]) -> float:
    """Root mean square of all numbers in some tensors."""
    total = sum(float(values.double().square().sum()) for values in tensors)
    return math.sqrt(total / sum(values.numel() for values in tensors))


def sides(adapter: Adapter, gradients: Gradients, rate: float) -> Sides:
    """Typical sizes of A, B and their changes in a step on both, over all layers."""
    a, b = (typical(list(adapter.of(factor).values())) for factor in "AB")
    da, db = (rate * typical([value for key, value in gradients.items() if key[0] == factor]) for factor in "AB")
    return Sides(a, b, da, db)


class CornerPanel(LivePanel):
    """ε, rank, clients and the adapter's rate; Run, Stop, Next seed, Reset. Headless: one figure and the facts.

    Args:
        training: a live training with some records, its lens `surprise_lens(steps)`.
        steps: what each round's next step would see.
    """

    def __init__(self, training: LiveTraining, steps: Steps, *, mode: str = "auto") -> None:
        self.steps, self.said = steps, ""
        self.tight: dict[tuple[float, int], float] = {}
        self.slopes: weakref.WeakKeyDictionary[Round, dict[float, float]] = weakref.WeakKeyDictionary()
        moved = ("epsilon", "rank", "clients", "learning_rate")
        start = {name: getattr(training.start, name) for name in moved}
        self.last: tuple[Values, float] = (start, math.nan)
        super().__init__(training, start, mode=mode)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """The three, and the adapter's rate."""
        rate = self.start["learning_rate"]
        return {**three_sliders(self.start), "learning_rate": choice_slider(RATES, rate, "η, rate")}

    def moved(self) -> None:
        """Hand the values on, and say what the move did."""
        before, surprise = self.last
        super().moved()
        now = self.last[1]
        self.said = self.sentence(before, surprise, self.values, now)
        self.last = (dict(self.values), now)
        self.update()

    def reset(self) -> None:
        """Back to the first picture, and to its words."""
        super().reset()
        self.said = ""
        self.update()

    def sentence(self, before: Mapping[str, Any], old: float, now: Mapping[str, Any], new: float) -> str:
        """What was moved, and what the surprise is now."""
        said = went(before, now)
        if not said:
            return self.said
        if now["rank"] != self.training.trained.rank:
            return f"{said}: a rank needs factors of its own. Press Run."
        return f"{said}: the surprise is {times(old, new)}, {new:.1%} of the promised move."

    def noise_multiplier(self) -> float:
        """σ where the sliders stand: the tight one where it is known, else a safe one that is there at once."""
        settings, outlook = self.training.settings, self.training.outlook
        at = settings.epsilon, settings.clients  # nothing else that moves here moves σ
        if outlook.tight:
            self.tight[at] = outlook.noise_multiplier
        return self.tight.get(at, outlook.noise_multiplier)

    def slope(self, r: Round, pair: Pair, std: float) -> float:
        """Surprise for each unit of the rate: it grows in proportion, so a new rate costs nothing."""
        known = self.slopes.setdefault(r, {})
        if std not in known:
            known[std] = cross_over_linear(r.adapter, pair.at(std), 1.0).pooled
        return known[std]

    def view(self, values: Values) -> CornerView:
        """What the figure shows: the run's factors, and the noise and rate that the sliders ask for."""
        training = self.training
        std = noise_std(training.task, training.settings, self.noise_multiplier())
        rate = values["learning_rate"]

        def curve(records: Sequence[Round], at: float) -> list[tuple[int, float]]:
            # What is measured in the thread that trains is there once its round is on show.
            return [(r.round, rate * self.slope(r, self.steps.known[r], at)) for r in records if r in self.steps.known]

        records = [r for r in training.records if r in self.steps.known]
        at = sides(records[-1].adapter, self.steps.known[records[-1]].at(std), rate) if records else None
        return CornerView(
            rate=rate, epsilon=values["epsilon"], rounds=training.start.rounds, sides=at, noised=curve(records, std),
            quiet=curve(records, 0.0), before=curve(training.previous, std), name=training.name,
            before_name=training.previous_name,
        )  # fmt: skip

    def redraw(self, values: Values) -> Shown:
        """Closed forms over small matrices."""
        training, now = self.training, self.view(values)
        if now.noised:
            self.last = (self.last[0], now.noised[-1][1])
        status = (
            training.status if training.armed or not self.said else f"{training.status.split(' Move')[0]} {self.said}"
        )
        return Shown(
            corner_data(now), corner_title(now), status, self.facts(now), [training.caution], corner_frame(now),
            training.error,
        )  # fmt: skip

    def facts(self, now: CornerView) -> list[tuple[str, str]]:
        """σ, the surprises, and what the runs cost."""
        known = dict(self.training.facts())
        kept = ("σ, noise multiplier", "ε of this run", "ε of all runs on these data")
        found = [
            (name, f"{points[-1][1]:.1%}")
            for name, points in (("surprise, noised", now.noised), ("surprise without noise", now.quiet))
            if points
        ]
        trained = self.training.trained
        at = f"ε {shown(trained.epsilon)}, rank {trained.rank}, {trained.clients} clients, η {trained.learning_rate:g}"
        return [*found, ("factors trained at", at), *((name, known[name]) for name in kept)]

    def draw(self, values: Values) -> go.Figure:
        """The rounds on one side, the rectangle on the other."""
        return corner_figure(self.view(values))
