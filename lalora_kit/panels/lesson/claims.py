"""The panel of lesson 06: the forest plot under fewer or more seeds, at equal rate or at each side's best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.figures.claims import MODES, counts, forest_data, forest_figure, forest_layout, forest_title
from lalora_kit.panels.lesson.moves import went
from lalora_kit.panels.panel import Panel, Shown, Values
from lalora_kit.panels.widgets import slim, three_sliders
from lalora_kit.trial.claims import CLAIMS, Claim
from lalora_kit.trial.designs import LESSONS, Design, Runs
from lalora_kit.trial.study import SKEW
from lalora_kit.trial.verdicts import Row, judge

LABELS = {"best": "each at its best rate", "equal": "equal rate"}
EVEN, SKEWED = "even", "skewed"  # how the labels are split over the clients
Place = tuple[float, int, int, str]  # ε, rank, clients, the split
READY = "Take seeds away: fewer seeds widen the grey zone. A verdict that flips with one seed was never one."
PLACES = ("epsilon", "rank", "clients", "split")


def place_of(claim: Claim, design: Design) -> Place:
    """Where the runs of a claim were made."""
    usual, moved = design.usual, claim.moved
    split = SKEWED if SKEW in moved else EVEN
    return claim.epsilon, moved.get("rank", usual.rank), moved.get("clients", usual.clients), split


def nearest(claims: Sequence[Claim], at: Place, design: Design) -> Place:
    """The place of some claims that is nearest to `at`, on logarithmic axes; of two as near, the one asked first.

    The split comes first: nothing is near to a skewed one but another.
    """

    def distance(place: Place) -> tuple[bool, float]:
        return place[3] != at[3], sum(abs(math.log(min(a, 1e6) / b)) for a, b in zip(at[:3], place[:3], strict=True))

    return min((place_of(claim, design) for claim in claims), key=distance)


class ClaimsPanel(Panel):
    """Verdicts over `runs` that are done; nothing is trained here.

    Rank, clients and the split of the labels choose which rows are drawn, the nearest that were run; ε points at some.
    All rows are judged as one family, drawn or not.

    Args:
        runs: as `claim_runs.shipped()` gives them.
        claims: the rows.
        design: what the runs are of; the slider takes the first 2, 3, ... of its seeds, and last all.
        at: first values of `epsilon`, `rank` and `clients`; None takes the design's usual ones.
    """

    def __init__(
        self, runs: Runs, claims: Sequence[Claim] = CLAIMS, design: Design = LESSONS, *,
        at: Values | None = None, mode: str = "auto",
    ) -> None:  # fmt: skip
        self.runs, self.claims, self.design, self.said = runs, claims, design, READY
        self.judged: dict[int, list[Row]] = {}
        place = at or {name: getattr(design.usual, name) for name in PLACES[:3]}
        if any(SKEW in claim.moved for claim in claims):
            place = {**place, "split": EVEN}
        self.most = len(design.seeds) + len(design.more)
        super().__init__({"seeds": self.most, "rates": MODES[0], **place}, mode=mode)
        self.last = dict(self.values)

    def rows(self, count: int) -> list[Row]:
        """The claims judged by the first `count` seeds, or by the whole design at the most; worked out once."""
        if count not in self.judged:
            fewer = replace(self.design, seeds=self.design.seeds[:count], more=())
            self.judged[count] = judge(self.runs, self.claims, self.design if count == self.most else fewer)
        return self.judged[count]

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """Seeds and rates, and what chooses rows; every count is judged beforehand, so that a move only draws."""
        counts_ = {*range(2, len(self.design.seeds) + 1), self.most}
        found = [(self.seeds_text(count), count) for count in sorted(counts_) if self.rows(count)]
        auto = {"button_width": "auto"}
        controls = {
            "seeds": W.SelectionSlider(options=found, value=self.start["seeds"], description="seeds", layout=slim()),
            "rates": W.ToggleButtons(options=[(LABELS[m], m) for m in MODES], value=self.start["rates"], style=auto),
            **three_sliders(self.start),
        }
        if "split" in self.start:
            controls["split"] = W.ToggleButtons(options=[EVEN, SKEWED], description="labels", style=auto)
        return controls

    def moved(self) -> None:
        """Draw, and say what the move did to the verdicts; which runs are nearest stands below the picture."""
        moved = went(*({n: v for n, v in values.items() if n in PLACES} for values in (self.last, self.values)))
        before, after = (self.decided(values) for values in (self.last, self.values))
        how = moved or f"{self.seeds_text(self.values['seeds'])} seeds, {LABELS[self.values['rates']]}"
        self.said = f"{how}: {after} intervals leave out zero; before it were {before}."
        self.last = dict(self.values)
        self.update()

    def seeds_text(self, count: int) -> str:
        """How many seeds are looked at; the most is a second look at what the first seeds leave undecided."""
        first = len(self.design.seeds)
        return f"{first} or {count}" if count > first else str(count)

    def place(self, values: Values) -> Place:
        """Where the runs nearest to the sliders were made."""
        at = (values["epsilon"], values["rank"], values["clients"], values.get("split", EVEN))
        return nearest(self.claims, at, self.design)

    def drawn(self, values: Values, count: int | None = None) -> list[Row]:
        """The rows at the nearest rank, clients and split, at every ε, judged by the first `count` seeds."""
        _, *others = self.place(values)
        rows = self.rows(values["seeds"] if count is None else count)
        return [row for row in rows if [*place_of(row.claim, self.design)[1:]] == others]

    def decided(self, values: Values) -> str:
        """How many of the intervals drawn leave out zero: `5 of 9`."""
        drawn = [getattr(row, values["rates"]) for row in self.drawn(values)]
        return f"{sum(effect.low > 0 or effect.high < 0 for effect in drawn)} of {len(drawn)}"

    def near(self, values: Values) -> tuple[list[str], str]:
        """Keys of the rows that were run nearest to the sliders' ε, rank and clients, and a sentence about them."""
        place = self.place(values)
        rows = [row for row in self.drawn(values) if row.claim.epsilon == place[0]]
        found = counts(rows)
        where = f"ε {place[0]:g}, rank {place[1]}, {place[2]} clients" + (
            ", skewed labels" if place[3] == SKEWED else ""
        )
        return [row.claim.key for row in rows], (
            f"the nearest runs are of {where}, the {len(rows)} larger marks: {found['holds']} hold, "
            f"{found['the opposite holds']} are reversed."
        )

    def redraw(self, values: Values) -> Shown:
        """The same runs, judged again."""
        rows, (keys, said) = self.drawn(values), self.near(values)
        in_points = [row for row in rows if row.claim.unit.name.startswith("points")]
        widest = max((getattr(row, values["rates"]).detectable for row in in_points), default=0.0)
        return Shown(
            forest_data(rows, values["rates"], keys),
            forest_title(rows, values["rates"]),
            self.said,
            [("seeds", self.seeds_text(values["seeds"])), ("drawn", LABELS[values["rates"]]),
             ("widest grey zone", f"±{widest:.1f} points")],
            [f"At the sliders {said}"],
            forest_layout(rows, values["rates"], self.rows(self.most)),
        )  # fmt: skip

    def draw(self, values: Values) -> go.Figure:
        """The forest plot; its rows by all seeds set the scale of its axes."""
        figure = forest_figure(self.drawn(values, self.most), values["rates"], self.rows(self.most))
        shown = self.redraw(values)
        for trace, changed in zip(figure.data, shown.traces, strict=True):
            trace.update(changed)
        return figure.update_layout(title_text=shown.title, **(shown.layout or {}))
