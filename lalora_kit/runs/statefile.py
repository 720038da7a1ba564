"""State files: one round's adapter and identity, in safetensors, with a hash of all that it says.

A file that was cut short or changed is refused, and so is one whose ledger is gone. Reading one never executes
what it says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from lalora_kit.base.files import beside, dumps, parse_object, read_object, sync, write_atomically
from lalora_kit.engine.adapters import Adapter
from lalora_kit.privacy import Streams
from lalora_kit.privacy.mechanism import TOLD
from lalora_kit.records import WRITTEN, RunState
from lalora_kit.settings import Settings

SECRET = "secret.json"
REMEDY = "restore it from a copy, or use a new directory and add the ε that was spent here to what it states, by hand"
KEY = re.compile("[0-9a-f]{32}")  # of a stream, in hexadecimal digits
KEPT_STATES = 2
MOST_STATE = 2**30  # bytes; an adapter of rank 64 on a ViT-B has 4 % of it


def write_state(directory: Path, state: RunState, record: Mapping[str, Any] | None, mark: Mapping[str, Any]) -> None:
    """One file a round, with the `mark` of the ledgers and a hash of all it says; states before the last two go."""
    named = {"/".join(key): value.contiguous() for key, value in state.adapter.tensors.items()}
    about = dumps(
        {
            "round": state.round,
            "scale": state.adapter.scale,
            "identity": dict(state.identity),
            "machine": dict(state.machine),
            "moves": list(state.moves),
            "told": dict(state.told),
            "record": record,
            "ledger": dict(mark),
        }
    )
    data = safetensors.torch.save(named, {"about": about, "sha256": checksum(about, named)})
    folder = directory / "state"
    folder.mkdir(exist_ok=True)
    write_atomically(folder / f"round-{state.round:06d}.safetensors", data)
    for old in sorted(folder.glob("round-*.safetensors"))[:-KEPT_STATES]:
        old.unlink()


def read_state(path: Path, directory: Path, settings: Settings) -> tuple[RunState, dict[str, Any] | None]:
    """One state file, checked against its hash and against the ledger; `ValueError` if it is not whole."""
    values, named = opened(path)
    check_about(values, path.name, settings)
    check_ledger(directory / "ledger.jsonl", values["ledger"], f"this state ({path.name})")
    tensors = {tuple(name.split("/", 1)): value for name, value in named.items()}
    state = RunState(
        round=values["round"],
        adapter=Adapter(tensors, values["scale"]),  # type: ignore[arg-type]
        identity=values["identity"],
        machine=values["machine"],
        secret=read_secret(directory, settings, ended=values["round"] == settings.rounds),
        moves=tuple((done, name) for done, name in values["moves"]),
        told=values["told"],
    )
    return state, values["record"]


def opened(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a state file says and its tensors by name, if its hash is right; nothing else is checked."""
    if path.stat().st_size > MOST_STATE:
        raise ValueError(f"{path.name} is damaged: {path.stat().st_size} bytes are more than any state has")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            named = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  (not a mapping)
        about = metadata["about"]
        whole = metadata["sha256"] == checksum(about, named)
    except (safetensors.SafetensorError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    if not whole:
        raise ValueError(f"{path.name} is damaged: its content does not match its hash")
    return parse_object(about, path.name, "it was not written by this kit"), named


def check_about(values: Mapping[str, Any], name: str, settings: Settings) -> None:
    """What a state says about itself has the form in which it is written here; the adapter is checked by the plan."""
    done, moves = values.get("round"), values.get("moves")
    mark, record, told = values.get("ledger"), values.get("record"), values.get("told", {})
    if type(done) is not int or not 0 <= done <= settings.rounds:
        raise ValueError(f"{name} is damaged: round {done!r} is none of 0 to {settings.rounds}")
    checks = {
        "scale": values.get("scale") == settings.scale,
        "identity": is_names(values.get("identity")),
        "machine": is_names(values.get("machine")),
        "moves": isinstance(moves, list)
        and all(isinstance(m, list) and [type(part) for part in m] == [int, str] and 0 <= m[0] <= done for m in moves),
        "told": is_names(told) and told.keys() == set(TOLD) and all(map(KEY.fullmatch, told.values())),
        "record": (record is None) == (done == 0) and (record is None or is_record(record)),
        "ledger": is_mark(mark),
    }
    for part, holds in checks.items():
        if not holds:
            raise ValueError(f"{name} is damaged: its {part} is not what this kit writes there")


def is_names(value: Any) -> bool:
    """A mapping of short names to texts."""
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def read_secret(directory: Path, settings: Settings, *, ended: bool) -> bytes:
    """The run's randomness: from its seed, or from secret.json; of a run that has `ended`, nothing."""
    if settings.seed is not None:
        return Streams.from_seed(settings.seed).secret
    if ended:
        return b""
    try:
        secret = bytes.fromhex(read_object(directory / SECRET, "without it the run cannot go on")["secret"])
        if len(secret) != 32:
            raise ValueError(f"it holds {len(secret)} bytes, not 32")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{directory}/{SECRET} cannot be read ({error}); without the run's randomness it cannot go on (it stays "
            "until the last round is on disk, and is deleted then); start a new run with --out"
        ) from error
    return secret


def forget(directory: Path) -> None:
    """Delete a run's secret, and return when it is gone from the folder on disk; no harm where there is none.

    Whoever has it can subtract the noise from every release. What a backup or a snapshot holds is not reached.
    """
    found = [path for path in (directory / SECRET, beside(directory / SECRET)) if path.exists()]
    for path in found:
        path.unlink(missing_ok=True)
    if found:
        sync(directory)


def ledger_mark(path: Path) -> dict[str, Any]:
    """Length and hash of the ledger's whole lines: what a state may rely on being there later.

    A last line that a crash cut short was never released, and goes with the next charge.
    """
    data = path.read_bytes() if path.exists() else b""
    data = data[: data.rfind(b"\n") + 1]
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def is_mark(value: object) -> bool:
    """Whether a value has the form of a mark, with the marks of the ledgers below, if it has any."""
    return (
        isinstance(value, dict)
        and type(value.get("bytes")) is int
        and isinstance(value.get("sha256"), str)
        and isinstance(below := value.get("below", {}), dict)
        and all(isinstance(mark, dict) and "below" not in mark and is_mark(mark) for mark in below.values())
    )


def mark_in(path: Path) -> Mapping[str, Any] | None:
    """The mark that a state file holds; None if the file is not whole, or another process has just removed it."""
    try:
        mark = opened(path)[0].get("ledger")
    except (ValueError, FileNotFoundError):
        return None
    return mark if is_mark(mark) else None


def check_ledger(path: Path, mark: Mapping[str, Any], what: str) -> None:
    """Weights without the record of what they cost are refused: the ε spent would be forgotten."""
    data = path.read_bytes()[: max(0, mark["bytes"])] if path.exists() else b""
    if hashlib.sha256(data).hexdigest() != mark["sha256"]:
        fault = "does not hold the releases" if data else "holds no release, yet rounds were finished: not those"
        raise ValueError(
            f"{path} {fault} that {what} was built from (its mark: {mark['bytes']} bytes, sha256 "
            f"{mark['sha256'][:12]}); without them the ε spent is unknown; {REMEDY}"
        )


def checksum(about: str, named: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the description and every tensor's name, shape and bytes."""
    total = hashlib.sha256(about.encode())
    for name in sorted(named):
        value = named[name].contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.numpy().tobytes())
    return total.hexdigest()


def is_record(value: object) -> bool:
    """Whether `value` has the form of `Round.to_json`; what it says is not judged."""
    return isinstance(value, dict) and all(
        name in value and isinstance(value[name], kind) and not isinstance(value[name], bool)
        for name, kind in WRITTEN.items()
    )
