"""What a lesson needs beside the core: its mode, its result, its observations, predictions, and a look ahead.

A notebook runs *live*, with a reader, or *headless* (papermill, nbconvert), and finds out by itself which.
"""

from __future__ import annotations

import json
import math
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalora_kit.base.files import finite_or_null, write_atomically
from lalora_kit.methods import Method
from lalora_kit.privacy import noise_multiplier, safe_noise_multiplier
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task

RESULT_MIME = "application/vnd.lalora.result+json"
QUESTION_MIME, ANSWER_MIME = "application/vnd.lalora.question+json", "application/vnd.lalora.answer+json"
PAGE_WIDTH = 107  # characters of output that JupyterLab shows in a line, 1280 pixels wide, its file list open
MODES = ("live", "headless")
PREDICTIONS = Path("predictions.json")
EPSILONS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def mode(given: str = "auto") -> str:
    """`live` or `headless`: as given, else as `LALORA_MODE` says, else as the kernel was started.

    papermill and nbconvert start kernels that may not ask for input; Voila does so too, and has a reader.
    """
    wanted = given if given != "auto" else os.environ.get("LALORA_MODE", "auto")
    if wanted != "auto":
        if wanted not in MODES:
            raise ValueError(f"mode={wanted!r} is unknown; it is live, headless or auto; leave it at auto")
        return wanted
    if os.environ.get("VOILA_KERNEL_ID"):
        return "live"
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return "live" if kernel is not None and getattr(kernel, "_allow_stdin", True) else "headless"


def epsilon_text(epsilon: float) -> str:
    """ε as people read it: `3`, `0.5`, `1,490`, `∞`."""
    return "∞" if math.isinf(epsilon) else f"{epsilon:.3g}" if epsilon < 1000 else f"{epsilon:,.0f}"


@dataclass(frozen=True)
class Outlook:
    """What a setting means before anything is trained.

    epsilon, noise_multiplier: ε and its σ; `tight` says whether σ is the smallest known, or a safe first value.
    noise: L2 norm of the noise in one averaged step, in units of C, the norm that one sample's gradient may have.
    bound: what a suspicion of 50 % can grow to.
    curve: `(ε, noise)` at the other positions of the slider, by the safe σ.
    """

    epsilon: float
    noise_multiplier: float
    tight: bool
    noise: float
    bound: float
    curve: Sequence[tuple[float, float]]


def outlook(task: Task, method: Method, settings: Settings, *, tight: bool) -> Outlook:
    """σ, noise and odds at `settings`: in milliseconds by the safe σ, in about a second by the tight one."""
    solve = noise_multiplier if tight else safe_noise_multiplier
    per_sigma = noise_per_sigma(task, method, settings)
    epsilon, delta, rate, steps = schedule_cost(task, settings)
    sigma = solve(epsilon, delta, rate, steps)
    curve = [(e, safe_noise_multiplier(e, delta, rate, steps) * per_sigma) for e in EPSILONS]
    return Outlook(epsilon, sigma, tight, sigma * per_sigma, odds(epsilon), curve)


def schedule_cost(task: Task, settings: Settings) -> tuple[float, float, float, int]:
    """`(ε, δ, q, steps)` of a client of average size that joins every round."""
    share = len(task.train) / settings.clients
    rate = settings.sample_rate if settings.batch_size is None else settings.batch_size / share
    assert rate is not None
    return settings.epsilon, settings.delta, rate, settings.rounds * settings.local_steps


def noise_per_sigma(task: Task, method: Method, settings: Settings) -> float:
    """L2 norm of the noise in one averaged step, in units of C, for each unit of σ.

    Each of m participants adds noise of standard deviation σC to each of d sums and divides by its expected batch
    b; the mean of m such releases has √d·σC / (b·√m). Clients of equal size; d is averaged over a round's steps.
    """
    batch = schedule_cost(task, settings)[2] * len(task.train) / settings.clients
    return math.sqrt(numbers_sent(task, method, settings) / settings.participants) / batch


def numbers_sent(task: Task, method: Method, settings: Settings) -> float:
    """How many numbers a local step releases, averaged over a round's steps."""
    import numpy as np

    from lalora_kit.engine.adapters import create

    adapter = create(task.backbone, task.targets, task.head, settings.rank, settings.scale, np.random.default_rng(0))
    steps = range(1, settings.local_steps + 1)
    return sum(adapter.size(method.trains(1, k)) for k in steps) / settings.local_steps


@dataclass
class Prediction:
    """A question asked before the run, and what the reader chose; `asked` is False where nobody could answer."""

    question: str
    options: Sequence[str]
    choice: str | None
    asked: bool
    answer: str | None = None
    on_choice: Callable[[], object] = lambda: None

    def choose(self, option: str) -> None:
        """Take the reader's choice."""
        self.choice = option
        self.on_choice()

    def verdict(self) -> str:
        """The choice beside what came out, once it is known."""
        if self.answer is None:
            return ""
        if self.choice is None:
            return f"You made no choice yet. It came out: {self.answer}."
        who = "You chose" if self.asked else "Nobody was asked; the default choice is"
        return f"{who}: {self.choice}. It came out: {self.answer}."

    def save(self, path: Path) -> None:
        """Keep the choice and the answer in a small JSON file, replaced in one move; a later lesson scores them."""
        try:
            kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path} is not JSON ({error}); predictions are kept there; delete it to start anew"
            ) from error
        kept[self.question] = {"choice": self.choice, "answer": self.answer}
        write_atomically(path, json.dumps(kept, indent=2, ensure_ascii=False) + "\n")


def scores(path: Path = PREDICTIONS) -> list[tuple[str, str, str]]:
    """The predictions that the lessons kept: question, choice and what came out; those without both left out."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    said = [(question, line.get("choice"), line.get("answer")) for question, line in kept.items()]
    return [(question, choice, answer) for question, choice, answer in said if choice and answer]


def fitted(sentence: str) -> str:
    """A sentence in lines that a page shows whole, broken between words; JupyterLab breaks inside them."""
    return textwrap.fill(sentence, PAGE_WIDTH, subsequent_indent="    ")


def observed(claim: str, holds: bool, *, at_defaults: bool, effect: str = "") -> bool:
    """State an observation: asserted at a notebook's defaults, elsewhere only told as seen or not."""
    shown = f" ({effect})" if effect else ""
    print(fitted(f"seen here: {'yes' if holds else 'no'}: {claim}{shown}"))
    if at_defaults and not holds:
        raise AssertionError(f"at the defaults this should be seen: {claim}{shown}")
    return bool(holds)


def result(
    notebook: str,
    parameters: Mapping[str, Any],
    sentence: str,
    figures: Mapping[str, float],
    seen: Mapping[str, bool],
) -> None:
    """Display a notebook's one result: JSON that programs compare, and the sentence for people."""
    record = {
        "notebook": notebook, "parameters": parameters, "result": sentence, "figures": figures, "seen": seen,
    }  # fmt: skip
    leave(RESULT_MIME, record, fitted(sentence))


def leave(mime: str, record: Mapping[str, Any], text: str) -> None:
    """Leave a record in a notebook's output for programs to read (pages, slides), and its text for people."""
    from IPython.display import display

    display({mime: finite_or_null(dict(record)), "text/plain": text}, raw=True)


def odds(epsilon: float, prior: float = 0.5) -> float:
    """What ε promises, as odds: the most that someone who starts at `prior` can come to believe, apart from δ.

    >>> round(odds(1.0), 2), round(odds(3.0), 2)
    (0.73, 0.95)
    """
    if math.isinf(epsilon):
        return 1.0
    raised = math.exp(epsilon) * prior
    return raised / (raised + 1 - prior)
