"""The panel of lesson 06: the forest plot under fewer or more seeds, at equal rate or at each side's best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.figures.claims import MODES, counts, forest_data, forest_figure, forest_title
from lalora_kit.panels.lesson.moves import went
from lalora_kit.panels.panel import Panel, Shown, Values
from lalora_kit.panels.widgets import slim, three_sliders
from lalora_kit.trial.claims import CLAIMS, Claim
from lalora_kit.trial.designs import LESSONS, Design
from lalora_kit.trial.verdicts import Row, Runs, judge

LABELS = {"best": "each at its best rate", "equal": "equal rate"}
Place = tuple[float, int, int]  # ε, rank, clients
READY = "Take seeds away: fewer seeds widen the grey zone. A verdict that flips with one seed was never one."
PLACES = ("epsilon", "rank", "clients")


def place_of(claim: Claim, design: Design) -> Place:
    """Where the runs of a claim were made."""
    usual, moved = design.usual, claim.moved
    return claim.epsilon, moved.get("rank", usual.rank), moved.get("clients", usual.clients)


def nearest(claims: Sequence[Claim], at: Place, design: Design) -> Place:
    """The place of some claims that is nearest to `at`, on logarithmic axes; of two as near, the one asked first."""

    def distance(place: Place) -> float:
        return sum(abs(math.log(min(a, 1e6) / b)) for a, b in zip(at, place, strict=True))

    return min((place_of(claim, design) for claim in claims), key=distance)


class ClaimsPanel(Panel):
    """Verdicts over `runs` that are done; nothing is trained here. ε, rank and clients point at the nearest rows.

    Args:
        runs: as `claim_runs.shipped()` gives them.
        claims: the rows.
        design: what the runs are of; the slider takes the first 2, 3, ... of its seeds.
        at: first values of `epsilon`, `rank` and `clients`; None takes the design's usual ones.
    """

    def __init__(
        self, runs: Runs, claims: Sequence[Claim] = CLAIMS, design: Design = LESSONS, *,
        at: Values | None = None, mode: str = "auto",
    ) -> None:  # fmt: skip
        self.runs, self.claims, self.design, self.said = runs, claims, design, READY
        self.judged: dict[int, list[Row]] = {}
        place = at or {name: getattr(design.usual, name) for name in PLACES}
        super().__init__({"seeds": len(design.seeds), "rates": MODES[0], **place}, mode=mode)
        self.last = dict(self.values)

    def rows(self, count: int) -> list[Row]:
        """The claims judged by the first `count` seeds, worked out once."""
        if count not in self.judged:
            self.judged[count] = judge(self.runs, self.claims, replace(self.design, seeds=self.design.seeds[:count]))
        return self.judged[count]

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """Seeds and rates, and the three; every count is judged beforehand, so that a move only draws."""
        found = [count for count in range(2, len(self.design.seeds) + 1) if self.rows(count)]
        return {
            "seeds": W.SelectionSlider(options=found, value=self.start["seeds"], description="seeds", layout=slim()),
            "rates": W.ToggleButtons(
                options=[(LABELS[m], m) for m in MODES], value=self.start["rates"], style={"button_width": "auto"}
            ),
            **three_sliders(self.start),
        }

    def moved(self) -> None:
        """Draw, and say what the move did to the verdicts, or which rows are nearest."""
        now = {name: self.values[name] for name in PLACES}
        if now != {name: self.last[name] for name in PLACES}:
            self.said = f"{went(self.last, self.values)}: {self.near(self.values)[1]}"
        else:
            before, after = (self.decided(values) for values in (self.last, self.values))
            how = f"{self.values['seeds']} seeds, {LABELS[self.values['rates']]}"
            self.said = f"{how}: {after} of {len(self.claims)} intervals leave out zero; before it were {before}."
        self.last = dict(self.values)
        self.update()

    def decided(self, values: Values) -> int:
        """How many of the intervals drawn leave out zero."""
        drawn = [getattr(row, values["rates"]) for row in self.rows(values["seeds"])]
        return sum(effect.low > 0 or effect.high < 0 for effect in drawn)

    def near(self, values: Values) -> tuple[list[str], str]:
        """Keys of the rows that were run nearest to the sliders' ε, rank and clients, and a sentence about them."""
        place = nearest(self.claims, (values["epsilon"], values["rank"], values["clients"]), self.design)
        rows = [row for row in self.rows(values["seeds"]) if place_of(row.claim, self.design) == place]
        found = counts(rows)
        where = f"ε {place[0]:g}, rank {place[1]}, {place[2]} clients"
        return [row.claim.key for row in rows], (
            f"the nearest runs are of {where}, the {len(rows)} larger marks: {found['holds']} hold, "
            f"{found['the opposite holds']} are reversed."
        )

    def redraw(self, values: Values) -> Shown:
        """The same runs, judged again."""
        rows, (keys, said) = self.rows(values["seeds"]), self.near(values)
        in_points = [row for row in rows if row.claim.unit.name.startswith("points")]
        widest = max((getattr(row, values["rates"]).detectable for row in in_points), default=0.0)
        return Shown(
            forest_data(rows, values["rates"], keys),
            forest_title(rows, values["rates"], values["seeds"]),
            self.said,
            [("seeds", str(values["seeds"])), ("drawn", LABELS[values["rates"]]),
             ("widest grey zone", f"±{widest:.1f} points")],
            [f"At the sliders {said}"],
        )  # fmt: skip

    def draw(self, values: Values) -> go.Figure:
        """The forest plot."""
        figure = forest_figure(
            self.rows(len(self.design.seeds)), values["rates"], len(self.design.seeds)
        )  # sets the scale
        shown = self.redraw(values)
        for trace, changed in zip(figure.data, shown.traces, strict=True):
            trace.update(changed)
        return figure.update_layout(title_text=shown.title)
