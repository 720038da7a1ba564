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

from lalora_kit.adapters import Adapter
from lalora_kit.files import beside, dumps, parse_object, read_object, sync, write_atomically
from lalora_kit.privacy import Streams
from lalora_kit.privacy.mechanism import TOLD
from lalora_kit.records import RunState, is_record
from lalora_kit.settings import Settings

SECRET = "secret.json"
KEY = re.compile("[0-9a-f]{32}")  # of a stream, in hexadecimal digits
KEPT_STATES = 2
MOST_STATE = 2**30  # bytes; an adapter of rank 64 on a ViT-B has 4 % of it


def write_state(directory: Path, state: RunState, record: Mapping[str, Any] | None) -> None:
    """One file a round, with a hash of all it says; the states before the last two go."""
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
            "ledger": ledger_mark(directory / "ledger.jsonl"),
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
    values = parse_object(about, path.name, "it was not written by this kit")
    check_about(values, path.name, settings)
    check_ledger(directory / "ledger.jsonl", values["ledger"])
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
        "ledger": isinstance(mark, dict) and type(mark.get("bytes")) is int and isinstance(mark.get("sha256"), str),
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
    """Length and hash of the ledger as it stands: what a state may rely on being there later."""
    data = path.read_bytes() if path.exists() else b""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def check_ledger(path: Path, mark: Mapping[str, Any]) -> None:
    """Weights without the record of what they cost are refused: the ε spent would be forgotten."""
    data = path.read_bytes()[: mark["bytes"]] if path.exists() else b""
    if hashlib.sha256(data).hexdigest() != mark["sha256"]:
        raise ValueError(
            f"{path} does not hold the releases that this state was built from; without them the ε spent is unknown; "
            "restore the ledger from a copy, or start anew on other data"
        )


def checksum(about: str, named: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the description and every tensor's name, shape and bytes."""
    total = hashlib.sha256(about.encode())
    for name in sorted(named):
        value = named[name].contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.numpy().tobytes())
    return total.hexdigest()
