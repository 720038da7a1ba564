"""The noise panel: what ε, rank and clients do to the noise in W, at once and without any training.

Closed forms only (METHODS §1.4), so that every move of a slider is answered within a frame or two. A switch says
what more clients means: the same people in more hands, or more people.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

import ipywidgets as W
import plotly.graph_objects as go
from IPython.display import display

from lalora_kit import figures_noise, lesson
from lalora_kit.adapters import Adapter
from lalora_kit.amplification import crossover, expected_noise
from lalora_kit.background import Debounce
from lalora_kit.figures_noise import SWITCH, NoiseView
from lalora_kit.privacy import safe_noise_multiplier
from lalora_kit.settings import Settings
from lalora_kit.widgets import clients_slider, epsilon_slider, error_html, facts_html, show_figure, slim

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


def noise_view(adapter: Adapter, settings: Settings, *, held: float, people: int, own: bool) -> NoiseView:
    """What the panel shows at `settings`.

    Args:
        adapter: the factors that noise is added to.
        settings: ε, rank and clients as the controls have them.
        held: samples that a site brings where each brings its own.
        people: samples in all where the same people are split.
        own: the position of the switch.
    """

    def side(brings_own: bool) -> list[tuple[int, float]]:
        at = [(n, averaged_noise(replace(settings, clients=n), held if brings_own else people / n)) for n in COUNTS]
        return [(n, noise) for n, noise in at if noise > 0]

    low, high = figures_noise.DECADES
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
    )


class NoisePanel:
    """ε, rank, clients and the switch, one figure, the facts. Headless: one figure and a line of text.

    Args:
        adapters: factors by rank; the rank slider offers these.
        settings: where the controls start; a site of its own brings as many people as a client holds then.
        people: samples of the private data.
    """

    def __init__(self, adapters: Mapping[int, Adapter], settings: Settings, people: int, *, mode: str = "auto") -> None:
        if settings.rank not in adapters:
            raise ValueError(f"rank={settings.rank} has no adapter here ({sorted(adapters)}); pass one of that rank")
        self.adapters, self.start, self.settings, self.people = dict(adapters), settings, settings, people
        self.held, self.own, self.mode = people / settings.clients, False, lesson.mode(mode)
        self.lock = threading.RLock()
        self.view = self._look()
        if self.mode == "live":
            self._build()

    def show(self) -> None:
        """Display the panel, or, headless, what it shows."""
        if self.mode == "live":
            display(self.box)
            return
        show_figure(figures_noise.noise_figure(self.view))
        print("\n".join(f"{name}: {value}" for name, value in self.facts()))
        print(CAUTION)

    def facts(self) -> list[tuple[str, str]]:
        """What the numbers are now, as `(name, value)` texts."""
        step, run = self.view.step[0], self.view.run[0]
        held = self.held if self.own else self.people / self.settings.clients
        sigma = sampling(self.settings, held)[1]
        crossing = self.view.crossing
        return [
            ("σ, noise multiplier", f"{sigma:.3g} (conservative)"),
            ("samples a site holds", f"{held:,.0f}"),
            ("noise per entry, one averaged step", f"{step:.3g}"),
            (f"after {self.settings.rounds} rounds", f"{run:.3g}"),
            ("crossing", f"{crossing:.3g}" if math.isfinite(crossing) else "none"),
        ]

    def move(self) -> None:
        """Take over the controls' values and redraw."""
        with self.lock:
            values = {name: control.value for name, control in self.controls.items()}
            self.settings, self.own = replace(self.settings, **values), self.switch.value == SWITCH[1]
            self.view = self._look()
            with self.figure.batch_update():
                for trace, data in zip(self.figure.data, figures_noise.noise_data(self.view), strict=True):
                    trace.update(data)
                self.figure.layout.title.text = figures_noise.noise_title(self.view)
            self._tell()
        self._settle()

    def reset(self) -> None:
        """The controls back to where they started."""
        for name, control in self.controls.items():
            control.value = getattr(self.start, name)
        self.switch.value = SWITCH[0]

    def _look(self) -> NoiseView:
        adapter = self.adapters[self.settings.rank]
        return noise_view(adapter, self.settings, held=self.held, people=self.people, own=self.own)

    def _tell(self, failure: Exception | None = None) -> None:
        self.text.value = facts_html(self.facts(), READY, CAUTION)
        self.error.value = error_html(failure)

    def _build(self) -> None:
        ranks = W.SelectionSlider(
            options=sorted(self.adapters), value=self.start.rank, description="rank", layout=slim()
        )
        self.controls: dict[str, W.Widget] = {
            "epsilon": epsilon_slider(self.start.epsilon),
            "rank": ranks,
            "clients": clients_slider(self.start.clients),
        }
        self.switch = W.ToggleButtons(options=SWITCH, value=SWITCH[0], style={"button_width": "auto"})
        self.button = W.Button(description="Reset", icon="undo")
        self.figure = go.FigureWidget(figures_noise.noise_figure(self.view))
        self.text, self.error = W.HTML(), W.HTML()
        # A reload of the page shows the first figure unless the last one is told so.
        self._settle = Debounce(0.5, self.figure._repr_mimebundle_, self.lock)
        for control in (*self.controls.values(), self.switch):
            control.observe(self._guarded(self.move), "value")
        self.button.on_click(self._guarded(self.reset))
        row = W.Layout(flex_flow="row wrap")
        rows = [W.HBox(row_of, layout=row) for row_of in ([*self.controls.values()], [self.switch, self.button])]
        self.box = W.VBox([*rows, self.text, self.error, self.figure])
        self._tell()

    def _guarded(self, action: Callable[[], object]) -> Callable[[object], None]:
        """`action` as a callback whose failure the panel shows: Jupyter would hide it in a log."""

        def callback(_: object) -> None:
            try:
                action()
            except Exception as failure:
                with self.lock:
                    self._tell(failure)

        return callback
