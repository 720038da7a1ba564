"""At scale: a preset where this machine and the hub allow it, and its miniature by the same code where they do not.

And who pays for the noise: accuracy by owner over shipped runs, which `python -m tests.benchmarks.owners` made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lalora_kit.base.files import read_lines
from lalora_kit.methods import Method
from lalora_kit.records import Round
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.presets import Preset, combined, find_preset
from lalora_kit.runs.saved import read_about
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task, load_task
from lalora_kit.tasks.online import Unread
from lalora_kit.tasks.own.sources import load_source

SMALL = {"max_samples": 64}  # of a miniature: room for its kernel on a machine with 2 GB
#: What stands in for a preset, by how its task's name begins: the same kind of data and of backbone, embedded.
MINIATURES = {"glue/": "stdlib-docs", "": "digits"}

OWNED = "stdlib-docs-by-module"
KEPT = Path(__file__).resolve().parents[1] / "trial" / "kept" / "owners" / f"{OWNED}.jsonl"
PARTS = 5  # groups of owners of like size


@dataclass(frozen=True, eq=False)
class AtScale:
    """What will be run: `full` says whether it is the preset itself, and `why` so in a sentence for the reader."""

    preset: Preset
    task: Task
    settings: Settings
    full: bool
    why: str


def at_scale(preset: str, **given: Any) -> AtScale:
    """The preset with what is `given`, or its miniature: without CUDA, or where neither hub nor cache has the data.

    Args:
        preset: a name of `lalora presets`.
        given: keywords of `Settings` that win over the preset's; 0 and None leave the preset's own, and in the
            miniature `Settings`' own.

    Raises:
        ValueError: for an unknown preset, and for settings that are not possible.
    """
    import torch

    found = find_preset(preset)
    kept = {name: value for name, value in given.items() if value is not None and (value != 0 or name == "seed")}
    reason = "" if torch.cuda.is_available() else "this machine has no GPU that torch can use"
    if not reason:
        values = combined(found, kept)
        try:
            task = load_source({name: values.pop(name) for name in ("task", "backbone")})
        except Unread as error:
            reason = str(error)
        else:
            return AtScale(found, task, Settings(**values), True, f"Running {preset} itself, on {values['device']}.")
    small = next(name for start, name in MINIATURES.items() if found.task.startswith(start))
    why = f"This is the miniature ({small}, by the same code), not {preset}: {reason}."
    return AtScale(found, load_task(small), Settings(**{**SMALL, **kept}), False, why)


def rounds_kept(task: Task, method: Method, settings: Settings, directory: Path) -> Iterator[Round]:
    """`save_rounds` in `directory`: goes on with the run that lies there if it is this one, else begins it.

    Raises:
        ValueError: if another run lies there; it would have to be set aside first.
    """
    going_on = (directory / "settings.json").exists()
    if going_on:
        source, named, before = read_about(directory)
        same = (named.name, before) == (method.name, settings)
        if not same or source not in ({}, dict(task.source)):
            raise ValueError(
                f"{directory} holds another run ({named.name} on {source}, ε={before.epsilon:g}); "
                "one directory keeps one run here; name another, or give the settings that it began with"
            )
    return save_rounds(task, method, settings, directory, resume=going_on)


@dataclass(frozen=True, eq=False)
class Owners:
    """Owners with test samples, and what finished runs got right of each.

    train, test: samples by owner. hits: ε -> seed -> right names by owner. about: what the runs are of.
    """

    train: Sequence[int]
    test: Sequence[int]
    hits: Mapping[float, Mapping[int, Sequence[int]]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def groups(self) -> list[np.ndarray]:
        """Places of the owners in `PARTS` groups of as many owners, those with least training samples first."""
        return np.array_split(np.argsort(self.train, kind="stable"), PARTS)

    def sizes(self) -> list[tuple[int, int]]:
        """Least and most training samples of an owner, by group."""
        train = np.asarray(self.train)
        return [(int(train[g].min()), int(train[g].max())) for g in self.groups()]

    def share(self, hits: Sequence[int]) -> np.ndarray:
        """Accuracy by group `(PARTS,)`: right names over test samples."""
        right, asked = np.asarray(hits), np.asarray(self.test)
        return np.array([right[g].sum() / asked[g].sum() for g in self.groups()])

    def accuracies(self, epsilon: float) -> np.ndarray:
        """Accuracy by seed and group `(seeds, PARTS)`, seeds in order."""
        return np.array([self.share(hits) for _, hits in sorted(self.hits[epsilon].items())])

    def lost(self, epsilon: float) -> np.ndarray:
        """Points of accuracy that each group lost to the noise `(seeds, PARTS)`, against the same seed without."""
        return 100 * (self.accuracies(math.inf) - self.accuracies(epsilon))

    def lost_by_all(self, epsilon: float) -> np.ndarray:
        """Points of accuracy over all test samples that were lost to the noise, by seed `(seeds,)`."""
        runs = zip(sorted(self.hits[math.inf].items()), sorted(self.hits[epsilon].items()), strict=True)
        return np.array([100 * (sum(clear) - sum(noisy)) / sum(self.test) for (_, clear), (_, noisy) in runs])

    def nearest(self, epsilon: float) -> float:
        """The ε with noise that was run and is nearest, on a logarithmic axis."""
        return min((e for e in self.hits if math.isfinite(e)), key=lambda e: abs(math.log(e / min(epsilon, 1e6))))


def owners_of(task: Task) -> Owners:
    """The owners of a task who have test samples, without any run."""
    train, test = (
        np.bincount(np.asarray(split.owners), minlength=len(task.owners)) for split in (task.train, task.test)
    )
    return Owners(train[test > 0].tolist(), test[test > 0].tolist())


def right_by_owner(task: Task, right: np.ndarray) -> list[int]:
    """Right names by owner who has test samples, of `right` `(test samples,)`, in the order of `owners_of`."""
    of = np.asarray(task.test.owners)
    asked, hits = (np.bincount(of, w, minlength=len(task.owners)) for w in (None, np.asarray(right, dtype=float)))
    return [int(x) for x in hits[asked > 0]]


def kept_owners() -> Owners:
    """The shipped runs: `stdlib-docs-by-module`, ten seeds at ε = 1, at 3 and without noise."""
    first, *lines = read_lines(KEPT)
    hits: dict[float, dict[int, Sequence[int]]] = {}
    for line in lines:
        hits.setdefault(math.inf if line["epsilon"] is None else line["epsilon"], {})[line["seed"]] = line["hits"]
    about = {name: value for name, value in first.items() if name not in ("train", "test")}
    return Owners(first["train"], first["test"], hits, about)
