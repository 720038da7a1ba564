"""The panel of lesson 05: σ and every client's ε at once, and an audit of a right and a wrong loop after it.

What an audit's trials can show at most is known before it runs. A claim beyond that is said to be beyond, and the same
loop is audited at the largest ε that can be told, so that a broken loop is never cleared for want of trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.auditing.attack import CONFIDENCE, AuditResult, Rounds, audit
from lalora_kit.auditing.reach import ROOM, most_shown, trials_needed, within_reach
from lalora_kit.figures.privacy import PrivacyView, beyond, privacy_data, privacy_figure, privacy_title
from lalora_kit.lessons.lesson import EPSILONS, epsilon_text
from lalora_kit.methods import Method
from lalora_kit.panels.background import Debounce, Runner
from lalora_kit.panels.panel import Panel, Shown, Values
from lalora_kit.panels.text import rose
from lalora_kit.panels.widgets import choice_slider, three_sliders
from lalora_kit.privacy import Streams, composed_epsilon, safe_noise_multiplier
from lalora_kit.privacy.calibration import draw_schedule
from lalora_kit.settings import Settings

DELTAS = (1e-6, 1e-5, 1e-4, 1e-3)
SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)
FAINT_CLAIM = 1.0  # ε below which a thousand trials scatter by about as much as is claimed
WAIT = 0.4  # seconds of rest before an audit starts
READY = "Move a slider: σ and each client's ε follow at once, an audit after them."
CAUTION = "σ is a safe value found at once, up to 13 % above the tight one as tried; a run searches for that one."
UNIT = "ε is per sample of one client, for a server that sees every update; a lower bound below it proves nothing."


class PrivacyPanel(Panel):
    """ε, rank, clients, δ and participation; each move is answered at once, and then by an audit in the background.

    Args:
        settings: where the controls start.
        method: whose loop is audited.
        loops: two implementations by name, the right one first, as `audit` takes them.
        people: samples of the private data.
        numbers: of an adapter of some rank, how many are in an upload; None leaves out rank and the upload's noise.
        trials: of each audit; 1,000 can show an ε of at most 3.8, and each doubling about 0.7 more, in twice the time.
        most_trials: as many are taken where the claim is too large, or too small, for fewer to contradict it.
    """

    def __init__(
        self, settings: Settings, method: Method, loops: Mapping[str, Rounds], people: int,
        *, numbers: Callable[[int], float] | None = None, trials: int = 1000, most_trials: int = 4000,
        mode: str = "auto",
    ) -> None:  # fmt: skip
        self.settings, self.method, self.loops = settings, method, dict(loops)
        self.people, self.trials, self.most_trials = people, trials, max(trials, most_trials)
        self.numbers = numbers
        self.limits: dict[str, str] = {}
        self.found: dict[str, list[tuple[float, float]]] = {name: [] for name in self.loops}
        self.state, self.moves, self.instead = "", READY, ""
        self.failure: Exception | None = None
        self.known: dict[tuple[Any, ...], tuple[Settings, float, list[float]]] = {}
        start = {name: getattr(settings, name) for name in ("epsilon", "rank", "clients", "delta", "participation")}
        self.last = self.facts_at({**start, "loop": ""})
        super().__init__({**start, "loop": next(iter(self.loops))}, mode=mode)
        if self.mode == "live":
            self.runner = Runner(self.lock, self._heard, self._ended)
            self.wait = Debounce(WAIT, self.measure, self.lock)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """The three sliders, δ and participation, and which loop is audited."""
        return {
            **three_sliders(self.start),
            "delta": choice_slider(DELTAS, self.start["delta"], "δ"),
            "participation": choice_slider(SHARES, self.start["participation"], "joining"),
            "loop": W.ToggleButtons(options=list(self.loops), value=self.start["loop"], style={"button_width": "auto"}),
        }

    def actions(self) -> dict:
        """Audit now, or go back."""
        return {"Audit": (self.measure, "search"), **super().actions()}

    def moved(self) -> None:
        """Numbers at once, and in a sentence what the move did to them; the audit when the slider rests."""
        now = self.facts_at(self.values)
        said = [rose(name, self.last[name], now[name]) for name in now]
        self.moves = " ".join(filter(None, said)) or "σ and every client's ε stay as they were."
        self.last, self.state = now, "The audit starts when the slider rests."
        self.update()
        self.wait()

    def facts_at(self, values: Values) -> dict[str, float]:
        """What a move may change, by its name."""
        settings, sigma, spent = self.at(values)
        found = {"σ": sigma, "the least ε of a client": min(spent)}
        if self.numbers is not None:
            found["the noise in one upload, in C,"] = sigma * math.sqrt(self.numbers(settings.rank))
        return found

    def measure(self) -> None:
        """Audit the chosen loop at the sliders' ε and δ, in place of an audit that is still going on."""
        with self.lock:
            values, self.failure = dict(self.values), None
            if not math.isfinite(values["epsilon"]):
                self.state = "Without noise nothing is claimed, so there is nothing to audit."
            else:
                self.instead = self.foretold(values)
                self.state = f"{self.instead}Auditing {values['loop']!r} with {self.trials_at(values):,} clients ..."
                self.runner.start(lambda: self._audits(values))
            self.update()

    def told_at(self, values: Values) -> float:
        """The ε to audit at: the claim, or, where no trials at hand could contradict it, the largest one they could."""
        epsilon, delta = values["epsilon"], values["delta"]
        if most_shown(self.trials_at(values), delta, CONFIDENCE) > epsilon:
            return epsilon
        near = within_reach(EPSILONS, epsilon, self.most_trials, delta, CONFIDENCE)
        return epsilon if near is None else near

    def foretold(self, values: Values) -> str:
        """That a claim is beyond what the trials can show, and where the same loop is audited instead; or nothing."""
        instead, trials = self.told_at(values), self.trials_at(values)
        most = most_shown(trials, values["delta"], CONFIDENCE)
        if most > values["epsilon"]:
            return ""
        needed = trials_needed(values["epsilon"], values["delta"], CONFIDENCE)
        would = f"{needed:,} could" if needed else "no number that an audit may have could"
        said = f"This attack cannot tell at ε = {values['epsilon']:g}: {trials:,} virtual clients show at most "
        said += f"{most:.2f}, however broken the loop ({would}). "
        return said + (f"The same loop at ε = {instead:g}, where it can tell: " if instead < values["epsilon"] else "")

    def run(self, name: str, values: Values) -> AuditResult:
        """One audit of a loop, at the claim as it is."""
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
        yield values["loop"], self.run(values["loop"], {**values, "epsilon": self.told_at(values)})

    def _heard(self, results: list[tuple[str, AuditResult]]) -> None:
        for name, result in results:
            self.found[name].append((result.epsilon, result.epsilon_lower))
            self.limits[name] = result.limit
            self.state = f"{self.instead}{name}: {result}"
        if self.mode == "live":
            self.update()

    def _ended(self, run: int, failure: Exception | None) -> None:
        if failure is not None:
            self.failure, self.state = failure, "The audit failed."
            self.update()

    def at(self, values: Values) -> tuple[Settings, float, list[float]]:
        """Settings, the safe σ, and the ε of each client after all rounds, by a schedule drawn up front."""
        moved = {name: value for name, value in values.items() if name != "loop"}
        place = tuple(moved.values())
        if place not in self.known:
            self.known[place] = self.planned(replace(self.settings, **moved))
        return self.known[place]

    def planned(self, settings: Settings) -> tuple[Settings, float, list[float]]:
        """`at`, worked out."""
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
        settings, sigma, spent = self.at(values)
        view, held = self.view(values, spent), self.people / settings.clients
        above = f"δ = {settings.delta:g} is above 1/n = {1 / held:.2g}: it would permit to publish one whole sample."
        facts = [
            ("σ, noise multiplier", f"{sigma:.3g} (conservative)"),
            ("ε, least and most of a client", f"{epsilon_text(min(spent))} to {epsilon_text(max(spent))}"),
            ("clients a round", f"{settings.participants} of {settings.clients}"),
            ("samples a client holds", f"{held:,.0f}"),
        ]
        if self.numbers is not None:
            facts.append(("noise in one upload", f"{sigma * math.sqrt(self.numbers(settings.rank)):.3g} C"))
        return Shown(
            privacy_data(view), privacy_title(view), f"{self.moves} {self.state}", facts,
            [above if settings.delta > 1 / held else "", UNIT, CAUTION],
            layout=self.around(values), error=self.failure,
        )  # fmt: skip

    def view(self, values: Values, spent: list[float]) -> PrivacyView:
        """What the figure shows."""
        return PrivacyView(values["epsilon"], spent, self.found, self.limits)

    def around(self, values: Values) -> dict[str, Any]:
        """The zone above what the trials for this claim can show."""
        trials = self.trials_at(values) if math.isfinite(values["epsilon"]) else self.most_trials
        return beyond(most_shown(trials, values["delta"], CONFIDENCE), trials)

    def draw(self, values: Values) -> go.Figure:
        """ε by client, and claims against bounds."""
        _, _, spent = self.at(values)
        return privacy_figure(self.view(values, spent)).update_layout(**self.around(values))
