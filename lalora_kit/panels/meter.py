"""The meter of a long run: rounds done, accuracy, and how much of ε is spent, while it goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import ipywidgets as W
from IPython.display import display

from lalora_kit.lessons import lesson
from lalora_kit.records import Round
from lalora_kit.settings import Settings


def metered(rounds: Iterable[Round], settings: Settings, *, mode: str = "auto") -> Iterator[Round]:
    """Hand each round on, and show how far the run is; headless, a line of text when it ends.

    Stop the kernel's cell to stop the run: what `rounds_kept` has written stays, and the cell goes on from there.
    """
    live = lesson.mode(mode) == "live"
    done = W.IntProgress(min=0, max=settings.rounds, description="rounds")
    spent = W.FloatProgress(
        min=0, max=settings.epsilon if settings.private else 1, description="ε spent", bar_style="warning"
    )
    line = W.HTML()
    if live:
        display(W.VBox([W.HBox([done, spent]), line]))
    last = None
    for last in rounds:
        text = told(last, settings)
        done.value, line.value = last.round, text
        spent.value = last.epsilon if math.isfinite(last.epsilon) else 0
        yield last
    if not live and last is not None:
        print(told(last, settings))


def told(r: Round, settings: Settings) -> str:
    """`round 7 of 100: accuracy 43.1 %, ε 0.61 of 1, 12.3 s a round`."""
    tested = f"accuracy {r.accuracy:.1%}" if r.evaluated else "not evaluated"
    target = f" of {settings.epsilon:g}" if settings.private else ""
    return (
        f"round {r.round} of {settings.rounds}: {tested}, ε {lesson.epsilon_text(r.epsilon)}{target}, "
        f"{r.seconds:.2g} s a round"
    )
