"""At scale: a preset where this machine and the hub allow it, and its miniature by the same code where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
