"""A panel: controls, buttons, lines of text and one live figure, and what every one of them needs beside.

Live, a panel holds *one* `FigureWidget` (5 MB each on the wire), and one lock guards every change of figure and
state, since callbacks run in several threads. Headless, the same cell leaves one plain figure and its text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as W
import plotly.graph_objects as go
import plotly.io as pio
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lalora_kit.lessons import lesson
from lalora_kit.panels.background import Debounce
from lalora_kit.panels.text import error_html, facts_html

PAUSE = 0.5  # seconds of rest after which the picture is kept for a reload of the page
Values = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """What a panel shows at its controls' values.

    traces: of each trace of the figure, in its order, what may have changed; lists, no arrays.
    title: of the figure.
    status: one line, first of the text.
    facts: `(name, value)` texts.
    notes: lines in small print, such as why an ε is no guarantee; empty ones are left out.
    layout: what else may have changed in the figure's layout.
    error: a failure to show.
    """

    traces: Sequence[Mapping[str, Any]]
    title: str
    status: str
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    layout: Mapping[str, Any] | None = None
    error: Exception | None = None


class Panel:
    """What panels share. A subclass says three things, and none of them touches a widget that is on show:

        class Odds(Panel):
            def make_controls(self):  # called live only; the names are those of `start`
                return {"epsilon": epsilon_slider(self.start["epsilon"])}

            def redraw(self, values):
                bound = odds(values["epsilon"])
                return Shown([{"x": [values["epsilon"]], "y": [bound]}], f"at most {bound:.0%}", "Move the slider.")

            def draw(self, values):  # the whole figure, once
                [point] = self.redraw(values).traces
                return go.Figure(go.Scatter(point), {"template": TEMPLATE})

        Odds({"epsilon": 3.0}).show()

    Its own `__init__` sets what these three read, and calls this one last.

    Args:
        start: the controls' first values by name; Reset goes back to them.
        mode: live or headless; auto finds out.
        lock: held during every change of figure and state; a panel over a state with a lock gives that one.
    """

    def __init__(self, start: Mapping[str, Any], *, mode: str = "auto", lock: threading.RLock | None = None) -> None:
        self.start, self.values, self.mode = dict(start), dict(start), lesson.mode(mode)
        self.lock = lock or threading.RLock()
        self._shown: Shown | None = None  # what figure and text show now; None if that is not known
        if self.mode == "live":
            self._build()

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """Widgets by the name of the value that each moves."""
        raise NotImplementedError

    def redraw(self, values: Values) -> Shown:
        """What to show at `values`; called under the lock at every change, so a cheap quantity only."""
        raise NotImplementedError

    def draw(self, values: Values) -> go.Figure:
        """The whole figure at `values`; live, `redraw` goes on from it."""
        raise NotImplementedError

    def actions(self) -> dict[str, tuple[Callable[[], object], str]]:
        """Buttons: what a click on each does, and its icon."""
        return {"Reset": (self.reset, "undo")}

    def moved(self) -> None:
        """A control was moved, and `values` holds its new value."""
        self.update()

    def prepare(self) -> None:
        """Headless, before the figure is drawn: compute what it needs."""

    def show(self) -> None:
        """Display the panel, or, headless, what it shows."""
        if self.mode == "live":
            display(self.box)
            return
        self.prepare()
        show_figure(self.draw(self.values))
        shown = self.redraw(self.values)
        told = "\n".join([*(f"{name}: {value}" for name, value in shown.facts), *filter(None, shown.notes)])
        if InteractiveShell.initialized():
            display({"text/html": facts_html(shown.facts, "", shown.notes), "text/plain": told}, raw=True)
        else:
            print(told)

    def update(self) -> None:
        """Bring figure and text up to date, as one; plotly is handed only what changed, for it is slow to compare."""
        with self.lock:
            shown, before = self.redraw(self.values), self._shown
            self._shown = None
            with self.figure.batch_update():
                known = before.traces if before else [{}] * len(shown.traces)
                for trace, data, last in zip(self.figure.data, shown.traces, known, strict=True):
                    trace.update(changed(data, last))
                self.figure.layout.update(changed(around(shown), around(before) if before else {}))
            self._tell(shown)
            self._shown = shown
            self.keep()

    def reset(self) -> None:
        """The controls back to where they started."""
        for name, control in self.controls.items():
            control.value = self.start[name]

    def fail(self, failure: Exception) -> None:
        """Show a failure: Jupyter would hide it in a log."""
        with self.lock:
            self.error.value = error_html(failure)

    def _build(self) -> None:
        self.controls = self.make_controls()
        self.figure = go.FigureWidget(self.draw(self.values))
        self.figure.observe(self._drawn, "_js2py_traceDeltas")
        self.text, self.error = W.HTML(), W.HTML()
        # A reload of the page shows the first figure unless the widget is told the last one.
        self.keep = Debounce(PAUSE, self.figure._repr_mimebundle_, self.lock)
        actions = self.actions()
        self.buttons = {name: W.Button(description=name, icon=icon) for name, (_, icon) in actions.items()}
        for name, (action, _) in actions.items():
            self.buttons[name].on_click(self._guarded(action))
        for control in self.controls.values():
            control.observe(self._guarded(self._take), "value")
        rows = [
            W.HBox(list(row.values()), layout=W.Layout(flex_flow="row wrap")) for row in (self.controls, self.buttons)
        ]
        self.box = W.VBox([*rows, self.text, self.error, self.figure])
        self._shown = self.redraw(self.values)
        self._tell(self._shown)

    def _drawn(self, change: Mapping[str, Any]) -> None:
        """The browser has drawn the figure, before it knew how wide the page is: once, have it look again."""
        if change["new"] is not None:
            self.figure.unobserve(self._drawn, "_js2py_traceDeltas")
            with self.lock:
                self.figure.layout.autosize = False
                self.figure.layout.autosize = True

    def _take(self) -> None:
        with self.lock:
            self.values = {name: control.value for name, control in self.controls.items()}
            self.moved()

    def _tell(self, shown: Shown) -> None:
        self.text.value = facts_html(shown.facts, shown.status, shown.notes)
        self.error.value = error_html(shown.error)

    def _guarded(self, action: Callable[[], object]) -> Callable[[object], None]:
        """`action` as a callback whose failure the panel shows."""

        def callback(_: object) -> None:
            try:
                action()
            except Exception as failure:
                self.fail(failure)

        return callback


def changed(now: Mapping[str, Any], before: Mapping[str, Any]) -> Values:
    """The entries of `now` that are new or not as they were."""
    return {name: value for name, value in now.items() if name not in before or before[name] != value}


def around(shown: Shown) -> Values:
    """What may change in a figure's layout, its title among it."""
    return {"title": {"text": shown.title}, **(shown.layout or {})}


def show_figure(figure: go.Figure) -> None:
    """Show a static figure as its JSON, which JupyterLab and the HTML pages draw: small, and without network."""
    pio.show(figure, renderer="plotly_mimetype")
