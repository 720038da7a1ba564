"""Live training: the state behind a panel, without any widget. Sliders move it, rounds arrive, a view redraws.

Moving a slider gives σ and the noise at once (a safe σ first, the tight one shortly after). Training starts with
`run`; from then on a slider that rests restarts it, until `stop`.
"""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from lalora_kit.federated import federated_rounds
from lalora_kit.lessons.lens import ACCURACY, Lens, Seen
from lalora_kit.lessons.lesson import Outlook, epsilon_text, outlook
from lalora_kit.methods import Method
from lalora_kit.panels.background import Debounce, Runner
from lalora_kit.privacy import Ledger
from lalora_kit.records import Round
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task

DEBOUNCE = 0.25  # seconds that a slider rests before training restarts
READY = "Ready. Move a slider to see the noise; press Run to train."


class LiveTraining:
    """One method on one task, trained again and again at settings that a reader moves.

    Every run spends against a ledger of its own, for its own target ε; `ledger` is told of all of them: it says
    what the notebook as a whole has cost the people in the data.

    Args:
        task, method, settings: the run to start with.
        ledger: of all runs in this notebook.
        first: records of a run made at `settings` before, shown until the first run.
        reference: head-only's records, drawn along.
        lens: what is drawn of each round; measured in the thread that trains.
        labels: names, for the legend, of settings that move beside ε, rank and clients.

    `on_change` is called, under `lock`, after every change of state; a view sets it.
    """

    def __init__(
        self,
        task: Task,
        method: Method,
        settings: Settings,
        *,
        ledger: Ledger,
        first: Sequence[Round] = (),
        reference: Sequence[Round] = (),
        lens: Lens = ACCURACY,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.task, self.method, self.start, self.ledger = task, method, settings, ledger
        self.trained_task = task
        self.first, self.reference = tuple(first), tuple(reference)
        self.lens, self.labels = lens, dict(labels or {})
        self.seen: weakref.WeakKeyDictionary[Round, Seen] = weakref.WeakKeyDictionary()
        for r in (*self.first, *self.reference):
            self.seen[r] = lens.measure(settings, r)
        self.settings = self.trained = settings
        self.trained_method = self.previous_method = method
        self.records: list[Round] = list(first)
        self.previous: list[Round] = []
        self.previous_name = "run before"
        self.made: dict[tuple[str, bool, Settings], list[Round]] = {}
        self.outlook = outlook(task, method, settings, tight=True)
        self.total, self.noised = totals(ledger, settings.delta)
        self.status = READY
        self.error: Exception | None = None
        self.armed = self.running = False
        self._run = 0
        self.lock, self._solving = threading.RLock(), threading.Lock()
        self.on_change: Callable[[], object] = lambda: None
        self._runner = Runner(self.lock, self._arrived, self._ended)
        self._restart = Debounce(DEBOUNCE, self._guarded(self.run), self.lock)
        self._refine = Debounce(DEBOUNCE, self._guarded(self._tighten), self.lock)

    @property
    def name(self) -> str:
        """What the curve on show was trained with."""
        plain = "" if self.trained_task.standardise else ", features as they are"
        return title(self.trained, self.labels) + plain

    @property
    def caution(self) -> str:
        """Why the ε on show is no guarantee, or nothing."""
        return self.records[-1].caution if self.records else ""

    def others(self) -> list[list[Round]]:
        """Runs made here, whole or stopped, that differ from the one on show by their seed only."""
        on_show = [records[-1] for records in (self.records, self.previous) if records]
        return [
            run
            for (*of, settings), run in self.made.items()
            if of == [self.trained_method.name, self.trained_task.standardise]
            and settings.seed != self.trained.seed
            and dataclasses.replace(settings, seed=self.trained.seed) == self.trained
            and run[-1] not in on_show
        ]

    def facts(self) -> list[tuple[str, str]]:
        """What the numbers are now, as `(name, value)` texts."""
        sigma = f"{self.outlook.noise_multiplier:.3g}" + ("" if self.outlook.tight else " (conservative)")
        spent = epsilon_text(self.records[-1].epsilon) if self.records else "none yet"
        seconds = sum(r.seconds for r in self.records) / max(1, len(self.records))
        return [
            ("σ, noise multiplier", sigma),
            ("a 50 % suspicion can grow to", f"{self.outlook.bound:.1%}"),
            ("ε of this run", spent),
            ("ε of all runs on these data", self._spent() + " (before this run)" * self.running),
            ("seconds a round", f"{seconds:.2f}" if self.records else "none yet"),
        ]

    def _spent(self) -> str:
        """ε of all runs; where one had no noise it is infinite, and that of the others is told beside it."""
        alone = f" ({epsilon_text(self.noised)} by those with noise)" if self.noised < self.total else ""
        return epsilon_text(self.total) + alone

    def move(self, values: Mapping[str, Any]) -> None:
        """Take over the sliders' values."""
        with self._change():
            self.settings = dataclasses.replace(self.settings, **values)
            self.outlook = outlook(self.task, self.method, self.settings, tight=False)
            self.error = None
        self._refine()
        if self.armed:
            self._restart()

    def run(self) -> None:
        """Train at the present settings, in the background, in place of a run that is going on."""
        with self._change():
            self._restart.cancel()
            if self.records:
                of = (self.trained_method.name, self.trained_task.standardise, self.trained)
                self.made[of] = max(self.records, self.made.get(of, []), key=len)
            if len(self.records) >= len(self.previous):  # a run cut short does not push out a whole one
                self.previous, self.previous_name = self.records, f"before: {self.name}"
                self.previous_method = self.trained_method
            self.records, self.trained, self.error = [], self.settings, None
            self.trained_method, self.trained_task = self.method, self.task
            self.armed = self.running = True
            self.status = f"Running: round 1 of {self.settings.rounds}."
            self._run = self._runner.start(self._rounds)

    def stop(self) -> None:
        """End a run within one round; sliders no longer restart it."""
        with self._change():
            self._restart.cancel()
            self._runner.stop()
            if self.running:
                self.status = f"Stopped after round {len(self.records)} of {self.trained.rounds}."
            self.armed = self.running = False

    def next_seed(self) -> None:
        """Train once more with the next seed, everything else equal: how much of a change is luck?"""
        with self.lock:
            seed = 0 if self.settings.seed is None else self.settings.seed + 1
            self.settings = dataclasses.replace(self.settings, seed=seed)
            self.run()

    def reset(self) -> None:
        """Back to the first picture. What was spent stays spent."""
        self.stop()
        with self._change():
            self.settings = self.trained = self.start
            self.trained_method, self.trained_task = self.method, self.task
            self.records, self.previous, self.previous_name = list(self.first), [], "run before"
            self.outlook = outlook(self.task, self.method, self.start, tight=True)
            self.status, self.error = READY, None

    def complete(self) -> None:
        """Without a view: one run at the start settings, here and now, unless there is one to show."""
        if not self.records:
            self.records = list(self._rounds())
            self.total, self.noised = totals(self.ledger, self.start.delta)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the newest run has ended; whether it has."""
        return self._runner.join(timeout)

    def fail(self, failure: Exception) -> None:
        """Show a failure and stop: swallowed, it would look like a panel that does nothing."""
        with self._change():
            self._runner.stop()
            self.status, self.error = "Failed.", failure
            self.armed = self.running = False

    @contextmanager
    def _change(self) -> Generator[None, None, None]:
        """Change state, then have it drawn, as one."""
        with self.lock:
            yield
            self.on_change()

    def _rounds(self) -> Generator[Round, None, None]:
        self._solve(self.trained)
        settings = self.trained
        rounds = federated_rounds(self.trained_task, self.trained_method, settings, ledger=Ledger(also=self.ledger))
        with closing(rounds):  # type: ignore[type-var]
            for r in rounds:
                self.seen[r] = self.lens.measure(settings, r)
                yield r

    def _guarded(self, action: Callable[[], object]) -> Callable[[], None]:
        def guarded() -> None:
            try:
                action()
            except Exception as failure:
                self.fail(failure)

        return guarded

    def _tighten(self) -> None:
        settings = self.settings
        tight = self._solve(settings)
        with self._change():
            if settings == self.settings:
                self.outlook = tight

    def _solve(self, settings: Settings) -> Outlook:
        """The tight outlook; one thread at a time, so that the next one finds the answer in the cache."""
        with self._solving:
            return outlook(self.task, self.method, settings, tight=True)

    def _arrived(self, records: Sequence[Round]) -> None:
        with self._change():
            self.records = [*self.records, *records]
            at = len(self.records) + 1
            if at <= self.trained.rounds:
                self.status = f"Running: round {at} of {self.trained.rounds}."

    def _ended(self, run: int, error: Exception | None) -> None:
        total = totals(self.ledger, self.trained.delta)  # a second or more, so not under the lock
        with self._change():
            self.total, self.noised = total
            if run != self._run:
                return  # another run has begun in the meantime, and the status is its own
            if error is not None:
                self.status, self.error, self.armed = "Failed.", error, False
            elif self.running:
                self.status = f"Done: {len(self.records)} rounds."
            self.running = False


def totals(ledger: Ledger, delta: float) -> tuple[float, float]:
    """ε of everything in a ledger, and of its releases with noise alone."""
    return ledger.epsilon(delta), ledger.epsilon(delta, noised=True)


def title(settings: Settings, labels: Mapping[str, str] | None = None) -> str:
    """The three knobs, those that `labels` names, and the seed, short enough for a legend."""
    more = "".join(f", {label} {getattr(settings, name)}" for name, label in (labels or {}).items())
    of = f"ε {epsilon_text(settings.epsilon)}, rank {settings.rank}, {settings.clients} clients"
    return f"{of}{more}, seed {settings.seed}"
