"""The panel of lesson 09: ε, rank and the number of sites; the same run over sites and in one process, live.

What travels, and the noise on it, follow from the sliders at once; Run trains. Every run has sites of its own in a
folder that goes with it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.figures.sites.across import AcrossView, across_data, across_figure, across_title
from lalora_kit.lessons.lesson import outlook
from lalora_kit.lessons.sites.across import NAMES, Near, Pair, opened, side_by_side, terms_of
from lalora_kit.lessons.sites.travel import weighed
from lalora_kit.methods import Method
from lalora_kit.panels.lesson.moves import times, went
from lalora_kit.panels.live import LiveTraining
from lalora_kit.panels.live_panel import LivePanel
from lalora_kit.panels.panel import Shown, Values
from lalora_kit.panels.widgets import slim, three_sliders
from lalora_kit.privacy import Ledger
from lalora_kit.records import Round
from lalora_kit.runs.sites.places import Limit
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task

ONE = "The simulator is given the sites' secrets, so both are one run, and it is counted once."


class AcrossTraining(LiveTraining):
    """`LiveTraining` over sites, a simulator beside them; a run's records are the sites'.

    Args:
        task, method, settings, ledger: as for `LiveTraining`; the settings have no seed.
        first: pairs of rounds of a run made at `settings` before.
    """

    def __init__(
        self, task: Task, method: Method, settings: Settings, *, ledger: Ledger, first: Sequence[Pair] = ()
    ) -> None:
        if settings.seed is not None:
            raise ValueError(
                f"seed={settings.seed} cannot be part of terms: whoever has it knows the noise; leave it out"
            )
        super().__init__(task, method, settings, ledger=ledger, first=[pair.sites for pair in first])
        self.twins: weakref.WeakKeyDictionary[Round, Round] = weakref.WeakKeyDictionary()
        for pair in first:
            self.keep(pair)

    def keep(self, pair: Pair) -> Round:
        """Remember the simulator's record beside the sites'."""
        self.twins[pair.sites] = pair.simulator
        return pair.sites

    def _rounds(self) -> Generator[Round, None, None]:
        self._solve(self.trained)
        settings, ledger = self.trained, Ledger(also=self.ledger)
        terms = terms_of(self.trained_task, self.trained_method, settings)
        limits = dict.fromkeys(terms.sites, Limit(settings.epsilon, settings.delta))
        with TemporaryDirectory() as folder:
            near = Near(opened(Path(folder), self.trained_task, limits))
            with closing(side_by_side(self.trained_task, terms, near, Path(folder) / "server", ledger)) as walk:  # type: ignore[type-var]
                for pair in walk:
                    self.seen[pair.sites] = self.lens.measure(settings, pair.sites)
                    yield self.keep(pair)


class AcrossPanel(LivePanel):
    """ε, rank and the number of sites; Run, Stop, Reset; one figure, the facts. Headless: figure and text."""

    training: AcrossTraining

    def __init__(self, training: AcrossTraining, *, mode: str = "auto") -> None:
        start = {name: getattr(training.start, name) for name in ("epsilon", "rank", "clients")}
        self.said, self.last = "", start
        super().__init__(training, start, mode=mode)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """The three; a client is a site, and ε is finite, for a site answers no terms without noise."""
        controls = three_sliders(self.start)
        epsilon = controls["epsilon"]
        epsilon.options = [(name, value) for name, value in epsilon.options if value < float("inf")]  # type: ignore[attr-defined]
        epsilon.value = self.start["epsilon"]  # new options had put the slider at the first of them
        sites = W.IntSlider(value=self.start["clients"], min=1, max=len(NAMES), description="sites", layout=slim())
        return {**controls, "clients": sites}

    def moved(self) -> None:
        """Hand the values on, and say what the move did to an upload's length and to its noise."""
        (sent, noise), (now, louder) = self.cost(self.last), self.cost(self.values)
        if move := went(self.last, self.values).replace("clients", "sites"):
            self.said = f"{move}: an upload is {times(sent, now)}, its σ {times(noise, louder)}."
        self.last = self.values
        super().moved()

    def reset(self) -> None:
        """As a training's; what a move did is past."""
        super().reset()
        self.said = ""
        self.update()

    def cost(self, values: Values) -> tuple[int, float]:
        """Bytes of an upload, and the safe σ of its noise, which is found at once."""
        training, at = self.training, replace(self.training.settings, **values)
        weight = weighed(training.task, training.method, at)
        sigma = outlook(training.task, training.method, at, tight=False).noise_multiplier
        return sum(size for kind, size in weight.items() if not kind.startswith("down")), sigma

    def actions(self) -> dict[str, tuple[Callable[[], object], str]]:
        """As a training's, but that there is no seed."""
        return {name: action for name, action in super().actions().items() if name != "Next seed"}

    def draw(self, values: Values) -> go.Figure:
        """Both curves on the left, bytes on the right."""
        return across_figure(self.view())

    def redraw(self, values: Values) -> Shown:
        """The training's state; it has the values already."""
        training, now = self.training, self.view()
        return Shown(
            traces=across_data(now), title=across_title(now), status=f"{training.status} {self.said}".strip(),
            facts=[*self.facts(now), *training.facts()], notes=[ONE, training.caution], error=training.error,
        )  # fmt: skip

    def facts(self, view: AcrossView) -> list[tuple[str, str]]:
        """What the numbers of the figure are."""
        sent = sum(value for kind, value in view.travels.items() if not kind.startswith("down"))
        apart = "no round yet" if view.apart is None else f"{view.apart:.1g}"
        return [("largest difference of the two models", apart), ("bytes of an upload", f"{sent:,}")]

    def view(self) -> AcrossView:
        """What the figure needs."""
        training = self.training
        pairs = [Pair(r, training.twins[r]) for r in training.records]
        at = training.settings
        return AcrossView(
            sites=[pair.sites for pair in pairs], simulator=[pair.simulator for pair in pairs], rounds=at.rounds,
            apart=max((pair.apart() for pair in pairs), default=None),
            clients=len(pairs[0].sites.epsilons) if pairs else at.clients,
            travels=weighed(training.task, training.method, at), sigma=training.outlook.noise_multiplier,
            stays=sum(value.nbytes for value in training.task.train.inputs.values()) // at.clients,
        )  # fmt: skip
