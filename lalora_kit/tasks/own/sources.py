"""Sources: what a `Task.source` speaks of, loaded again, with paths that hold from any folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from lalora_kit.tasks import Task, load_task, loader_at

#: Loaders of tasks that are no row of `TASKS`: what `source` must hold -> module:function, called with all of it.
OWN: dict[str, str] = {"images": "lalora_kit.tasks.own.load:load_images", "csv": "lalora_kit.tasks.own.load:load_csv"}
PATHS = (*OWN, "public")
PLAIN = {"standardise": "no"}  # in a source: features go to the head as they are, whatever public inputs there are


def placed(source: Mapping[str, Any]) -> dict[str, Any]:
    """The same with absolute paths, so that data and backbone are found again from another folder; others as they are.

    >>> placed({"task": "digits", "backbone": "swin-pico"})
    {'task': 'digits', 'backbone': 'swin-pico'}
    """
    from lalora_kit.tasks import backbones
    from lalora_kit.tasks.own import reader

    found = {**source, **{name: os.path.realpath(source[name]) for name in PATHS if name in source}}
    if found.get("backbone") and found["backbone"] not in reader.SHIPPED.values():
        found["backbone"] = backbones.placed(found["backbone"])
    return found


def load_source(source: Mapping[str, str]) -> Task:
    """Load what a `Task.source` speaks of: a row of `TASKS`, or somebody's own data; its paths are kept absolute.

    Raises:
        ValueError: where it names no data, or says something of public inputs that the task does not bring.
    """
    source = placed(source)
    asked = {name: source.pop(name) for name in PLAIN if name in source}
    task = loaded(source)
    if not asked:
        return task
    if task.public is None:
        raise ValueError(
            f"standardise={asked['standardise']!r}: the task brings no public inputs, so its features are not "
            "standardised anyway; leave it out, or give --public"
        )
    return dataclasses.replace(task, standardise=False, source={**task.source, **PLAIN})


def loaded(source: dict[str, str]) -> Task:
    """The task of a source, as it is by default."""
    for name, place in OWN.items():
        if name in source:
            return dataclasses.replace(loader_at(place)(**source), source=dict(source))
    if "task" not in source:
        raise ValueError(
            f"source={source!r} names no data that could be loaded again: the task was made in Python; go on "
            "there with federated_rounds(..., state=), or name a task, images or a table"
        )
    for name in sorted(source.keys() - {"task", "backbone", "preset"}):
        raise ValueError(f"{name}={source[name]!r} is about data of your own; give --images or --csv too, not --task")
    return load_task(source["task"], source.get("backbone"))
