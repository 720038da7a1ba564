"""The ablation's panel: choose a method and its rate beside ε, rank and clients, and see where the run lands.

On the right lies the shipped grid along one setting, a band over seeds with all else as usual on the task; every run
that ends here adds a dot to it. On the left a band of the grid lies under the curve, where the grid holds such runs.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.figures import rate as figures_rate
from lalora_kit.figures.rate import Dot, RateView
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.methods import Method
from lalora_kit.panels.live import LiveTraining, title
from lalora_kit.panels.live_panel import LivePanel
from lalora_kit.panels.panel import Shown, Values
from lalora_kit.panels.seeds import HINT
from lalora_kit.panels.widgets import against, beside, slim, three_sliders
from lalora_kit.records import Round
from lalora_kit.settings import Settings
from lalora_kit.trial import ablation, grid
from lalora_kit.trial.designs import design_of

AXES = (("rate", grid.RATE), ("ε", "epsilon"), ("rank", "rank"), ("clients", "clients"))
BESIDE = ("method", "axis")  # controls that are no settings
At = tuple[Method, Settings]
LABELS = {"method": "method", "learning_rate": "rate", "epsilon": "ε", "rank": "rank", "clients": "clients"}


def values_at(at: At) -> list[str | float]:
    """A method's name and its settings, in the order of `LABELS`."""
    method, settings = at
    return [method.name, *(getattr(settings, name) for name in LABELS if name not in BESIDE)]


def rate_slider(value: float, known: Sequence[float]) -> W.SelectionSlider:
    """The adapter's learning rate over the grid's known values, and the given one."""
    rates = sorted({*known, float(value)})
    options = [(f"{rate:g}", rate) for rate in rates]
    return W.SelectionSlider(options=options, value=float(value), description="rate", layout=slim())


def accuracies(records: Sequence[Round]) -> list[float | None]:
    """Accuracy by round, None after one that was not evaluated."""
    return [r.accuracy if r.evaluated else None for r in records]


class RatePanel(LivePanel):
    """Method, rate, ε, rank, clients; Run, Stop, Next seed, Reset; one figure. Headless: one figure and text.

    Args:
        training: the state behind the panel.
        runs: the grid, as `grid.load` gives it.
        methods: what can be chosen, by name.
        dots: runs that were made before, as `(method, settings, accuracy)`.
    """

    def __init__(
        self,
        training: LiveTraining,
        runs: ablation.Runs,
        methods: Mapping[str, Method],
        dots: Sequence[tuple[str, Settings, float]] = (),
        *,
        mode: str = "auto",
    ) -> None:
        self.runs, self.methods, self.dots = runs, dict(methods), list(dots)
        self.was_running, self.design, self.change = False, design_of(training.task.name), ""
        self.at = (training.method, training.settings)
        start = {name: getattr(training.start, name) for name in ("epsilon", "rank", "clients", "learning_rate")}
        super().__init__(training, {**start, "method": training.method.name, "axis": grid.RATE}, mode=mode)

    def band(self) -> tuple[Sequence[Sequence[float]], str, str]:
        """What lies under the curve, its name, and a sentence on it: shipped runs, or seeds run here off their grid."""
        training, here = self.training, self.seeds.curves()
        at = training.method, training.settings
        exact = ablation.seeds_at(self.runs, *at, training.task.name)
        if here and not exact:
            return here, "run here", ""
        curves, told = self.shipped(*at)
        return curves, "grid", told if exact or self.mode != "live" else f"{told} {HINT}"

    def shipped(self, method: Method, settings: Settings) -> tuple[Sequence[Sequence[float]], str]:
        """The shipped runs at a method's settings, or at the nearest that there are, and a sentence that names them."""
        task = self.training.task.name
        near = ablation.nearest(self.runs, method, settings, task) or settings
        curves = ablation.seeds_at(self.runs, method, near, task)
        off = bool(curves) and ablation.seeds_at(self.runs, method, settings, task) != curves
        return curves, "Not at these settings but the nearest. " * off + ablation.told(curves, method, near, task)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """The three sliders, the rate, the method, and what the right axis shows."""
        return {
            **three_sliders(self.start),
            "learning_rate": rate_slider(self.start["learning_rate"], self.design.axes[grid.RATE]),
            "method": W.Dropdown(
                options=list(self.methods), value=self.start["method"], description="method", layout=slim()
            ),
            "axis": W.Dropdown(options=AXES, value=self.start["axis"], description="x axis", layout=slim()),
        }

    def moved(self) -> None:
        """Hand on what concerns the training; another axis is no reason to train."""
        training, method = self.training, self.methods[self.values["method"]]
        settings = {name: value for name, value in self.values.items() if name not in BESIDE}
        if method is training.method and all(getattr(training.settings, n) == v for n, v in settings.items()):
            self.update()
            return
        training.method = method
        with self.lock:
            before, self.at = self.at, (method, replace(training.settings, **settings))
            self.change = self.moved_by(before, self.at)
            training.move(settings)

    def reset(self) -> None:
        """Back to the first picture, with nothing said of a move."""
        super().reset()
        with self.lock:
            self.change = ""
            self.update()

    def moved_by(self, before: At, now: At) -> str:
        """What a move changed, and what the shipped runs say to it."""
        told = [
            f"{label} {one if isinstance(one, str) else epsilon_text(one)} → "
            f"{other if isinstance(other, str) else epsilon_text(other)}"
            for label, one, other in zip(LABELS.values(), values_at(before), values_at(now), strict=True)
            if one != other
        ]  # fmt: skip
        if not told:
            return self.change
        first, last = (self.shipped(*at)[0] for at in (before, now))
        if not first or not last:
            return f"{', '.join(told)}."
        start, end = (statistics.fmean(curve[-1] for curve in found) for found in (first, last))
        if first == last:
            return f"{', '.join(told)}: the nearest shipped runs stay the same (mean {end:.1%})."
        word = f"{'rises' if end > start else 'falls'} from {start:.1%} to"
        word = "stays at" if f"{start:.1%}" == f"{end:.1%}" else word
        return f"{', '.join(told)}: the nearest shipped runs' mean {word} {end:.1%}."

    def update(self) -> None:
        """A run that has just ended leaves its dot; then draw."""
        training = self.training
        with self.lock:
            ended = self.was_running and not training.running
            if ended and len(training.records) == training.trained.rounds:
                self.dots.append((training.trained_method.name, training.trained, training.records[-1].accuracy))
            self.was_running = training.running
            super().update()

    def draw(self, values: Values) -> go.Figure:
        """Rounds on the left, the grid on the right."""
        return figures_rate.rate_panel_figure(self.view(values))

    def redraw(self, values: Values) -> Shown:
        """The training's state, the grid, and the dots so far."""
        training, now = self.training, self.view(values)
        return Shown(
            traces=figures_rate.rate_data(now),
            title=figures_rate.rate_title(now),
            status=f"{training.status} {self.change}".strip(),
            facts=training.facts(),
            notes=[
                self.band()[2],
                *against(training, now.rivals),
                training.caution,
            ],
            layout=figures_rate.rate_layout(now),
            error=training.error,
        )

    def view(self, values: Values) -> RateView:
        """What the figure needs of the state."""
        training, axis, chosen = self.training, values["axis"], self.training.method
        shipped, named, _ = self.band()
        trained = training.trained_method.name
        return RateView(
            method=trained,
            name=f"{trained}, rate {training.trained.learning_rate:g}, {title(training.trained)}",
            rounds=training.start.rounds,
            accuracy=accuracies(training.records),
            grid=ablation.line(self.runs, chosen.name, axis, self.design),
            head=ablation.line(self.runs, "head-only", axis, self.design),
            values=self.design.axes[axis],
            axis=axis,
            chosen=chosen.name,
            previous=accuracies(training.previous),
            previous_name=f"before: {training.previous_method.name}" if training.previous else "run before",
            others=[accuracies(run) for run in training.others()],
            shipped=shipped,
            shipped_name=named,
            at=getattr(training.settings, axis),
            rivals=beside(training),
            dots=[
                Dot(
                    method, getattr(at, axis), accuracy,
                    f"{method}, rate {at.learning_rate:g}, {title(at)}",
                    not ablation.beyond(at, [axis], training.task.name),
                )
                for method, at, accuracy in self.dots
            ],
        )  # fmt: skip
