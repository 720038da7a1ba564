"""Checkpoints: a run's whole state on disk, so that it can be stopped at any instant and no finished round is lost.

    DIR/settings.json     task, method and settings; of a method of one's own also file, name and the content's hash
    DIR/secret.json       the run's randomness (mode 0600), only where no seed was given, until the run has ended: its
                          last round is on disk, or another run has begun here
    DIR/ledger.jsonl      every release ever made on these data in this directory; never rewritten
    DIR/rounds.jsonl      one record a round
    DIR/state/            the last two rounds' states (safetensors, checked by a hash)
    DIR/adapter/          the averaged adapter in PEFT's format, and what ε it cost
    DIR/runs/NAME/        earlier runs of this directory
    DIR/baselines/ID/     what a run was measured against, each with a ledger of its own that counts for DIR

Every file is written beside its place and renamed into it, after it has reached the disk. Reading never executes
what it reads. A method of one's own is the one thing that is run again, from its own file outside of DIR, and only if
that says what it said then (`lalora_kit.methods.own`); a statement runs not even that.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from lalora_kit.base.checks import shown
from lalora_kit.base.files import append_line, dumps, read_lines, read_object, sync, write_atomically
from lalora_kit.engine import adapters
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS, Method
from lalora_kit.methods.controls import CONTROLS
from lalora_kit.methods.own import FIELDS, check_content, load_again
from lalora_kit.plan import make_plan
from lalora_kit.privacy.ledger import guarantee
from lalora_kit.records import Round, RunState, is_record
from lalora_kit.runs.spent import COST, LEDGER, Account, check_marks, open_account
from lalora_kit.runs.statefile import SECRET, forget, read_state, write_state
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task


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
        ValueError: if another process writes there, it is a file, or the saved run is another one or has no ledger.
    """
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} is a file, and a run is kept in a directory; name another place")
    if not resume and not (directory / LEDGER).exists():
        make_plan(task, method, settings, open_account(directory).ledger)  # what cannot begin leaves nothing behind
    if resume and not (directory / "settings.json").exists():
        load(directory)  # says what is missing, and makes nothing
    directory.mkdir(parents=True, exist_ok=True)
    lock = locked(directory)
    try:
        saved = load(directory, method) if resume else None
        account = open_account(directory)
        state = saved.state if saved else begin(task, method, settings, account)
        rounds = federated_rounds(task, method, settings, state=state, ledger=account.ledger)
        if saved is not None:
            catch_up(saved, task, account)
            forget_what_ended(directory, saved)
    except BaseException:
        lock.release()
        raise
    return kept(rounds, task, method, settings, account, lock)


def locked(directory: Path) -> FileLock:
    """The lock of a directory, held until it is released; `ValueError` if another process has it."""
    lock = FileLock(directory / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(
            f"{directory} is in use by another run; two runs cannot write to one directory; wait for it, or use another"
        ) from error
    return lock


def kept(
    rounds: Iterator[Round], task: Task, method: Method, settings: Settings, account: Account, lock: FileLock
) -> Iterator[Round]:
    """Write each round down before handing it on; the lock goes when the loop ends, however it ends."""
    account.ledger.before = account.tell  # the cost first: a crash may leave too large an ε beside weights
    try:
        for r in rounds:
            record = r.to_json()
            write_state(account.directory, r.state, record, account.mark())
            append_line(account.directory / "rounds.jsonl", record)
            write_adapter(account, task, Saved(dict(task.source), method, settings, r.state, [record]))
            if r.round == settings.rounds:
                forget(account.directory)
            yield r
    finally:
        lock.release()


def catch_up(saved: Saved, task: Task, account: Account) -> None:
    """Bring the records and the adapter to the round of the state, which a crash may have left behind or ahead."""
    lines = "".join(json.dumps(line) + "\n" for line in saved.rounds)
    write_atomically(account.directory / "rounds.jsonl", lines)
    if saved.rounds:
        write_adapter(account, task, saved)


def forget_what_ended(directory: Path, saved: Saved) -> None:
    """Delete the secrets that no run needs: of those set aside, and of this one if its last round is on disk.

    A crash may have come between the last round and the deletion.
    """
    for place in sorted((directory / "runs").glob("*")):
        forget(place)
    if saved.ended:
        forget(directory)


def begin(task: Task, method: Method, settings: Settings, account: Account) -> RunState:
    """Set an earlier run aside, which ends it, and write down what the new one needs before it releases anything."""
    directory = account.directory
    plan = make_plan(task, method, settings, account.ledger)
    set_aside(directory)
    state = plan.state(0, plan.start)
    if settings.seed is None:
        write_atomically(directory / SECRET, dumps({"secret": plan.secret.hex()}), mode=0o600)
    write_state(directory, state, None, account.mark())
    about = {
        "task": task.name,
        "source": dict(task.source),
        "method": method.name,
        **({"method_source": dict(method.source)} if method.source else {}),
        "settings": settings.to_json(),
    }
    write_atomically(directory / "settings.json", dumps(about))
    return state


def set_aside(directory: Path) -> None:
    """Move an earlier run's files, but not the ledger, to `runs/NAME`, and delete its and its baselines' secrets."""
    for place in (directory, *(directory / "runs").glob("*"), *(directory / "baselines").glob("*/*")):
        forget(place)
    old = [directory / name for name in ("settings.json", "rounds.jsonl", "state", "adapter")]
    if not any(path.exists() for path in old):
        return
    place = directory / "runs"
    place.mkdir(exist_ok=True)
    taken = [int(path.name) for path in place.iterdir() if path.name.isdecimal()]
    home = place / f"{max(taken, default=0) + 1:03d}"
    home.mkdir()
    for path in old:
        if path.exists():
            os.replace(path, home / path.name)


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
    known = {**CONTROLS, **METHODS}
    if named.name in known:
        return known[named.name]
    raise ValueError(
        f"method {named.name!r} is unknown: {directory} was trained with it, it is none of {', '.join(METHODS)}, and "
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


def write_adapter(account: Account, task: Task, saved: Saved) -> None:
    """The averaged adapter in PEFT's format, each file replaced whole, with what the directory cost beside it."""
    directory, record, settings = account.directory, saved.rounds[-1], saved.settings
    fresh = directory / "adapter.new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        adapters.save(saved.state.adapter, fresh, task.backbone, task.targets, task.head)
    except SafetensorError as error:  # a full disk, which safetensors reports in a class of its own
        raise OSError(
            f"{fresh} could not be written: {error}; the round's state is kept; make room, and resume"
        ) from error
    cost = {
        **account.cost(settings.delta),
        "delta": settings.delta,
        "caution": record["caution"],
        "guarantee": guarantee(task.unit),
        "round": record["round"],
        "task": task.name,
        "method": saved.method.name,
    }
    (fresh / COST).write_text(dumps(cost), "utf-8")
    (directory / "adapter").mkdir(exist_ok=True)
    # The cost first: a crash in between may leave older weights beside a larger ε, never newer beside a smaller.
    for path in sorted(fresh.iterdir(), key=lambda path: (path.name != COST, path.name)):
        sync(path)
        os.replace(path, directory / "adapter" / path.name)
    fresh.rmdir()
