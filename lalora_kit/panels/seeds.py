"""Three seeds at settings of one's own: a first, coarse band where no shipped run lies.

Each run is one of the panel's training: it counts in the ledger, is shown as it goes, and ends with *Stop*.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import replace

from lalora_kit.panels.live import LiveTraining
from lalora_kit.records import Round
from lalora_kit.settings import Settings

BUTTON, SEEDS = "Three seeds", 3
HINT = f"{BUTTON} trains here {SEEDS} times and draws a first, coarse band."


class Seeds:
    """Trains at the present settings, one seed after another, until three are whole; those that there are count.

    A run that anybody else begins, a stop, or a failure ends it.
    """

    def __init__(self, training: LiveTraining) -> None:
        self.training = training
        self.expected: Settings | None = None  # of the run that goes on for this; None if none does

    def start(self) -> None:
        """Begin the first seed that is missing; none is if the band is there."""
        with self.training.lock:
            self._next()

    def follow(self) -> None:
        """Go on after a change of the training's state; called under its lock."""
        training = self.training
        if self.expected is None or (training.running and training.trained == self.expected):
            return
        whole = training.trained == self.expected and len(training.records) == training.trained.rounds
        still, self.expected = training.settings == self.expected, None
        if whole:
            of = (training.trained_method.name, training.trained_task.standardise, training.trained)
            training.made[of] = training.records
            if still and training.armed:
                self._next()

    def _next(self) -> None:
        done, training = self.whole(), self.training
        if len(done) < SEEDS:
            first = training.start.seed or 0
            seed = next(seed for seed in itertools.count(first) if seed not in done)
            self.expected = training.settings = replace(training.settings, seed=seed)
            training.run()

    def whole(self) -> dict[int | None, Sequence[Round]]:
        """Runs made here, whole, at the present settings but for the seed, by it."""
        training, now = self.training, self.training.settings
        shown = (training.trained_method.name, training.trained_task.standardise, training.trained)
        return {
            settings.seed: run
            for (*of, settings), run in {**training.made, shown: training.records}.items()
            if of == [training.method.name, training.task.standardise]
            and replace(settings, seed=now.seed) == now
            and len(run) == settings.rounds
        }

    def curves(self) -> list[list[float]]:
        """Accuracy after each round, a curve a seed; none before three seeds are whole and evaluated each round."""
        runs = [run for run in self.whole().values() if all(r.evaluated for r in run)]
        return [[r.accuracy for r in run] for run in runs] if len(runs) >= SEEDS else []

    def progress(self) -> str:
        """Which of the seeds is running; nothing while none is."""
        if self.expected is None or not self.training.running:
            return ""
        done = self.whole().keys() - {self.expected.seed}  # the run that goes on may be whole before it has ended
        return f"Seed {len(done) + 1} of {SEEDS}."

    def told(self) -> str:
        """What the seeds give, in a sentence; nothing before they are whole."""
        ends = [curve[-1] for curve in self.curves()]
        if not ends:
            return ""
        spread = f"{statistics.fmean(ends):.1%} on average, {min(ends):.1%} to {max(ends):.1%}"
        return f"{len(ends)} seeds, run here: {spread}, after {self.training.settings.rounds} rounds."
