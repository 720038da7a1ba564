"""Widgets: sliders, buttons and one live figure. They ask, and show; what they show is computed elsewhere.

Live, a panel holds *one* `FigureWidget` (5 MB each on the wire). Headless, the same cell leaves one plain figure
and a line of text. Callbacks run in several threads, so one lock guards every change of figure and state.
"""

from __future__ import annotations

import html
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as W
import plotly.graph_objects as go
import plotly.io as pio
from IPython.display import display

from lalora_kit import figures, lesson
from lalora_kit.live import LiveTraining

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


def show_figure(figure: go.Figure) -> None:
    """Show a static figure as its JSON, which JupyterLab and the HTML pages draw: small, and without network."""
    pio.show(figure, renderer="plotly_mimetype")


def predict(question: str, options: Sequence[str], default: str, *, mode: str = "auto") -> lesson.Prediction:
    """Ask before the run; headless, take `default` and say so. `reveal` shows the choice beside the answer."""
    if default not in options:
        raise ValueError(f"default={default!r} is not an option of {question!r}; choose one of {list(options)}")
    if lesson.mode(mode) == "headless":
        print(f"Predict: {question}\n  {'  |  '.join(options)}\nNobody to ask here; the default choice is: {default}")
        return lesson.Prediction(question, options, default, asked=False)
    prediction = lesson.Prediction(question, options, None, asked=True)
    buttons = W.ToggleButtons(options=list(options), value=None, style={"button_width": "auto"})

    def choose(change: dict[str, Any]) -> None:
        prediction.choose(change["new"])

    buttons.observe(choose, "value")
    display(W.VBox([W.HTML(f"<b>Predict:</b> {html.escape(question)}"), buttons]))
    return prediction


def reveal(prediction: lesson.Prediction, answer: str) -> None:
    """Show what came out beside what was predicted; live, the line follows a choice made later."""
    prediction.answer = answer
    if not prediction.asked:
        print(prediction.verdict())
        return
    line = W.HTML()

    def tell() -> None:
        line.value = f"<b>{html.escape(prediction.verdict())}</b>"
        prediction.save(lesson.PREDICTIONS)

    prediction.on_choice = tell
    tell()
    display(line)


class TrainingPanel:
    """The widgets of a `LiveTraining`: ε, rank and clients, Run, Stop, Reset, Next seed, one figure, the facts.

    Headless it trains once if there is nothing to show yet, and leaves one figure and a line of text. What the figure
    draws of each round is the training's `lens`.

    Args:
        training: the state behind the panel.
        extra: controls beside the three, by the name of the setting that each moves.
        mode: live or headless; auto finds out.
    """

    def __init__(
        self, training: LiveTraining, *, extra: Mapping[str, W.ValueWidget] | None = None, mode: str = "auto"
    ) -> None:
        self.training, self.extra, self.mode = training, dict(extra or {}), lesson.mode(mode)
        if self.mode == "live":
            self._build()

    def show(self) -> None:
        """Display the panel, or, headless, what it shows."""
        if self.mode == "live":
            display(self.box)
            return
        self.training.complete()
        show_figure(figures.training_figure(view(self.training)))
        facts = [f"{name}: {value}" for name, value in self.training.facts()]
        print("\n".join(filter(None, [*facts, self.training.caution])))

    def _build(self) -> None:
        training, start = self.training, self.training.start
        self.controls = {
            "epsilon": epsilon_slider(start.epsilon),
            "rank": rank_slider(start.rank),
            "clients": clients_slider(start.clients),
            **self.extra,
        }
        actions = {
            "Run": (training.run, "play"),
            "Stop": (training.stop, "stop"),
            "Next seed": (training.next_seed, "random"),
            "Reset": (self._reset, "undo"),
        }
        self.buttons = {name: W.Button(description=name, icon=icon) for name, (_, icon) in actions.items()}
        self.figure, self.facts, self.error = (
            go.FigureWidget(figures.training_figure(view(training))),
            W.HTML(),
            W.HTML(),
        )
        for control in self.controls.values():
            control.observe(self._guarded(self._moved), "value")
        for name, (action, _) in actions.items():
            self.buttons[name].on_click(self._guarded(action))
        row = W.Layout(flex_flow="row wrap")
        rows = [W.HBox(list(kinds.values()), layout=row) for kinds in (self.controls, self.buttons)]
        self.box = W.VBox([*rows, self.facts, self.error, self.figure])
        self.was_running = False
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
        self.training.move({name: control.value for name, control in self.controls.items()})

    def _reset(self) -> None:
        start = self.training.start
        self.training.stop()
        for name, control in self.controls.items():
            control.value = getattr(start, name)
        self.training.reset()

    def _redraw(self) -> None:
        """Bring the live figure and the text up to the training's state, under its lock."""
        with self.training.lock:
            now = view(self.training)
            with self.figure.batch_update():
                for trace, data in zip(self.figure.data, figures.training_data(now), strict=True):
                    trace.update(data)
                self.figure.layout.title.text = figures.training_title(now)
            if self.was_running and not self.training.running:
                self.figure._repr_mimebundle_()  # else a reload of the page shows the first figure
            self.was_running = self.training.running
            self.facts.value = facts_html(self.training.facts(), self.training.status, self.training.caution)
            self.error.value = error_html(self.training.error)


def view(training: LiveTraining) -> figures.TrainingView:
    """What a figure needs of a training's state."""
    return figures.TrainingView(
        method=training.method.name,
        outlook=training.outlook,
        records=training.records,
        rounds=training.start.rounds,
        name=training.name,
        previous=training.previous,
        previous_name=training.previous_name,
        reference=training.reference,
        lens=training.lens,
        seen=training.seen,
    )


def facts_html(facts: Sequence[tuple[str, str]], status: str, caution: str) -> str:
    """Status, and facts as a row of small labelled values; `caution` says why the ε among them is no guarantee."""
    cells = "".join(
        f"<div style='margin-right:28px'><div style='font-size:85%;color:#555'>{html.escape(name)}</div>"
        f"<b>{html.escape(value)}</b></div>"
        for name, value in facts
    )
    return (
        f"<div role='status' style='line-height:1.4'>{html.escape(status)}"
        f"<div style='display:flex;flex-wrap:wrap;margin-top:4px'>{cells}</div>"
        f"<i style='font-size:85%;color:#555'>{html.escape(caution)}</i></div>"
    )


def error_html(failure: Exception | None) -> str:
    """A failure in red, its place folded away; nothing if there is none."""
    if failure is None:
        return ""
    trace = html.escape("".join(traceback.format_exception(failure)))
    return (
        f"<b role='alert' style='color:#b00020'>{html.escape(f'{type(failure).__name__}: {failure}')}</b>"
        f"<details><summary>where it happened</summary><pre>{trace}</pre></details>"
    )
