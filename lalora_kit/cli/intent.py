"""What `lalora train` is about to do, in a line: told from what was given and from text on disk, before torch loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lalora_kit.base.files import read_object
from lalora_kit.runs.usual import DEFAULT_TASK, settings_for
from lalora_kit.settings import Settings


def intent(given: Mapping[str, Any], resume: Path | None) -> str:
    """What is about to be trained, told from what was given and is on disk as text: nothing is loaded for it.

    Raises:
        ValueError: for settings that cannot be, and for a preset that there is not.
    """
    if resume is not None:
        try:
            saved = read_object(resume / "settings.json", "")
            values = {**saved["settings"], **saved.get("source", {"task": saved["task"]}), "method": saved["method"]}
            return f"going on in {resume}: {in_words(values)}"
        except (OSError, ValueError, KeyError, TypeError):
            return f"going on in {resume}"  # what is wrong with it is told when all of it is read
    if "preset" in given:
        from lalora_kit.runs.presets import find_preset

        preset = find_preset(given["preset"])
        return f"preset {preset.name}: {in_words({'task': preset.task, **preset.settings, **given})}"
    names = {field.name for field in fields(Settings)}
    settings = settings_for(usual_of(given), **{name: given[name] for name in names & given.keys()})
    return in_words({**settings.to_json(), **given})


def usual_of(given: Mapping[str, Any]) -> str:
    """The task whose usual settings hold where nothing is given: none on data of one's own, or on another backbone."""
    return "" if given.keys() & {"images", "csv", "backbone"} else given.get("task", DEFAULT_TASK)


def in_words(values: Mapping[str, Any]) -> str:
    """Task, method, ε, clients and rounds, in a line."""
    own = values.get("images") or values.get("csv")
    data, epsilon = own or values.get("task", DEFAULT_TASK), values["epsilon"]
    noise = "no noise" if epsilon in (None, float("inf")) else f"ε={epsilon:g}"
    whose = "each owner a client" if own and "owner" in values else f"{values['clients']} clients"
    return f"training {data} by {values.get('method', 'la-lora')}: {noise}, {whose}, {values['rounds']} rounds"
