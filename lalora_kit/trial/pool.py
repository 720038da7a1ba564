"""A class's runs in one plot: each student hands in an executed notebook of their own seed, and this pools them.

An executed notebook holds its parameters and figures as one JSON result (`lesson.result`); what is read here is that
and nothing else, and no notebook is run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalora_kit.lessons.lesson import RESULT_MIME
from lalora_kit.trial.effects import Effect, together

Values = dict[int, float]  # seed -> the figure


@dataclass(frozen=True)
class Pooled:
    """One figure of one notebook over many seeds.

    Attributes:
        notebook, figure: whose, and which.
        groups: by what else differed between the runs ("ε=1, rank 4"; "" if nothing did), the value of each seed.
        left_out: a sentence for each file that does not count, with the reason.
    """

    notebook: str
    figure: str
    groups: Mapping[str, Values]
    left_out: Sequence[str]

    @property
    def effects(self) -> dict[str, Effect]:
        """Mean and interval (Student's t) of each group; the intervals of all groups hold together at 95 %."""
        found = together([list(values.values()) for values in self.groups.values()])
        return dict(zip(self.groups, found, strict=True))

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready mapping; an interval of one seed is null, and so is that of values which are all the same."""
        return {
            "notebook": self.notebook,
            "figure": self.figure,
            "groups": {
                name: {
                    "seeds": self.groups[name],
                    "mean": effect.mean,
                    "low": effect.low if math.isfinite(effect.low) else None,
                    "high": effect.high if math.isfinite(effect.high) else None,
                }
                for name, effect in self.effects.items()
            },
            "left_out": list(self.left_out),
        }


def pool(paths: Iterable[Path], figure: str = "accuracy") -> Pooled:
    """Read what was handed in: files, or directories in which every `.ipynb` counts.

    A result that was handed in twice counts once; one of a seed that another file has with another value is left out,
    for nobody can tell which is right.

    Raises:
        ValueError: if there is nothing to pool, the files are of different notebooks, or none has the figure.
    """
    results, left_out = gather(paths)
    notebooks = sorted({record["notebook"] for _, record in results})
    if len(notebooks) != 1:
        told = f"they are of {', '.join(notebooks)}" if notebooks else f"no result was found; {'; '.join(left_out)}"
        raise ValueError(f"nothing to pool: {told}; hand in executed copies of one notebook, with their outputs saved")
    known = sorted({name for _, record in results for name in record["figures"]})
    if figure not in known:
        raise ValueError(f"figure={figure!r} is in none of the results of {notebooks[0]}; they have {', '.join(known)}")
    fixed = same_in_all([record["parameters"] for _, record in results])
    groups: dict[str, Values] = {}
    for path, record in results:
        parameters, value = record["parameters"], record["figures"].get(figure)
        if value is None or "seed" not in parameters:
            left_out.append(f"{path}: it has no {figure if value is None else 'seed'}")
            continue
        mine = groups.setdefault(label(parameters, fixed), {})
        if mine.setdefault(parameters["seed"], value) != value:
            left_out.append(f"{path}: seed {parameters['seed']} is there with another value already")
    return Pooled(notebooks[0], figure, groups, left_out)


def gather(paths: Iterable[Path]) -> tuple[list[tuple[Path, dict[str, Any]]], list[str]]:
    """The results in the files, in the order of their names, and why some have none."""
    found, left_out = [], []
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} does not exist; name executed notebooks, or a directory of them")
        for file in sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]:
            if ".ipynb_checkpoints" in file.parts:
                continue
            try:
                found.append((file, result_in(file)))
            except ValueError as error:
                left_out.append(f"{file}: {error}")
    return found, left_out


def result_in(path: Path) -> dict[str, Any]:
    """The result that an executed notebook holds."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        held = [
            output["data"][RESULT_MIME]
            for cell in cells
            for output in cell.get("outputs", ())
            if RESULT_MIME in output.get("data", {})
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("it is no notebook") from error
    if not held:
        raise ValueError("it holds no result: it was not run to its end, or saved without outputs")
    record = held[-1]
    if (
        not isinstance(record, dict)
        or not {"notebook", "parameters", "figures"} <= record.keys()
        or not all(isinstance(record[name], dict) for name in ("parameters", "figures"))
    ):
        raise ValueError("its result has another form: it was made by another version")
    return {**record, "parameters": {name: whole(value) for name, value in record["parameters"].items()}}


def whole(value: Any) -> Any:
    """A whole number as one, however it was saved: JupyterLab writes 3.0 as 3, papermill leaves it.

    >>> whole(3.0), whole(0.5), whole(True), whole(None)
    (3, 0.5, True, None)
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


def same_in_all(parameters: Sequence[Mapping[str, Any]]) -> set[str]:
    """The names whose value is the same everywhere; the seed counts as one of them."""
    names = {name for given in parameters for name in given}
    return {name for name in names if len({repr(given.get(name)) for given in parameters}) == 1} | {"seed"}


def label(parameters: Mapping[str, Any], fixed: set[str]) -> str:
    """What differs between the groups, in words; an infinite ε is null in a result."""
    shown = {name: value for name, value in sorted(parameters.items()) if name not in fixed}
    return ", ".join(f"{name} = {'inf' if value is None else value}" for name, value in shown.items())
