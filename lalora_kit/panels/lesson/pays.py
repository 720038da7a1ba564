"""The panel of lesson 08: accuracy by group of owners, and what each group lost to the noise.

Before a run it shows the shipped runs at the nearest ε, named; a run made here is drawn over them.
"""

from __future__ import annotations

import math

import ipywidgets as W
import numpy as np
import plotly.graph_objects as go

from lalora_kit.engine.persample import Engine
from lalora_kit.figures.scale import PaysView, pays_data, pays_figure
from lalora_kit.lessons.lens import Lens, Seen, accuracy_headline
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.lessons.scale import Owners, owners_of, right_by_owner
from lalora_kit.panels.lesson.moves import times, went
from lalora_kit.panels.live import LiveTraining, totals
from lalora_kit.panels.live_panel import LivePanel
from lalora_kit.panels.panel import Shown, Values
from lalora_kit.panels.widgets import three_sliders
from lalora_kit.privacy import Ledger
from lalora_kit.records import Round
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task


def owners_lens(task: Task, engine: Engine) -> Lens:
    """After a run's last round: `(group, accuracy)` of owners of like size, those who brought least first."""
    who = owners_of(task)

    def measure(settings: Settings, r: Round) -> Seen:
        if r.round < settings.rounds:
            return Seen([])
        right = engine.predict(r.adapter, task.test.inputs).argmax(1) == task.test.labels
        return Seen(list(enumerate(map(float, who.share(right_by_owner(task, right.numpy()))))))

    return Lens(measure, accuracy_headline, axis="accuracy on an owner's test samples")


class PaysPanel(LivePanel):
    """ε, rank, clients; Run, Stop, Next seed, Reset. Headless: the shipped runs, and nothing is trained.

    Args:
        training: of the task with owners, with `owners_lens`.
        kept: the shipped runs.
    """

    def __init__(self, training: LiveTraining, kept: Owners, *, mode: str = "auto") -> None:
        self.kept, self.said = kept, ""
        start = {name: getattr(training.start, name) for name in ("epsilon", "rank", "clients")}
        self.last = (dict(start), training.outlook.noise)
        super().__init__(training, start, mode=mode)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """The three."""
        return three_sliders(self.start)

    def prepare(self) -> None:
        """The shipped runs are enough to show."""

    def moved(self) -> None:
        """Hand the values on, and say what the move did to the noise."""
        super().moved()
        before, noise = self.last
        now = self.training.outlook.noise
        move = went(before, self.values)
        if move:
            self.said = f"{move}: the noise in a step is {times(noise, now)}."
        self.last = (dict(self.values), now)
        self.update()

    def reset(self) -> None:
        """Back to the first picture, and to its words."""
        super().reset()
        self.said, self.last = "", (dict(self.start), self.training.outlook.noise)
        self.update()

    def spent(self, ledger: Ledger) -> None:
        """The lesson has trained on the same people meanwhile: its ledger is what the panel's runs add to."""
        training = self.training
        training.ledger = ledger
        training.total, training.noised = totals(ledger, training.start.delta)
        if self.mode == "live":
            self.update()

    def nearest(self, values: Values) -> float:
        """The ε of the shipped runs that are shown."""
        return values["epsilon"] if math.isinf(values["epsilon"]) else self.kept.nearest(values["epsilon"])

    def view(self, values: Values) -> PaysView:
        """Shipped runs at the nearest ε, and the newest run that ended here."""
        epsilon = self.nearest(values)
        lost = self.kept.lost(epsilon)
        ended = [r for r in self.training.records if r.round == self.training.trained.rounds]
        run = [float(y) for _, y in self.training.seen[ended[-1]].points if y is not None] if ended else []
        return PaysView(
            names=[f"{a}–{b}" for a, b in self.kept.sizes()],
            clear=self.kept.accuracies(math.inf).mean(0).tolist(),
            noisy=self.kept.accuracies(epsilon).mean(0).tolist(),
            lost=lost.mean(0).tolist(),
            error=(2 * lost.std(0, ddof=1) / np.sqrt(len(lost))).tolist(),
            run=run,
            noise="no noise" if math.isinf(epsilon) else f"ε = {epsilon_text(epsilon)}",
        )

    def redraw(self, values: Values) -> Shown:
        """The shipped runs, and the training's state."""
        view, about, training = self.view(values), self.kept.about, self.training
        count = len(self.kept.hits[math.inf])
        where = f"rank {about['rank']}, {about['clients']} clients, {about['rounds']} rounds, {count} seeds"
        basis = (
            f"Shipped runs: {view.noise} (the nearest to the slider's ε), {where}; whiskers are two standard errors."
        )
        mine = "Crosses: your run, against the shipped mean without noise." if view.run else ""
        quiet = training.armed or training.running or not self.said
        return Shown(
            pays_data(view), self.title(view), training.status if quiet else self.said, training.facts(),
            [basis, mine, training.caution], error=training.error,
        )  # fmt: skip

    def title(self, view: PaysView) -> str:
        """What the two ends lose."""
        low, high = (f"{'lose' if x >= 0 else 'gain'} {abs(x):.1f}" for x in (view.lost[0], view.lost[-1]))
        return f"{view.noise}: owners with least text {low} points, <br>those with most {high}"

    def draw(self, values: Values) -> go.Figure:
        """Accuracy on the left, what was lost on the right."""
        view = self.view(values)
        return pays_figure(view, self.title(view))
