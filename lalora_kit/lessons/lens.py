"""Lens: what a live panel draws of each round beside its noise. Accuracy, unless a lesson measures something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.records import Round
from lalora_kit.settings import Settings

Points = Sequence[tuple[float, float | None]]  # a y of None breaks the line


@dataclass(frozen=True)
class Seen:
    """What a lens saw of one round: points `(x, y)` of the run's curve, and of a second one that is drawn along."""

    points: Points
    beside: Points = ()


@dataclass(frozen=True)
class Lens:
    """What a panel draws of a run.

    Attributes:
        measure: `(settings of the run, a round) -> Seen`. Called once a round, in the thread that trains, so it may
            take as long as a round does; x lies within half a unit of the round's number.
        headline: `(the newest round, what was seen of it) -> title`.
        axis: title of the y axis, with its unit.
        beside: name of the second curve, if there is one.
        yaxis: more of plotly's layout for the y axis.
        hover: plotly's text for a point.
    """

    measure: Callable[[Settings, Round], Seen]
    headline: Callable[[Round, Seen], str]
    axis: str
    beside: str = ""
    yaxis: Mapping[str, Any] = field(default_factory=dict)
    hover: str = "round %{x}: %{y:.3g}"


def accuracy(settings: Settings, r: Round) -> Seen:
    """A point a round that was evaluated."""
    return Seen([(r.round, r.accuracy)] if r.evaluated else [])


def accuracy_text(r: Round) -> str:
    """`43.1%`, or that nobody looked."""
    return f"{r.accuracy:.1%}" if r.evaluated else "not evaluated"


def accuracy_headline(r: Round, seen: Seen) -> str:
    """Accuracy, and what it cost."""
    return f"{accuracy_text(r)} after {r.round} rounds, ε spent = {epsilon_text(r.epsilon)}"


ACCURACY = Lens(
    accuracy,
    accuracy_headline,
    axis="accuracy on the public test set",
    yaxis={"range": [0, 1], "tickformat": ".0%"},
    hover="round %{x}: %{y:.1%}",
)
