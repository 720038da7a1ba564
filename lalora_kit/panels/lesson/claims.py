"""The panel of lesson 06: the forest plot under fewer or more seeds, at equal rate or at each side's best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.figures.claims import MODES, forest_data, forest_figure, forest_title
from lalora_kit.panels.panel import Panel, Shown, Values
from lalora_kit.trial.claims import CLAIMS, Claim
from lalora_kit.trial.designs import LESSONS, Design
from lalora_kit.trial.verdicts import Row, Runs, judge

LABELS = {"best": "each at its best rate", "equal": "equal rate"}


class ClaimsPanel(Panel):
    """Verdicts over `runs` that are done; nothing is trained here.

    Args:
        runs: as `claim_runs.shipped()` gives them.
        claims: the rows.
        design: what the runs are of; the slider takes the first 2, 3, ... of its seeds.
    """

    def __init__(
        self, runs: Runs, claims: Sequence[Claim] = CLAIMS, design: Design = LESSONS, *, mode: str = "auto"
    ) -> None:
        self.runs, self.claims, self.design = runs, claims, design
        self.judged: dict[int, list[Row]] = {}
        super().__init__({"seeds": len(design.seeds), "rates": MODES[0]}, mode=mode)

    def rows(self, count: int) -> list[Row]:
        """The claims judged by the first `count` seeds, worked out once."""
        if count not in self.judged:
            self.judged[count] = judge(self.runs, self.claims, replace(self.design, seeds=self.design.seeds[:count]))
        return self.judged[count]

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """Seeds and rates; every count is judged beforehand, so that a move only draws."""
        counts = [count for count in range(2, len(self.design.seeds) + 1) if self.rows(count)]
        return {
            "seeds": W.SelectionSlider(options=counts, value=self.start["seeds"], description="seeds"),
            "rates": W.ToggleButtons(
                options=[(LABELS[m], m) for m in MODES], value=self.start["rates"], style={"button_width": "auto"}
            ),
        }

    def redraw(self, values: Values) -> Shown:
        """The same runs, judged again."""
        rows = self.rows(values["seeds"])
        in_points = [row for row in rows if row.claim.unit.name.startswith("points")]
        widest = max((getattr(row, values["rates"]).detectable for row in in_points), default=0.0)
        return Shown(
            forest_data(rows, values["rates"]),
            forest_title(rows, values["rates"], values["seeds"]),
            "Fewer seeds widen the grey zone, beyond the picture's frame with two or three; the scale stays. A verdict "
            "that flips with one seed was never one.",
            [("seeds", str(values["seeds"])), ("drawn", LABELS[values["rates"]]),
             ("widest grey zone", f"±{widest:.1f} points")],
        )  # fmt: skip

    def draw(self, values: Values) -> go.Figure:
        """The forest plot."""
        figure = forest_figure(
            self.rows(len(self.design.seeds)), values["rates"], len(self.design.seeds)
        )  # sets the scale
        data = forest_data(self.rows(values["seeds"]), values["rates"])
        for trace, changed in zip(figure.data, data, strict=True):
            trace.update(changed)
        title = forest_title(self.rows(values["seeds"]), values["rates"], values["seeds"])
        return figure.update_layout(title_text=title)
