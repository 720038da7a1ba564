"""Widgets: sliders, and a training's panel. What they show is computed elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.figures import training as figures_training
from lalora_kit.lessons import lesson
from lalora_kit.lessons.lens import ACCURACY
from lalora_kit.panels.live import LiveTraining
from lalora_kit.panels.live_panel import LivePanel
from lalora_kit.panels.panel import Shown, Values, show_figure
from lalora_kit.panels.seeds import HINT
from lalora_kit.trial import ablation, rivals

__all__ = [
    "TrainingPanel", "against", "beside", "choice_slider", "clients_slider", "epsilon_slider", "rank_slider",
    "show_figure", "slim", "three_sliders", "view",
]  # fmt: skip

RANKS = (1, 2, 4, 8, 16, 32)
MOST_CLIENTS = 64


def slim() -> W.Layout:
    """Width of a control: three fit beside each other in JupyterLab."""
    return W.Layout(width="265px")


def epsilon_slider(value: float) -> W.SelectionSlider:
    """ε over a fixed list, the given value and ∞: a log slider would turn 3.0 into 3.1623 by being shown."""
    options = [(lesson.epsilon_text(e), e) for e in sorted({*lesson.EPSILONS, float(value), math.inf})]
    return W.SelectionSlider(options=options, value=float(value), description="ε, budget", layout=slim())


def rank_slider(value: int) -> W.SelectionSlider:
    """Rank over the powers of two that fit, and the given value."""
    return W.SelectionSlider(options=sorted({*RANKS, value}), value=value, description="rank", layout=slim())


def clients_slider(value: int) -> W.IntSlider:
    """Number of clients that share the same data."""
    most = max(MOST_CLIENTS, value)
    return W.IntSlider(value=value, min=1, max=most, description="clients", layout=slim())


def choice_slider(options: Sequence[float], value: float, description: str) -> W.SelectionSlider:
    """A slider over a few numbers, the given one among them."""
    known = [(f"{number:g}", float(number)) for number in sorted({*map(float, options), float(value)})]
    return W.SelectionSlider(options=known, value=float(value), description=description, layout=slim())


def three_sliders(start: Mapping[str, Any]) -> dict[str, W.ValueWidget]:
    """ε, rank and clients, by the names that `Settings` gives them."""
    return {
        "epsilon": epsilon_slider(start["epsilon"]),
        "rank": rank_slider(start["rank"]),
        "clients": clients_slider(start["clients"]),
    }


class TrainingPanel(LivePanel):
    """The widgets of a `LiveTraining`: ε, rank and clients, Run, Stop, Reset, Next seed, one figure, the facts.

    Headless it trains once if there is nothing to show yet, and leaves one figure and a line of text. What the figure
    draws of each round is the training's `lens`; where that is accuracy, the baselines that ship for the task lie
    beside it, from the setting that is nearest, and a run that ends is held against them.

    Args:
        training: the state behind the panel.
        extra: controls beside the three, by the name of the setting that each moves.
        runs: the grid, as `grid.load` gives it; its runs at the sliders' settings lie under the curve as a band.
        mode: live or headless; auto finds out.
    """

    def __init__(
        self,
        training: LiveTraining,
        *,
        extra: Mapping[str, W.ValueWidget] | None = None,
        runs: ablation.Runs | None = None,
        mode: str = "auto",
    ) -> None:
        if runs is not None and training.lens is not ACCURACY:
            raise ValueError(f"runs hold accuracies, and this panel draws {training.lens.axis!r}; leave runs out")
        self.extra, self.runs = dict(extra or {}), runs
        moved = ("epsilon", "rank", "clients", *self.extra)
        super().__init__(training, {name: getattr(training.start, name) for name in moved}, mode=mode)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """The three, and what the lesson adds."""
        return {**three_sliders(self.start), **self.extra}

    def draw(self, values: Values) -> go.Figure:
        """Rounds on the left, noise on the right."""
        return figures_training.training_figure(self.view())

    def redraw(self, values: Values) -> Shown:
        """The training's state; it has the values already."""
        training, now = self.training, self.view()
        return Shown(
            traces=figures_training.training_data(now),
            title=figures_training.training_title(now),
            status=training.status,
            facts=training.facts(),
            notes=[self.told(), *against(training, now.rivals), training.caution],
            error=training.error,
        )

    def shipped(self) -> Sequence[Sequence[float]]:
        """The shipped runs at the sliders' settings, a curve a seed."""
        training = self.training
        return ablation.seeds_at(self.runs or {}, training.method, training.settings, training.task.name)

    def told(self) -> str:
        """What the shipped runs are here; off their grid, what draws a band in their place."""
        training, curves = self.training, self.shipped()
        if self.runs is None:
            return ""
        found = ablation.told(curves, training.method, training.settings, training.task.name)
        return found if curves or self.seeds.curves() or self.mode != "live" else f"{found} {HINT}"

    def view(self) -> figures_training.TrainingView:
        """What the figure needs of the training's state, and of the grid; off it, of several seeds run here."""
        training, shipped = self.training, self.shipped()
        here = self.seeds.curves() if not shipped and training.lens is ACCURACY else []
        seen = replace(view(training), shipped=shipped or here, rivals=beside(training))
        return replace(seen, shipped_name="run here") if here else seen


def beside(training: LiveTraining) -> Sequence[rivals.Rival]:
    """The shipped baselines at the setting nearest to the sliders'; none where the lens draws no accuracy."""
    at = training.settings
    return rivals.nearest(training.task.name, at.epsilon, at.clients) if training.lens is ACCURACY else []


def against(training: LiveTraining, found: Sequence[rivals.Rival]) -> list[str]:
    """What lies beside a training, and, once a run has ended at the sliders' settings, each that it is not ahead of."""
    if training.lens is not ACCURACY:
        return []
    said, done = [rivals.told(training.task.name, found)], training.records
    if done and done[-1].evaluated and done[-1].round == training.trained.rounds:
        at = training.trained
        shown = rivals.nearest(training.task.name, at.epsilon, at.clients)
        said += rivals.told_of_run(training.trained_method, done[-1].accuracy, len(training.task.test), shown)
    return said


def view(training: LiveTraining) -> figures_training.TrainingView:
    """What a figure needs of a training's state."""
    return figures_training.TrainingView(
        method=training.trained_method.name,
        outlook=training.outlook,
        records=training.records,
        rounds=training.start.rounds,
        name=training.name,
        previous=training.previous,
        previous_name=training.previous_name,
        reference=training.reference,
        lens=training.lens,
        seen=training.seen,
        others=training.others(),
    )
