"""The panel of lesson 00: the training panel, and a switch for what public inputs are worth to the head.

Switched off, features reach the head as the backbone gives them; the statistics that standardise them are of public
inputs and cost no ε (`tasks.heads.standardise`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ipywidgets as W

from lalora_kit.panels.live import LiveTraining
from lalora_kit.panels.widgets import TrainingPanel


class FeaturesPanel(TrainingPanel):
    """`TrainingPanel` with a switch, where the task brings public inputs; without them it is that panel.

    Args:
        training, about: as for `TrainingPanel`.
    """

    def __init__(self, training: LiveTraining, **about: Any) -> None:
        self.tasks = {True: training.task, False: replace(training.task, standardise=False)}
        super().__init__(training, **about)
        self.start |= {"standardise": True} if training.task.public is not None else {}

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """The three, and the switch."""
        controls = super().make_controls()
        if self.training.task.public is not None:
            controls["standardise"] = W.ToggleButtons(
                options=[("standardised in public", True), ("as they are", False)], value=True,
                description="features", style={"button_width": "auto"},
            )  # fmt: skip
        return controls

    def moved(self) -> None:
        """The switch chooses the task; the rest are settings."""
        values = dict(self.values)
        self.training.task = self.tasks[values.pop("standardise", True)]
        self.training.move(values)

    def shipped(self) -> Sequence[Sequence[float]]:
        """Shipped runs are of standardised features; beside others they would mislead."""
        return super().shipped() if self.training.task.standardise else ()
