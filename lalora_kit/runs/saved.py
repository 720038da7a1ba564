"""Saved: what a run's directory holds, read without believing any of it, and without changing anything there."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalora_kit.base.checks import shown
from lalora_kit.base.files import read_lines, read_object
from lalora_kit.methods import EVERY, Method, find_method
from lalora_kit.methods.controls import CONTROLS
from lalora_kit.methods.own import FIELDS, check_content, load_again
from lalora_kit.methods.wrappers import PLUS
from lalora_kit.records import RunState
from lalora_kit.runs.marks import check_marks
from lalora_kit.runs.statefile import is_record, read_state
from lalora_kit.settings import Settings


@dataclass(frozen=True, eq=False)
class Saved:
    """A run that a directory holds: enough to go on with it."""

    source: dict[str, str]
    method: Method
    settings: Settings
    state: RunState
    rounds: list[dict[str, Any]]

    @property
    def ended(self) -> bool:
        """Whether its last round is done: nothing is left to go on with."""
        return self.state.round == self.settings.rounds


@dataclass(frozen=True)
class Named:
    """A method as settings.json names it; `source` is empty, or that of `Method.source`."""

    name: str
    source: dict[str, str]


def load(directory: Path, method: Method | None = None) -> Saved:
    """What `directory` holds, from the newest state that is whole, with the records up to it; changes nothing there.

    Args:
        directory: what `save_rounds` wrote.
        method: the run's method, where it is at hand; else it is found by what settings.json says of it.

    Raises:
        ValueError: if there is no run, a ledger is not what its mark says, a file of it is damaged and no state can be
            read, or its method is one's own and is not found as it was.
    """
    source, named, settings = read_about(directory)
    check_marks(directory)
    method = method_of(named, directory, method)
    state, record = newest_state(directory, settings)
    return Saved(source, method, settings, state, read_records(directory / "rounds.jsonl", state.round, record))


def method_of(named: Named, directory: Path, given: Method | None = None) -> Method:
    """The method that settings.json names: the one `given`, if its content is right, else the kit's or the file's."""
    if given is not None:
        if named.source and given.source:
            check_content(named.source, given.source["sha256"], directory)
        return given
    if named.source:
        return load_again(named.source, directory)
    if named.name in CONTROLS:
        return CONTROLS[named.name]
    if named.name.split(PLUS)[0] in EVERY:
        return find_method(named.name)
    raise ValueError(
        f"method {named.name!r} is unknown: {directory} was trained with it, it is none of {', '.join(EVERY)}, and "
        "settings.json names no file of it; go on in Python with save_rounds(..., resume=True), which is given the "
        "method, and name the next one as find_method('file.py:NAME')"
    )


def read_about(directory: Path) -> tuple[dict[str, str], Named, Settings]:
    """The task's source, method and settings of the run in `directory`; no method is looked for, and nothing run."""
    remedy = "restore it from a copy, or start a new run with --out"
    try:
        about = read_object(directory / "settings.json", remedy)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(
            f"{directory} holds no run: there is no settings.json; a run can be resumed from the directory that "
            "--out wrote; check the path"
        ) from error
    try:
        source, method, whence = about.get("source", {"task": str(about["task"])}), about["method"], "method_source"
        kept = about.get(whence, {})
        for name, value in (("source", source), (whence, kept), ("method", {"name": method})):
            if not isinstance(value, dict) or not all(isinstance(part, str) for part in value.values()):
                raise ValueError(f"its {name} is {shown(value)}")
        if kept and kept.keys() != FIELDS:
            raise ValueError(f"its {whence} is {shown(kept)}")
        return source, Named(method, kept), Settings.from_json(about["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{directory}/settings.json is damaged ({error}); {remedy}") from error


def read_records(path: Path, done: int, newest: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The records up to round `done`, of which the newest is in the state too, in case a crash kept it from here."""
    remedy = "restore it from a copy, or move it away: the run goes on without the records of earlier rounds"
    records: list[dict[str, Any]] = []
    for position, line in enumerate(read_lines(path, remedy), start=1):
        if not is_record(line) or line["round"] <= (records[-1]["round"] if records else 0):
            raise ValueError(f"{path} line {position} is not the record of a later round; {remedy}")
        records.append(line)
    before = [line for line in records if line["round"] < done]
    return before if newest is None else [*before, newest]


def newest_state(directory: Path, settings: Settings) -> tuple[RunState, dict[str, Any] | None]:
    """The newest state whose hash is right; a damaged one is passed over for the one before, with a warning."""
    damaged: list[str] = []
    for path in sorted((directory / "state").glob("round-*.safetensors"), reverse=True):
        try:
            state, record = read_state(path, directory, settings)
        except ValueError as error:
            damaged.append(str(error))
            continue
        if damaged:
            warnings.warn(
                f"{directory}/state: {'; '.join(damaged)}; going on from {path.name}: what came after it is computed "
                "again, and charged only if the ledger does not hold it",
                stacklevel=2,
            )
        return state, record
    reason = "; ".join(damaged) or "state/ is empty"
    raise ValueError(f"{directory} holds no state that can be read ({reason}); start a new run with --out")
