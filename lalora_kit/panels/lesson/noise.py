"""The panel of lesson 02: what ε, rank and clients do to the noise in W, at once and without any training.

Closed forms only, so that every move of a slider is answered within a frame or two. A switch says
what more clients means: the same people in more hands, or more people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import ipywidgets as W
import plotly.graph_objects as go

from lalora_kit.engine.adapters import Adapter
from lalora_kit.figures.pictures import noise_panel as picture
from lalora_kit.figures.pictures.factors import PRODUCTS, Parts, tiles
from lalora_kit.figures.pictures.noise_panel import SWITCH, NoiseView
from lalora_kit.lessons.amplification import crossover, expected_noise
from lalora_kit.panels.lesson.factors import parts_of
from lalora_kit.panels.lesson.moves import times, went
from lalora_kit.panels.panel import Panel, Shown, Values
from lalora_kit.panels.widgets import slim, three_sliders
from lalora_kit.privacy import Streams, safe_noise_multiplier
from lalora_kit.settings import Settings

POINTS = 15  # of a line from one end of the axis to the other
COUNTS = (1, 2, 4, 8, 16, 32, 64)
READY = "Move a slider: the formulas follow at once, nothing is trained."
CAUTION = "σ is a safe value found at once, up to 13 % above the tight one as tried; a run searches for that one."


def sampling(settings: Settings, held: float) -> tuple[float, float]:
    """`(q, σ)` of a client that holds so many samples and joins every round; σ is the safe one, in milliseconds."""
    rate = settings.sample_rate if settings.batch_size is None else settings.batch_size / held
    assert rate is not None
    steps = settings.rounds * settings.local_steps
    return rate, safe_noise_multiplier(settings.epsilon, settings.delta, rate, steps)


def noise_std(settings: Settings, held: float) -> float:
    """τ, what one step's noise moves one entry of a client's factors by: η·C·σ / L, with L = q·held samples."""
    rate, sigma = sampling(settings, held)
    return settings.learning_rate * settings.clip_norm * sigma / (rate * held)


def averaged_noise(settings: Settings, held: float) -> float:
    """Noise per entry of the clients' averaged factors after one step: τ / √N. The averaging of factors only."""
    return noise_std(settings, held) / math.sqrt(settings.participants)


def noise_view(adapter: Adapter, parts: Parts, settings: Settings, *, held: float, people: int, own: bool) -> NoiseView:
    """What the panel shows at `settings`.

    Args:
        adapter: the factors that noise is added to.
        parts: of one of its layers, with a draw of noise; the heatmaps show one round's.
        settings: ε, rank and clients as the controls have them.
        held: samples that a site brings where each brings its own.
        people: samples in all where the same people are split.
        own: the position of the switch.
    """

    def side(brings_own: bool) -> list[tuple[int, float]]:
        at = [(n, averaged_noise(replace(settings, clients=n), held if brings_own else people / n)) for n in COUNTS]
        return [(n, noise) for n, noise in at if noise > 0]

    low, high = picture.DECADES
    grid = [10 ** (low + (high - low) * i / (POINTS - 1)) for i in range(POINTS)]
    step = averaged_noise(settings, held if own else people / settings.clients)
    run = step * math.sqrt(settings.rounds * settings.local_steps)
    return NoiseView(
        epsilon=settings.epsilon,
        rank=settings.rank,
        clients=settings.clients,
        own=own,
        curve=[(x, expected_noise(adapter, x)) for x in grid],
        crossing=crossover(adapter),
        step=(step, expected_noise(adapter, step)),
        run=(run, expected_noise(adapter, run)),
        split=side(False),
        brought=side(True),
        tiles=tiles(parts, step * math.sqrt(settings.local_steps), PRODUCTS),
    )


def sentence(before: Values, was: NoiseView, now: Values, view: NoiseView) -> str:
    """What was moved, and what that did to the noise and to its product."""
    (old, _), (new, energy) = was.run, view.run
    return (
        f"{went(before, now)}. After a run, noise per entry is {times(old, new)}; "
        f"noise times noise is {times(was.run[1].sizes.cross, energy.sizes.cross)}."
    )


class NoisePanel(Panel):
    """ε, rank, clients and the switch, one figure, the facts. Headless: one figure and a line of text.

    Args:
        adapters: factors by rank; the rank slider offers these.
        settings: where the controls start; a site of its own brings as many people as a client holds then.
        people: samples of the private data.
    """

    def __init__(self, adapters: Mapping[int, Adapter], settings: Settings, people: int, *, mode: str = "auto") -> None:
        if settings.rank not in adapters:
            raise ValueError(f"rank={settings.rank} has no adapter here ({sorted(adapters)}); pass one of that rank")
        self.adapters, self.settings, self.people = dict(adapters), settings, people
        streams = Streams.from_seed(settings.seed)
        self.parts = {r: parts_of(a, streams.generator("picture")) for r, a in self.adapters.items()}
        self.said = ""
        self.last: tuple[Values, NoiseView] | None = None
        self.held = people / settings.clients
        start = {name: getattr(settings, name) for name in ("epsilon", "rank", "clients")}
        super().__init__({**start, "switch": SWITCH[0]}, mode=mode)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        """The three sliders, the ranks those at hand, and the switch."""
        ranks = sorted(self.adapters)
        return {
            **three_sliders(self.start),
            "rank": W.SelectionSlider(options=ranks, value=self.start["rank"], description="rank", layout=slim()),
            "switch": W.ToggleButtons(options=SWITCH, value=SWITCH[0], style={"button_width": "auto"}),
        }

    def draw(self, values: Values) -> go.Figure:
        """The disturbance of W on the left, the number of clients on the right."""
        return picture.noise_figure(self.view(values))

    def redraw(self, values: Values) -> Shown:
        """The closed forms at the controls' values."""
        now = self.view(values)
        if self.last is not None and self.last[0] != values:
            self.said = sentence(*self.last, values, now)
        self.last = dict(values), now
        return Shown(
            traces=picture.noise_data(now),
            title=picture.noise_title(now),
            status=self.said or READY,
            facts=self.facts(values, now),
            notes=[CAUTION],
        )

    def view(self, values: Values) -> NoiseView:
        """What the figure shows at the controls' values."""
        settings, own = self.at(values)
        at = self.adapters[settings.rank], self.parts[settings.rank]
        return noise_view(*at, settings, held=self.held, people=self.people, own=own)

    def at(self, values: Values) -> tuple[Settings, bool]:
        """Settings, and whether each site brings its own people."""
        moved = {name: value for name, value in values.items() if name != "switch"}
        return replace(self.settings, **moved), values["switch"] == SWITCH[1]

    def facts(self, values: Values, view: NoiseView) -> list[tuple[str, str]]:
        """What the numbers are now, as `(name, value)` texts."""
        settings, own = self.at(values)
        held = self.held if own else self.people / settings.clients
        return [
            ("σ, noise multiplier", f"{sampling(settings, held)[1]:.3g} (conservative)"),
            ("samples a site holds", f"{held:,.0f}"),
            ("noise per entry, one averaged step", f"{view.step[0]:.3g}"),
            (f"after {settings.rounds} rounds", f"{view.run[0]:.3g}"),
            ("crossing", f"{view.crossing:.3g}" if math.isfinite(view.crossing) else "none"),
        ]
