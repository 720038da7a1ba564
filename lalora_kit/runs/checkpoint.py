"""Checkpoints: a run's whole state on disk, so that it can be stopped at any instant and no finished round is lost.

    DIR/settings.json     task, method and settings; of a method of one's own also file, name and the content's hash
    DIR/secret.json       the run's randomness (mode 0600), only where no seed was given, until the run has ended: its
                          last round is on disk, or another run has begun here
    DIR/ledger.jsonl      every release ever made on these data in this directory; never rewritten
    DIR/rounds.jsonl      one record a round
    DIR/state/            the last two rounds' states (safetensors, checked by a hash)
    DIR/adapter/          the averaged adapter in PEFT's format, or each client's own in client-N/, and what ε it cost
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from lalora_kit.base.files import append_line, dumps, sync, write_atomically
from lalora_kit.federated import federated_rounds, planned_rounds
from lalora_kit.methods import Method
from lalora_kit.methods.personal import models
from lalora_kit.plan import Plan, make_plan
from lalora_kit.privacy.ledger import guarantee
from lalora_kit.records import Round
from lalora_kit.runs import adapterfile
from lalora_kit.runs.marks import COST, LEDGER
from lalora_kit.runs.saved import Saved, load
from lalora_kit.runs.spent import Account, open_account
from lalora_kit.runs.statefile import SECRET, forget, write_state
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task
from lalora_kit.tasks.heads.public import count_of

Told = Callable[[dict[str, Any]], None]


def save_rounds(
    task: Task, method: Method, settings: Settings, directory: Path, *, resume: bool = False, told: Told | None = None
) -> Iterator[Round]:
    """`federated_rounds` with everything kept in `directory` after each round.

    A fresh run moves an earlier one of the directory into `runs/`; the ledger stays, and composes both.

    Args:
        task, method, settings: as for `federated_rounds`.
        directory: made if need be.
        resume: go on from the newest good state of `directory` instead of starting anew.
        told: called with each round's record once its state is on disk; the adapter, for which PEFT is loaded, follows.

    Raises:
        ValueError: if another process writes there, it is a file, or the saved run is another one or has no ledger.
    """
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} is a file, and a run is kept in a directory; name another place")
    plan = mark = None
    if not resume and not (directory / LEDGER).exists():
        mark = open_account(directory).mark()  # before the plan, so that no release is missed
        plan = make_plan(task, method, settings, open_account(directory).ledger)  # what cannot begin leaves nothing
    if resume and not (directory / "settings.json").exists():
        load(directory)  # says what is missing, and makes nothing
    directory.mkdir(parents=True, exist_ok=True)
    lock = locked(directory)
    try:
        saved = load(directory, method) if resume else None
        account = open_account(directory)
        if saved is not None:
            rounds = federated_rounds(task, method, settings, state=saved.state, ledger=account.ledger)
            catch_up(saved, task, account)
            forget_what_ended(directory, saved)
        else:
            if plan is None or mark != account.mark():  # there was a ledger, or another process has released since
                plan = make_plan(task, method, settings, account.ledger)
            begin(task, method, settings, account, plan)
            rounds = planned_rounds(task, method, settings, plan, account.ledger)
    except BaseException:
        lock.release()
        raise
    return kept(rounds, task, method, settings, account, lock, told)


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
    rounds: Iterator[Round], task: Task, method: Method, settings: Settings, account: Account, lock: FileLock,
    told: Told | None,
) -> Iterator[Round]:  # fmt: skip
    """Write each round down before handing it on; the lock goes when the loop ends, however it ends."""
    account.ledger.before = account.tell  # the cost first: a crash may leave too large an ε beside weights
    try:
        for r in rounds:
            record = r.to_json()
            write_state(account.directory, r.state, record, account.mark())
            append_line(account.directory / "rounds.jsonl", record)
            try:
                if told is not None:
                    told(record)
            finally:  # whoever is told may fail, a reader who has left, say
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
    if saved.rounds and not is_written(account, task, saved):
        write_adapter(account, task, saved)


def is_written(account: Account, task: Task, saved: Saved) -> bool:
    """Whether the adapter of the state is on disk, whole, and what is spent beside it; its weights come last."""
    path = account.directory / "adapter" / COST
    whole = path.is_file() and not (account.directory / "adapter.new").exists()
    told = whole and path.read_text("utf-8") == dumps(cost_of(account, task, saved))
    found = models(saved.method, saved.state.adapter).items() if told else ()
    return told and all(adapterfile.is_there(model, path.parent / name, task) for name, model in found)


def forget_what_ended(directory: Path, saved: Saved) -> None:
    """Delete the secrets that no run needs: of those set aside, and of this one if its last round is on disk.

    A crash may have come between the last round and the deletion.
    """
    for place in sorted((directory / "runs").glob("*")):
        forget(place)
    if saved.ended:
        forget(directory)


def begin(task: Task, method: Method, settings: Settings, account: Account, plan: Plan) -> None:
    """Set an earlier run aside, which ends it, and write down what the new one needs before it releases anything."""
    directory = account.directory
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
        **({"public_inputs": count_of(task)} if count_of(task) else {}),
    }
    write_atomically(directory / "settings.json", dumps(about))


def set_aside(directory: Path) -> None:
    """Move an earlier run's files, but not the ledger, to `runs/NAME`, and delete its and its baselines' secrets."""
    for place in (directory, *(directory / "runs").glob("*"), *(directory / "baselines").glob("*/*")):
        forget(place)
    names = ("settings.json", "rounds.jsonl", "state", "adapter")
    old = [path for name in names if (path := directory / name).exists()]
    if not old:
        return
    place = directory / "runs"
    place.mkdir(exist_ok=True)
    taken = [int(path.name) for path in place.iterdir() if path.name.isdecimal()]
    home = place / f"{max(taken, default=0) + 1:03d}"
    home.mkdir()
    for path in old:
        os.replace(path, home / path.name)


def cost_of(account: Account, task: Task, saved: Saved) -> dict[str, Any]:
    """What stands beside the adapter: what the directory has cost, and of which run it is."""
    record, delta = saved.rounds[-1], saved.settings.delta
    return {
        **account.cost(delta),
        "delta": delta, "caution": record["caution"], "guarantee": guarantee(task.unit), "round": record["round"],
        "task": task.name, "method": saved.method.name,
    }  # fmt: skip


def write_adapter(account: Account, task: Task, saved: Saved) -> None:
    """What the method makes in PEFT's format, each file replaced whole, with what the directory cost beside it."""
    directory, fresh = account.directory, account.directory / "adapter.new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for name, model in models(saved.method, saved.state.adapter).items():
            adapterfile.save(model, fresh / name, task)
    except SafetensorError as error:  # a full disk, which safetensors reports in a class of its own
        raise OSError(
            f"{fresh} could not be written: {error}; the round's state is kept; make room, and resume"
        ) from error
    (fresh / COST).write_text(dumps(cost_of(account, task, saved)), "utf-8")
    # The cost first: a crash in between may leave older weights beside a larger ε, never newer beside a smaller.
    for path in sorted((p for p in fresh.rglob("*") if p.is_file()), key=lambda path: (path.name != COST, path)):
        sync(path)
        place = directory / "adapter" / path.relative_to(fresh)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, place)
    shutil.rmtree(fresh)
