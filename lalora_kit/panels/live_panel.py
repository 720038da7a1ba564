"""A panel over a live training: sliders move its settings, buttons run and stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lalora_kit.federated import federated_rounds
from lalora_kit.panels.live import LiveTraining
from lalora_kit.panels.panel import Panel, Shown
from lalora_kit.panels.seeds import BUTTON, Seeds
from lalora_kit.privacy import Ledger
from lalora_kit.records import Round


class LivePanel(Panel):
    """A panel over a `LiveTraining`: sliders move its settings; Run, Stop, Next seed, Three seeds and Reset."""

    def __init__(self, training: LiveTraining, start: Mapping[str, Any], *, mode: str = "auto") -> None:
        self.training, self.seeds = training, Seeds(training)
        super().__init__(start, mode=mode, lock=training.lock)
        if self.mode == "live":
            training.on_change = self.changed

    def actions(self) -> dict[str, tuple[Callable[[], object], str]]:
        """The buttons of a training; where no seed is known to begin with, there is none to go on from."""
        training = self.training
        several = {BUTTON: (self.seeds.start, "clone")} if training.start.seed is not None else {}
        return {
            "Run": (training.run, "play"),
            "Stop": (training.stop, "stop"),
            "Next seed": (training.next_seed, "random"),
            **several,
            "Reset": (self.reset, "undo"),
        }

    def changed(self) -> None:
        """The training's state has changed: draw it, and begin the next of several seeds if one is due."""
        self.update()
        self.seeds.follow()

    def moved(self) -> None:
        """Hand the values on; the training says when to draw."""
        self.training.move(self.values)

    def prepare(self) -> None:
        """One run, if there is none to show."""
        self.training.complete()

    def reset(self) -> None:
        """Controls and training back to the first picture."""
        self.training.stop()
        super().reset()
        self.training.reset()

    def _tell(self, shown: Shown) -> None:
        """With how far several seeds are, and what they gave."""
        status = f"{self.seeds.progress()} {shown.status}".strip()
        super()._tell(replace(shown, status=status, notes=[*shown.notes, self.seeds.told()]))

    def fail(self, failure: Exception) -> None:
        """A failure ends the run that is going on."""
        self.training.fail(failure)


def at_start(training: LiveTraining) -> Sequence[Round]:
    """A whole run at a training's first settings: one that its panel made, or one that is made now."""
    task, method, settings = training.task, training.method, training.start
    of = (method.name, task.standardise, settings)
    on_show = (training.trained_method.name, training.trained_task.standardise, training.trained) == of
    made = training.records if on_show else training.made.get(of, [])
    if len(made) == settings.rounds:
        return made
    return list(federated_rounds(task, method, settings, ledger=Ledger(also=training.ledger)))
