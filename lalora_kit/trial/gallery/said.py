"""What the gallery's trial says, in sentences beside its table, and the JSON of both; of a shipped trial too.

A comparison that was not made has no sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lalora_kit.base.files import dumps, write_atomically
from lalora_kit.lessons.lesson import epsilon_text
from lalora_kit.settings import EPSILON_CEILING
from lalora_kit.trial.beside import standing
from lalora_kit.trial.gallery.design import REFERENCE, Trial, gallery_trial
from lalora_kit.trial.gallery.runs import FILE
from lalora_kit.trial.gallery.table import WORDS, Place, places

TABLE = "gallery.json"


def told(found: Sequence[Place]) -> list[str]:
    """A sentence an ε and a comparison that was made: who is ahead, who is behind, and that the rest is level."""
    said = []
    for place in found:
        for other in dict.fromkeys((REFERENCE, place.strongest)):
            stands = standings(place, other)
            if not any(stands.values()):
                continue
            ahead, level, behind = (listed(stands[word], stands) for word in ("ahead", "level", "behind"))
            said.append(
                f"ε = {epsilon_text(place.epsilon)}, held against {other}: ahead: {ahead}; behind: {behind}; level, "
                f"so that these seeds cannot tell: {level}."
            )
    return said


def standings(place: Place, other: str) -> dict[str, list[str]]:
    """Who is `ahead`, `level` and `behind` of the other; who was not compared is nowhere."""
    stands: dict[str, list[str]] = {word: [] for word in WORDS.values()}
    for entry in place.methods:
        effect = (entry.over or {}).get(other)
        if effect is not None and math.isfinite(effect.mean):
            stands[WORDS[standing(effect)]].append(entry.name)
    return stands


def listed(names: Sequence[str], stands: Mapping[str, Sequence[str]]) -> str:
    """Names, or that there is none, or that it is all of them."""
    count = sum(map(len, stands.values()))
    return "none" if not names else f"all {count}" if len(names) == count > 1 else ", ".join(names)


def unrun(found: Sequence[Place], trial: Trial) -> list[str]:
    """What a file that was cut short has no row for: a sentence, or nothing."""
    rows = {place.epsilon: {entry.name for entry in place.methods} for place in found}
    gaps = {e: [name for name in trial.names if name not in rows.get(e, ())] for e in trial.epsilons}
    said = [
        f"at ε = {epsilon_text(e)} {'every method' if len(names) == len(trial.names) else ', '.join(names)}"
        for e, names in gaps.items() if names
    ]  # fmt: skip
    return [f"Not run yet: {'; '.join(said)}."] if said else []


def ends(found: Sequence[Place], trial: Trial) -> str:
    """Whose best rate lies at an end of the grid, so that a wider one might hold a better."""
    grids = [(trial.design.rates, "methods"), (trial.design.head_rates, "baselines")]
    at = [
        f"{entry.name} at ε={epsilon_text(place.epsilon)}"
        for place in found for grid, kind in grids for entry in getattr(place, kind)
        if entry.rate in (grid[0], grid[-1])
    ]  # fmt: skip
    return f"Best rate at an end of the grid, so that a wider one might hold a better: {', '.join(at) or 'none'}."


def sentences(found: Sequence[Place], trial: Trial) -> list[str]:
    """All that is said of a trial's file, beside its table."""
    return [*told(found), *unrun(found, trial), ends(found, trial)]


def write(path: Path, trial: Trial, into: Path | None = None) -> list[Place]:
    """What the runs in `path` say, into a file, by default `gallery.json` beside them; and the same as values."""
    found = places(path, trial)
    rows = [entry.to_json() for at in found for entry in (*at.methods, *at.baselines)]
    strongest = {epsilon_text(at.epsilon): at.strongest for at in found}
    record = {"strongest": strongest, "told": sentences(found, trial), "rows": rows}
    write_atomically(into or path.with_name(TABLE), dumps(record))
    return found


def shipped(task: str) -> list[Place]:
    """What the trial that ships on a task says, at each ε at which a method was run."""
    return [place for place in places(FILE / f"{task}.jsonl", gallery_trial(task)) if place.methods]


def nearest(found: Sequence[Place], epsilon: float) -> Place:
    """The place whose ε is nearest, on a logarithmic axis; without noise, the largest ε that was run."""

    def distance(place: Place) -> float:
        return abs(math.log(min(place.epsilon, EPSILON_CEILING) / min(epsilon, EPSILON_CEILING)))

    return min(found, key=distance)
