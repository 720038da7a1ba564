"""The table of the gallery's trial, from its file of runs: accuracy, numbers sent, and where each method stands.

Nothing is run here. A method or ε whose runs are not all there has no row; the family of intervals is the whole trial's
from the beginning, so that a row says the same later.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.runs.standing import AHEAD, BEHIND, LEVEL
from lalora_kit.runs.yardsticks import UNTRAINED
from lalora_kit.trial.beside import bare, standing
from lalora_kit.trial.designs import Runs
from lalora_kit.trial.effects import Effect, together
from lalora_kit.trial.gallery.design import REFERENCE, Trial
from lalora_kit.trial.gallery.runs import facts, rate_of, reported, told_of
from lalora_kit.trial.study import lines
from lalora_kit.trial.tables import shortened

WORDS = {AHEAD: "ahead", LEVEL: "level", BEHIND: "behind"}


@dataclass(frozen=True)
class Entry:
    """A method or a baseline at one ε.

    values: accuracy by reported seed, one that never moves for `untrained`. rate: of the adapter, or of a baseline's
    head; NaN where nothing trains. up, down: numbers a client and a round; NaN for a baseline. over: by name, the
    difference to what it is held against, in points; empty for a baseline.
    """

    name: str
    epsilon: float
    values: Sequence[float]
    rate: float
    up: float = math.nan
    down: float = math.nan
    over: Mapping[str, Effect] | None = None

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values)

    def to_json(self) -> dict[str, Any]:
        """A flat mapping; null where nothing was measured, and for an infinite ε."""
        record: dict[str, Any] = {
            "name": self.name, "epsilon": self.epsilon, "accuracy": self.accuracy, "rate": self.rate, "up": self.up,
            "down": self.down, "values": list(self.values),
        }  # fmt: skip
        for name, effect in (self.over or {}).items():
            record |= {f"over_{name}_{part}": getattr(effect, part) for part in ("mean", "low", "high")}
            record |= {f"over_{name}": WORDS[standing(effect)], "intervals_together": effect.among}
        return {key: shortened(value) for key, value in record.items()}


@dataclass(frozen=True)
class Place:
    """All that is known at one ε: methods in the order of their page, baselines, and the strongest of these."""

    epsilon: float
    methods: Sequence[Entry]
    baselines: Sequence[Entry]
    strongest: str


def places(path: Path, trial: Trial) -> list[Place]:
    """The trial as far as its file goes; an ε without all baselines is not there."""
    runs, (sent, views, guess) = lines(path), facts(path)
    known = [(e, baselines_at(runs, trial, e, views, guess)) for e in trial.epsilons]
    values = {(e, name): values_of(runs, trial, name, e) for e, _ in known for name in trial.names}
    family, owners = list[list[float]](), list[tuple[float, str, str]]()
    for epsilon, (bares, strongest) in known:
        against = {REFERENCE: values.get((epsilon, REFERENCE), []), **{b.name: b.values for b in bares}}
        for name in trial.names:
            for other in dict.fromkeys((REFERENCE, strongest or "a baseline")):
                if other != name:
                    family.append(differences(values[epsilon, name], against.get(other, [])))
                    owners.append((epsilon, name, other))
    effects = dict(zip(owners, together(family), strict=True))
    found = []
    for epsilon, (bares, strongest) in known:
        entries = [
            Entry(name, epsilon, values[epsilon, name], rate_of(runs, trial, name, epsilon), *sent[name],
                  {o: effect for (e, n, o), effect in effects.items() if (e, n) == (epsilon, name)})
            for name in trial.names if values[epsilon, name]
        ]  # fmt: skip
        if strongest:
            found.append(Place(epsilon, entries, bares, strongest))
    return found


def values_of(runs: Runs, trial: Trial, name: str, epsilon: float) -> list[float]:
    """Accuracy by reported seed; empty where a run is missing."""
    cells = reported(runs, trial, name, epsilon)
    return [float(runs[c]["curve"][-1]) for c in cells] if all(c in runs for c in cells) else []


def differences(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """In points, by seed; empty where either is not known."""
    return [100 * (a - b) for a, b in zip(one, other, strict=True)] if one and other else []


def baselines_at(
    runs: Runs, trial: Trial, epsilon: float, views: Sequence[str], guess: float
) -> tuple[list[Entry], str]:
    """The baselines at an ε, and which is strongest on the seeds that choose; nothing and "" where a run is missing."""
    found, means = [], {}
    for side in bare(epsilon, views, trial.design):
        mean, rate = side.chosen(runs)
        cells = told_of(side, runs)
        if math.isnan(mean) or any(cell not in runs for cell in cells):
            return [], ""
        found.append(Entry(side.name, epsilon, [float(runs[cell]["curve"][-1]) for cell in cells], rate))
        means[side.name] = mean
    if math.isfinite(guess):
        found.append(Entry(UNTRAINED, epsilon, [guess] * len(trial.design.seeds), math.nan))
        means[UNTRAINED] = guess
    return found, max(means, key=lambda name: means[name])


def tables(found: Sequence[Place]) -> list[str]:
    """In Markdown, a row a method, a column an ε: accuracies, points over LA-LoRA, and over the strongest baseline."""
    over = [[REFERENCE] * len(found), [place.strongest for place in found]]
    return [accuracies(found), *(leads(found, others) for others in over)]


def accuracies(found: Sequence[Place]) -> str:
    """Mean ± standard deviation over seeds, and the rate: the adapter's, or the head's of what has no adapter."""
    columns = [{entry.name: entry for entry in (*place.methods, *place.baselines)} for place in found]
    rows = [["method", "numbers up", "down", *(f"ε = {epsilon_text(place.epsilon)}" for place in found)]]
    for name in names(found, "methods") + names(found, "baselines"):
        known = next(column[name] for column in columns if name in column)
        sends = [f"{number:,.0f}" if math.isfinite(number) else "" for number in (known.up, known.down)]
        cells = [accuracy(column[name]) if name in column else "not run" for column in columns]
        rows.append([f"`{name}`", *sends, *cells])
    return markdown(rows)


def accuracy(entry: Entry) -> str:
    """`0.867 ± 0.006 (8)`; what never moves has no spread, and what does not train has no rate."""
    if math.isnan(entry.rate):
        return f"{entry.accuracy:.3f}"
    return f"{entry.accuracy:.3f} ± {statistics.stdev(entry.values):.3f} ({entry.rate:g})"


def leads(found: Sequence[Place], others: Sequence[str]) -> str:
    """Points over one other at each ε, with the intervals and words of the design's rule."""
    columns = [{entry.name: entry.over or {} for entry in place.methods} for place in found]
    heads = [f"over {other} at ε = {epsilon_text(place.epsilon)}" for other, place in zip(others, found, strict=True)]
    rows = [["method", *heads]]
    for name in names(found, "methods"):
        told = [shown(column[name].get(other)) if name in column else "not run"
                for column, other in zip(columns, others, strict=True)]  # fmt: skip
        if any(told):
            rows.append([f"`{name}`", *told])
    return markdown(rows)


def names(found: Sequence[Place], kind: str) -> list[str]:
    """Of `methods` or `baselines` in the order of their page, wherever one was run."""
    return list(dict.fromkeys(entry.name for place in found for entry in getattr(place, kind)))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head."""
    head, *others = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *others))


def shown(effect: Effect | None) -> str:
    """`+1.2 [−0.5, +2.9] level`; nothing for LA-LoRA against itself."""
    if effect is None:
        return ""
    if not math.isfinite(effect.mean):
        return "not run"
    reach = f" [{effect.low:+.1f}, {effect.high:+.1f}]" if math.isfinite(effect.low) else ""
    return f"{effect.mean:+.1f}{reach} {WORDS[standing(effect)]}"
