"""Checkpoints: a run's whole state on disk, so that it can be stopped at any instant and no finished round is lost.

    DIR/settings.json     task, method and settings
    DIR/secret.json       the run's randomness (mode 0600), only where no seed was given
    DIR/ledger.jsonl      every release ever made on these data in this directory; never rewritten
    DIR/rounds.jsonl      one record a round
    DIR/state/            the last two rounds' states (safetensors, checked by a hash)
    DIR/adapter/          the averaged adapter in PEFT's format, and what ε it cost
    DIR/runs/NAME/        earlier runs of this directory

Every file is written beside its place and renamed into it, after it has reached the disk. Reading never executes
what it reads.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lalora_kit import adapters
from lalora_kit.federated import federated_rounds
from lalora_kit.files import append_line, dumps, read_lines, sync, write_atomically
from lalora_kit.methods import Method, find_method
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from lalora_kit.privacy.ledger import NEIGHBOURS
from lalora_kit.records import Round, RunState
from lalora_kit.settings import Settings
from lalora_kit.statefile import ledger_mark, read_state, write_state
from lalora_kit.tasks import Task


@dataclass(frozen=True, eq=False)
class Saved:
    """A run that a directory holds: enough to go on with it."""

    task: str
    method: Method
    settings: Settings
    state: RunState
    rounds: list[dict[str, Any]]


def save_rounds(
    task: Task, method: Method, settings: Settings, directory: Path, *, resume: bool = False
) -> Iterator[Round]:
    """`federated_rounds` with everything kept in `directory` after each round.

    A fresh run moves an earlier one of the directory into `runs/`; the ledger stays, and composes both.

    Args:
        task, method, settings: as for `federated_rounds`.
        directory: made if need be.
        resume: go on from the newest good state of `directory` instead of starting anew.

    Raises:
        ValueError: if another process writes there, or the saved run is another one, or its ledger is missing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(
            f"{directory} is in use by another run; two runs cannot write to one directory; wait for it, or use another"
        ) from error
    try:
        state = load(directory).state if resume else begin(task, method, settings, directory)
        ledger = Ledger(directory / "ledger.jsonl")
        rounds = federated_rounds(task, method, settings, state=state, ledger=ledger)
    except BaseException:
        lock.release()
        raise
    return kept(rounds, task, method, settings, directory, lock)


def kept(
    rounds: Iterator[Round], task: Task, method: Method, settings: Settings, directory: Path, lock: FileLock
) -> Iterator[Round]:
    """Write each round down before handing it on; the lock goes when the loop ends, however it ends."""
    try:
        for r in rounds:
            write_state(directory, r.state, r.to_json())
            append_line(directory / "rounds.jsonl", r.to_json())
            write_adapter(directory, task, method, settings, r)
            yield r
    finally:
        lock.release()


def begin(task: Task, method: Method, settings: Settings, directory: Path) -> RunState:
    """Set an earlier run aside, and write down what the new one needs before it releases anything."""
    plan = make_plan(task, method, settings, Ledger(directory / "ledger.jsonl"))
    set_aside(directory)
    state = plan.state(0, plan.start)
    if settings.seed is None:
        write_atomically(directory / "secret.json", dumps({"secret": plan.secret.hex()}), mode=0o600)
    write_state(directory, state, None)
    about = {"task": task.name, "method": method.name, "settings": settings.to_json()}
    write_atomically(directory / "settings.json", dumps(about))
    return state


def set_aside(directory: Path) -> None:
    """Move an earlier run's files, but not the ledger, to `runs/NAME`."""
    old = [directory / name for name in ("settings.json", "secret.json", "rounds.jsonl", "state", "adapter")]
    if not any(path.exists() for path in old):
        return
    place = directory / "runs"
    place.mkdir(exist_ok=True)
    home = place / f"{sum(1 for _ in place.iterdir()) + 1:03d}"
    home.mkdir()
    for path in old:
        if path.exists():
            os.replace(path, home / path.name)


def load(directory: Path) -> Saved:
    """What `directory` holds, from the newest state that is whole; older rounds of `rounds.jsonl` only.

    Raises:
        ValueError: if there is no run, or no state of it can be read.
    """
    try:
        about = json.loads((directory / "settings.json").read_text("utf-8"))
        method, settings = find_method(about["method"]), Settings.from_json(about["settings"])
    except FileNotFoundError as error:
        raise ValueError(
            f"{directory} holds no run: there is no settings.json; a run can be resumed from the directory that "
            "--out wrote; check the path"
        ) from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{directory}/settings.json is damaged ({error}); restore it from a copy") from error
    state, record = newest_state(directory, settings)
    records = [line for line in read_lines(directory / "rounds.jsonl") if line["round"] <= state.round]
    if record is not None and (not records or records[-1]["round"] < state.round):
        records.append(record)
    write_atomically(directory / "rounds.jsonl", "".join(json.dumps(line) + "\n" for line in records))
    return Saved(about["task"], method, settings, state, records)


def newest_state(directory: Path, settings: Settings) -> tuple[RunState, dict[str, Any] | None]:
    """The newest state whose hash is right; a damaged one is named, and passed over for the one before."""
    damaged = []
    for path in sorted((directory / "state").glob("round-*.safetensors"), reverse=True):
        try:
            return read_state(path, directory, settings)
        except ValueError as error:
            damaged.append(str(error))
    reason = "; ".join(damaged) or "state/ is empty"
    raise ValueError(f"{directory} holds no state that can be read ({reason}); start a new run with --out")


def write_adapter(directory: Path, task: Task, method: Method, settings: Settings, r: Round) -> None:
    """The averaged adapter in PEFT's format, each file replaced whole, with what it cost beside it."""
    fresh = directory / "adapter.new"
    shutil.rmtree(fresh, ignore_errors=True)
    adapters.save(r.adapter, fresh, task.backbone, task.targets, task.head)
    cost = {
        "epsilon": r.epsilon if settings.private else None,
        "delta": settings.delta,
        "caution": r.caution,
        "guarantee": NEIGHBOURS,
        "round": r.round,
        "task": task.name,
        "method": method.name,
        "ledger": ledger_mark(directory / "ledger.jsonl"),
    }
    (fresh / "privacy.json").write_text(dumps(cost), "utf-8")
    (directory / "adapter").mkdir(exist_ok=True)
    for path in sorted(fresh.iterdir()):
        sync(path)
        os.replace(path, directory / "adapter" / path.name)
    fresh.rmdir()
