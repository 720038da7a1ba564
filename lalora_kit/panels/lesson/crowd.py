"""The panel of lesson 07: what a private step costs a client, by how many people it has. Nothing is trained."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.figures.scale import CrowdView, crowd_data, crowd_panel_figure
from lalora_kit.lessons.lesson import EPSILONS
from lalora_kit.panels.lesson.moves import times, went
from lalora_kit.panels.panel import Panel, Shown, Values
from lalora_kit.panels.widgets import slim, three_sliders
from lalora_kit.privacy import safe_noise_multiplier

PEOPLE = (100, 250, 500, 1000, 2500, 6250, 10_000, 25_000, 50_000, 100_000)
READY = "Move a slider: everything here is worked out at once, nothing is trained."
CAUTION = "σ is a safe value found at once, up to 13 % above the tight one as tried; a run searches for that one."


@dataclass(frozen=True)
class Schedule:
    """What a run asks of each client: T·K local steps of `batch` people on average, and δ."""

    steps: int
    batch: int
    delta: float
    participation: float


class CrowdPanel(Panel):
    """People per client, ε, rank and clients; the noise multiplier on the left, the noise in a step on the right.

    Args:
        start: first values of `people`, `epsilon`, `rank` and `clients`.
        schedule: of the run.
        numbers: rank -> how many numbers a client sends in a local step.
        share: of a client's people that a step draws, for the line where it draws the same share whatever their number.
    """

    def __init__(
        self, start: Mapping[str, float], schedule: Schedule, numbers: Mapping[int, float], *, share: float,
        mode: str = "auto",
    ) -> None:  # fmt: skip
        self.schedule, self.numbers, self.share, self.said = schedule, dict(numbers), share, READY
        self.sizes = sorted({*PEOPLE, int(start["people"])})
        super().__init__(start, mode=mode)
        self.last = dict(self.values)
        self.ahead = threading.Thread(target=self.work_ahead, daemon=True)
        if self.mode == "live":
            self.ahead.start()

    def work_ahead(self) -> None:
        """Every σ that the sliders may ask for, those of the nearest ε first: some seconds, then moves only draw."""
        start = min(self.start["epsilon"], 1e6)
        for epsilon in sorted(EPSILONS, key=lambda e: abs(math.log(e / start))):
            for rate in (self.share, *(min(1.0, self.schedule.batch / people) for people in self.sizes)):
                self.sigma({"epsilon": epsilon}, rate)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """People per client, and the three; the ranks are those at hand."""
        sizes, people = [(f"{n:,}", n) for n in self.sizes], int(self.start["people"])
        ranks = sorted(self.numbers)
        return {
            "people": W.SelectionSlider(options=sizes, value=people, description="people", layout=slim()),
            **three_sliders(self.start),
            "rank": W.SelectionSlider(options=ranks, value=self.start["rank"], description="rank", layout=slim()),
        }

    def moved(self) -> None:
        """Draw, and say what the move did to σ and to the noise in a step."""
        (old, before), (new, now) = (self.at(values) for values in (self.last, self.values))
        move = went(self.last, self.values).replace("people went", "People per client went")
        if move:
            self.said = f"{move}: σ is {times(old, new)}, the noise in a step {times(before, now)}."
        self.last = dict(self.values)
        self.update()

    def at(self, values: Values) -> tuple[float, float]:
        """σ, and the noise in one averaged step in units of C, where the step draws `batch` people."""
        sigma = self.sigma(values, min(1.0, self.schedule.batch / values["people"]))
        return sigma, self.noise(values, sigma, self.schedule.batch)

    def sigma(self, values: Values, rate: float) -> float:
        """The safe σ at a sampling rate."""
        return safe_noise_multiplier(values["epsilon"], self.schedule.delta, rate, self.schedule.steps)

    def noise(self, values: Values, sigma: float, batch: float) -> float:
        """√d·σ / (b·√m): d numbers, b people a step, the mean of m clients that join."""
        joined = max(1, round(self.schedule.participation * values["clients"]))
        return sigma * math.sqrt(self.numbers[values["rank"]] / joined) / batch

    def view(self, values: Values) -> CrowdView:
        """The lines at the sliders' ε, rank and clients."""
        batch = self.schedule.batch
        sigmas = [(n, self.sigma(values, min(1.0, batch / n))) for n in self.sizes]
        share = self.sigma(values, self.share)
        lines = (
            sigmas,
            [(n, self.noise(values, sigma, batch)) for n, sigma in sigmas],
            [(n, self.noise(values, share, self.share * n)) for n in self.sizes],
        )
        drawn = [[point for point in line if point[1] > 0] for line in lines]  # ε = ∞ has no place on a log axis
        return CrowdView(drawn[0], drawn[1], drawn[2], people=values["people"], batch=batch)

    def title(self, values: Values) -> str:
        """What the place costs."""
        if math.isinf(values["epsilon"]):
            return "Without noise a step costs nothing, <br>and nothing is promised"
        sigma, noise = self.at(values)
        return f"A client of {values['people']:,} people needs σ = {sigma:.2f}: <br>a step's noise is {noise:.3g} C"

    def redraw(self, values: Values) -> Shown:
        """The formulas at the sliders' values."""
        sigma, noise = self.at(values)
        facts = [
            ("people in all", f"{values['people'] * values['clients']:,}"),
            ("chance to be drawn in a step", f"{min(1.0, self.schedule.batch / values['people']):.2%}"),
            ("σ, noise multiplier", f"{sigma:.3g} (conservative)"),
            ("noise in one averaged step", f"{noise:.3g} C"),
        ]
        return Shown(crowd_data(self.view(values)), self.title(values), self.said, facts, [CAUTION])

    def draw(self, values: Values) -> go.Figure:
        """σ on the left, the noise in a step on the right."""
        return crowd_panel_figure(self.view(values), self.title(values))
