"""The ablation's panel: choose a method and its rate beside ε, rank and clients, and see where the run lands.

On the right lies the shipped grid, a band over seeds at the defaults; every run that ends here adds a dot to it.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit import ablation, figures_ablation, grid
from lalora_kit.figures_ablation import RateView
from lalora_kit.live import LiveTraining, title
from lalora_kit.methods import Method
from lalora_kit.panel import LivePanel, Shown, Values
from lalora_kit.records import Round
from lalora_kit.widgets import slim, three_sliders

RATES = grid.AXES[grid.RATE]


def rate_slider(value: float) -> W.SelectionSlider:
    """The adapter's learning rate over the grid's values, and the given one."""
    rates = sorted({*RATES, float(value)})
    options = [(f"{rate:g}", rate) for rate in rates]
    return W.SelectionSlider(options=options, value=float(value), description="rate", layout=slim())


class RatePanel(LivePanel):
    """Method, rate, ε, rank, clients; Run, Stop, Next seed, Reset; one figure. Headless: one figure and text.

    Args:
        training: the state behind the panel.
        runs: the grid, as `grid.load` gives it.
        methods: what can be chosen, by name.
        dots: runs that were made before, as `(method, rate, accuracy)`.
    """

    def __init__(
        self,
        training: LiveTraining,
        runs: ablation.Runs,
        methods: Mapping[str, Method],
        dots: Sequence[tuple[str, float, float]] = (),
        *,
        mode: str = "auto",
    ) -> None:
        self.runs, self.methods, self.dots = runs, dict(methods), list(dots)
        self.trained = training.method.name
        self.method_of: weakref.WeakKeyDictionary[Round, str] = weakref.WeakKeyDictionary()
        self.method_of.update(dict.fromkeys(training.records, self.trained))
        self.was_running = False
        start = {name: getattr(training.start, name) for name in ("epsilon", "rank", "clients", "learning_rate")}
        super().__init__(training, {**start, "method": self.trained}, mode=mode)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """The three sliders, the rate, and the method."""
        choice = W.Dropdown(options=list(self.methods), value=self.start["method"], description="method", layout=slim())
        return {
            **three_sliders(self.start),
            "learning_rate": rate_slider(self.start["learning_rate"]),
            "method": choice,
        }

    def moved(self) -> None:
        """The method is no setting: the training has it beside them."""
        self.training.method = self.methods[self.values["method"]]
        self.training.move({name: value for name, value in self.values.items() if name != "method"})

    def reset(self) -> None:
        """Back to the first picture, and to its method."""
        self.trained = self.start["method"]
        super().reset()

    def update(self) -> None:
        """A run that has just ended leaves its dot; then draw."""
        training = self.training
        with self.lock:
            if training.running and not training.records:  # a run has just begun
                self.trained = training.method.name
            self.method_of.update(dict.fromkeys(training.records, self.trained))
            ended = self.was_running and not training.running
            if ended and len(training.records) == training.trained.rounds:
                self.dots.append((self.trained, training.trained.learning_rate, training.records[-1].accuracy))
            self.was_running = training.running
            super().update()

    def draw(self, values: Values) -> go.Figure:
        """Rounds on the left, the grid on the right."""
        return figures_ablation.rate_panel_figure(self.view())

    def redraw(self, values: Values) -> Shown:
        """The training's state and the dots so far."""
        training, now = self.training, self.view()
        return Shown(
            traces=figures_ablation.rate_data(now),
            title=figures_ablation.rate_title(now),
            status=training.status,
            facts=training.facts(),
            notes=[training.caution],
            error=training.error,
        )

    def view(self) -> RateView:
        """What the figure needs of the state."""
        training = self.training
        return RateView(
            method=self.trained,
            name=f"{self.trained}, rate {training.trained.learning_rate:g}, {title(training.trained)}",
            rounds=training.start.rounds,
            accuracy=[r.accuracy for r in training.records],
            grid=ablation.line(self.runs, self.trained),
            head=ablation.line(self.runs, "head-only"),
            rates=RATES,
            previous=[r.accuracy for r in training.previous],
            previous_name=f"before: {self.method_of[training.previous[-1]]}" if training.previous else "run before",
            dots=self.dots,
        )
