"""The ablation's panel: choose a method and its rate beside ε, rank and clients, and see where the run lands.

On the right lies the shipped grid, a band over seeds at the defaults; every run that ends here adds a dot to it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as W
import plotly.graph_objects as go
from IPython.display import display

from lalora_kit import ablation, figures_ablation, grid, lesson
from lalora_kit.figures_ablation import RateView
from lalora_kit.live import LiveTraining, title
from lalora_kit.methods import Method
from lalora_kit.records import Round
from lalora_kit.widgets import (
    clients_slider,
    epsilon_slider,
    error_html,
    facts_html,
    rank_slider,
    show_figure,
    slim,
)

RATES = grid.AXES[grid.RATE]


def rate_slider(value: float) -> W.SelectionSlider:
    """The adapter's learning rate over the grid's values, and the given one."""
    rates = sorted({*RATES, float(value)})
    options = [(f"{rate:g}", rate) for rate in rates]
    return W.SelectionSlider(options=options, value=float(value), description="rate", layout=slim())


class RatePanel:
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
        self.training, self.runs, self.methods, self.mode = training, runs, dict(methods), lesson.mode(mode)
        self.dots, self.first = list(dots), training.method.name
        self.trained = self.first
        self.method_of: weakref.WeakKeyDictionary[Round, str] = weakref.WeakKeyDictionary()
        self.was_running = False
        if self.mode == "live":
            self._build()

    def show(self) -> None:
        """Display the panel, or, headless, what it shows."""
        if self.mode == "live":
            display(self.box)
            return
        self.training.complete()
        show_figure(figures_ablation.rate_panel_figure(self.view()))
        print("\n".join(f"{name}: {value}" for name, value in self.training.facts()))

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

    def _build(self) -> None:
        training, start = self.training, self.training.start
        self.controls: dict[str, W.Widget] = {
            "epsilon": epsilon_slider(start.epsilon),
            "rank": rank_slider(start.rank),
            "clients": clients_slider(start.clients),
            "learning_rate": rate_slider(start.learning_rate),
        }
        self.choice = W.Dropdown(options=list(self.methods), value=self.first, description="method", layout=slim())
        actions = {
            "Run": (training.run, "play"),
            "Stop": (training.stop, "stop"),
            "Next seed": (training.next_seed, "random"),
            "Reset": (self._reset, "undo"),
        }
        self.buttons = {name: W.Button(description=name, icon=icon) for name, (_, icon) in actions.items()}
        self.figure = go.FigureWidget(figures_ablation.rate_panel_figure(self.view()))
        self.text, self.error = W.HTML(), W.HTML()
        for control in (*self.controls.values(), self.choice):
            control.observe(self._guarded(self._moved), "value")
        for name, (action, _) in actions.items():
            self.buttons[name].on_click(self._guarded(action))
        row = W.Layout(flex_flow="row wrap")
        rows = [
            W.HBox(kinds, layout=row) for kinds in ([*self.controls.values(), self.choice], [*self.buttons.values()])
        ]
        self.box = W.VBox([*rows, self.text, self.error, self.figure])
        training.on_change = self._redraw
        self._redraw()

    def _guarded(self, action: Callable[[], object]) -> Callable[[object], None]:
        """`action` as a callback whose failure the panel shows: Jupyter would hide it in a log."""

        def callback(_: object) -> None:
            try:
                action()
            except Exception as failure:
                self.training.fail(failure)

        return callback

    def _moved(self) -> None:
        with self.training.lock:
            self.training.method = self.methods[self.choice.value]
            self.training.move({name: control.value for name, control in self.controls.items()})

    def _reset(self) -> None:
        self.training.stop()
        for name, control in self.controls.items():
            control.value = getattr(self.training.start, name)
        self.choice.value = self.trained = self.first
        self.training.reset()

    def _redraw(self) -> None:
        """Bring figure and text up to the training's state, under its lock."""
        training = self.training
        with training.lock:
            if training.running and not training.records:  # a run has just begun
                self.trained = training.method.name
            self.method_of.update(dict.fromkeys(training.records, self.trained))
            ended = self.was_running and not training.running
            if ended and len(training.records) == training.trained.rounds:
                self.dots.append((self.trained, training.trained.learning_rate, training.records[-1].accuracy))
            self.was_running = training.running
            now = self.view()
            with self.figure.batch_update():
                for trace, data in zip(self.figure.data, figures_ablation.rate_data(now), strict=True):
                    trace.update(data)
                self.figure.layout.title.text = figures_ablation.rate_title(now)
            if ended:
                self.figure._repr_mimebundle_()  # else a reload of the page shows the first figure
            self.text.value = facts_html(training.facts(), training.status, training.caution)
            self.error.value = error_html(training.error)
