"""The panel of lesson 05: σ and every client's ε at once, and an audit of a right and a wrong loop after it."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import replace

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.auditing.attack import CONFIDENCE, AuditResult, Rounds, audit, trials_needed
from lalora_kit.figures.privacy import PrivacyView, privacy_data, privacy_figure, privacy_title
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.methods import Method
from lalora_kit.panels.background import Debounce, Runner
from lalora_kit.panels.panel import Panel, Shown, Values
from lalora_kit.panels.widgets import choice_slider, clients_slider, epsilon_slider
from lalora_kit.privacy import Streams, composed_epsilon, safe_noise_multiplier
from lalora_kit.privacy.calibration import draw_schedule
from lalora_kit.settings import Settings

DELTAS = (1e-6, 1e-5, 1e-4, 1e-3)
SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)
FAINT_CLAIM = 1.0  # ε below which a thousand trials scatter by about as much as is claimed
ROOM = 1.0  # nats by which the trials should be able to show more than the claim: a false alarm or two cost that
WAIT = 0.4  # seconds of rest before an audit starts
CAUTION = "σ is a safe value found at once, up to 13 % above the tight one as tried; a run searches for that one."
UNIT = "ε is per sample of one client, for a server that sees every update; a lower bound below it proves nothing."


class PrivacyPanel(Panel):
    """ε, δ, clients and participation; each move is answered at once, and then by an audit in the background.

    Args:
        settings: where the controls start.
        method: whose loop is audited.
        loops: two implementations by name, the right one first, as `audit` takes them.
        people: samples of the private data.
        trials: of each audit; 1,000 can show an ε of at most 3.8, and each doubling about 0.7 more, in twice the time.
        most_trials: as many are taken where the claim is too large, or too small, for fewer to contradict it.
    """

    def __init__(
        self, settings: Settings, method: Method, loops: Mapping[str, Rounds], people: int,
        *, trials: int = 1000, most_trials: int = 4000, mode: str = "auto",
    ) -> None:  # fmt: skip
        self.settings, self.method, self.loops = settings, method, dict(loops)
        self.people, self.trials, self.most_trials = people, trials, max(trials, most_trials)
        self.limits: dict[str, str] = {}
        self.found: dict[str, list[tuple[float, float]]] = {name: [] for name in self.loops}
        self.state = ""
        self.failure: Exception | None = None
        start = {name: getattr(settings, name) for name in ("epsilon", "delta", "clients", "participation")}
        super().__init__({**start, "loop": next(iter(self.loops))}, mode=mode)
        if self.mode == "live":
            self.runner = Runner(self.lock, self._heard, self._ended)
            self.wait = Debounce(WAIT, self.measure, self.lock)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """Four sliders, and which loop is audited."""
        return {
            "epsilon": epsilon_slider(self.start["epsilon"]),
            "delta": choice_slider(DELTAS, self.start["delta"], "δ"),
            "clients": clients_slider(self.start["clients"]),
            "participation": choice_slider(SHARES, self.start["participation"], "joining"),
            "loop": W.ToggleButtons(options=list(self.loops), value=self.start["loop"], style={"button_width": "auto"}),
        }

    def actions(self) -> dict:
        """Audit now, or go back."""
        return {"Audit": (self.measure, "search"), **super().actions()}

    def moved(self) -> None:
        """Numbers at once; the audit when the slider rests."""
        self.state = "the audit starts when the slider rests"
        self.update()
        self.wait()

    def prepare(self) -> None:
        """Headless: one audit of each loop."""
        for name in self.loops:
            if math.isfinite(self.values["epsilon"]):
                self._heard([(name, self.run(name, self.values))])

    def measure(self) -> None:
        """Audit the chosen loop at the sliders' ε and δ, in place of an audit that is still going on."""
        with self.lock:
            values, self.failure = dict(self.values), None
            if not math.isfinite(values["epsilon"]):
                self.state = "without noise nothing is claimed, so there is nothing to audit"
            else:
                self.state = f"auditing {values['loop']!r} with {self.trials_at(values)} virtual clients ..."
                self.runner.start(lambda: self._audits(values))
            self.update()

    def run(self, name: str, values: Values) -> AuditResult:
        """One audit of a loop."""
        given = {key: values[key] for key in ("epsilon", "delta")}
        return audit(
            self.method, **given, trials=self.trials_at(values), seed=self.settings.seed, rounds=self.loops[name]
        )

    def trials_at(self, values: Values) -> int:
        """Virtual clients: enough that a broken loop shows more than ε, with some room, as far as `most_trials` go."""
        if values["epsilon"] < FAINT_CLAIM:
            return self.most_trials
        needed = trials_needed(values["epsilon"] + ROOM, values["delta"], CONFIDENCE)
        return min(max(self.trials, needed or self.most_trials), self.most_trials)

    def _audits(self, values: Values) -> Generator[tuple[str, AuditResult], None, None]:
        yield values["loop"], self.run(values["loop"], values)

    def _heard(self, results: list[tuple[str, AuditResult]]) -> None:
        for name, result in results:
            self.found[name].append((result.epsilon, result.epsilon_lower))
            self.limits[name] = result.limit
            self.state = f"{name}: {result}"
        if self.mode == "live":
            self.update()

    def _ended(self, run: int, failure: Exception | None) -> None:
        if failure is not None:
            self.failure, self.state = failure, "the audit failed"
            self.update()

    def at(self, values: Values) -> tuple[Settings, float, list[float]]:
        """Settings, the safe σ, and the ε of each client after all rounds, by a schedule drawn up front."""
        moved = {name: value for name, value in values.items() if name != "loop"}
        settings = replace(self.settings, **moved)
        schedule = draw_schedule(settings, Streams.from_seed(settings.seed).generator("schedule"))
        joined = [sum(client in round for round in schedule) for client in range(settings.clients)]
        rate = settings.sample_rate
        assert rate is not None, "the lesson draws by rate"
        steps = max(joined) * settings.local_steps
        sigma = safe_noise_multiplier(settings.epsilon, settings.delta, rate, steps)
        costs = {
            rounds: composed_epsilon(((rate, sigma, rounds * settings.local_steps),), settings.delta, tight=False)
            if rounds and sigma
            else (0.0 if rounds == 0 else math.inf)
            for rounds in set(joined)
        }
        return settings, sigma, [costs[rounds] for rounds in joined]

    def redraw(self, values: Values) -> Shown:
        """σ and ε by formula; the audits as far as they have come."""
        started = time.perf_counter()
        settings, sigma, spent = self.at(values)
        view = PrivacyView(settings.epsilon, spent, self.found, self.limits)
        held = self.people / settings.clients
        above = f"δ = {settings.delta:g} is above 1/n = {1 / held:.2g}: it would permit to publish one whole sample."
        facts = [
            ("σ, noise multiplier", f"{sigma:.3g} (conservative)"),
            ("ε, least and most of a client", f"{epsilon_text(min(spent))} to {epsilon_text(max(spent))}"),
            ("clients a round", f"{settings.participants} of {settings.clients}"),
            ("samples a client holds", f"{held:,.0f}"),
            ("worked out in", f"{1000 * (time.perf_counter() - started):.0f} ms"),
        ]
        return Shown(
            privacy_data(view), privacy_title(view), self.state or "Move a slider, or press Audit.", facts,
            [above if settings.delta > 1 / held else "", UNIT, CAUTION], error=self.failure,
        )  # fmt: skip

    def draw(self, values: Values) -> go.Figure:
        """ε by client, and claims against bounds."""
        settings, _, spent = self.at(values)
        return privacy_figure(PrivacyView(settings.epsilon, spent, self.found, self.limits))
