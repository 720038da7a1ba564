"""Identity: by what a run is recognised, so that a resume goes on with the right one and no replay is charged twice.

After a crash a round is computed again, with the same noise and without a charge, because it is the same release. Were
it another, the two would differ by clipped gradients without any noise. So sameness is told by what is computed, and
where it cannot be told, the noise is fresh and charged.

*Covered by `identity_of`; a state that differs here belongs to another run, and is refused:* the settings but for
where a run is computed; task, targets, head, notes; names, shapes, types and content of all inputs, labels and units;
every tensor of the backbone; the method's name; instructions, constants and names of the method's functions and of
`prepare`; who holds which sample, by the content of each client's shard and not by rows; the randomness.

*Covered by `computed_by` and `machine_of`; a run that differs here goes on with fresh noise, and is charged:*
everything that the method's functions, `prepare` and the modules of the backbone refer to (closures, defaults,
attributes, state, and other functions, as far as they go: see `fingerprint`); what `prepare`, forward and backward
make of a fixed probe, the first test samples, bit for bit; device, what draws the noise there, processor's instruction
set, threads, chunk, precision, and the versions of Python and of the packages that compute. A probe that comes out
otherwise when it is made twice (random augmentation, say), and an object that cannot be looked into (a lock, an
extension's own state), count as different each time.

*Not covered:* another machine of the same kind and instruction set whose rounding agrees on the probe and differs
elsewhere; a GPU that adds up in another order each time; code inside installed packages that was changed under the
same version; what a file or a server says to a function while it runs. A replay there gets the same noise and no
charge. Where only rounding differs, the two releases differ by that rounding of the clipped sums, about 1e-7 of C,
and whoever sees both learns that much; where code or a file differs unseen, they differ by gradients: so start a new
run after such a change. With a seed the noise is the seed's, in every run that has it: that is why such a run is
called reproducible, not private.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch

from lalora_kit.base.files import digest
from lalora_kit.base.fingerprint import code_of, fingerprint
from lalora_kit.base.machine import device_name
from lalora_kit.base.steps import step
from lalora_kit.methods import Method
from lalora_kit.privacy import Streams
from lalora_kit.privacy.mechanism import drawn_by
from lalora_kit.records import RunState
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task
from lalora_kit.tasks.partition import Shards, holdings
from lalora_kit.tasks.probe import backbone_of, data_of, probe, shapes

#: Settings that say where and how a run is computed, and when it is tested, not what is computed.
PLACE = ("device", "precision", "threads", "max_samples", "evaluate_every", "teaching")


def computed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of settings as JSON, those that say what is computed, not where or how.

    One clip for head and adapter goes without saying: runs from before there could be two are the same runs.
    """
    joint = ("clip_head_share", 0.0)
    return {name: value for name, value in settings.items() if name not in PLACE and (name, value) != joint}


@step("taking a fingerprint of the data and the backbone")
def identity_of(
    task: Task, method: Method, settings: Settings, shards: Shards, seed: str, key: bytes
) -> dict[str, str]:
    """What a run is made of, as short strings; `rounds` is part of it, because σ was calibrated for them.

    `seed` stands for the run's randomness; `key` is mixed into what the ledger tells of the shards' content, so that
    nobody can try a guess at a sample against the ledger alone.
    """
    return {
        "task": task.name,
        "inputs": json.dumps([shapes(task.train), shapes(task.test)]),
        "data": data_of(task),
        "trains": json.dumps([*task.targets, task.head]),
        "backbone": backbone_of(task),
        "prepare": "none" if task.prepare is None else code_of(task.prepare),
        "method": method.name,
        "schedule": code_of(method.trains),
        "smooth": code_of(method.smooth),
        "aggregate": code_of(method.aggregate),
        **{f"hook.{name}": code_of(hook) if callable(hook) else str(hook) for name, hook in method.hooked().items()},
        "shards": digest(holdings(task.train, shards, key)),
        "seed": seed,
        **{f"notes.{name}": value for name, value in task.notes.items()},
        **{f"settings.{name}": json.dumps(value) for name, value in computed(settings.to_json()).items()},
    }


def randomness(settings: Settings, state: RunState | None) -> tuple[bytes, str, dict[str, bytes]]:
    """A run's secret, what may be told of it to recognise it by, and the keys of the streams that give nothing away.

    Of a run that has ended the secret may be empty, and the state holds the rest.
    """
    if state is not None and not state.secret:
        return b"", state.identity["seed"], {purpose: bytes.fromhex(key) for purpose, key in state.told.items()}
    secret = Streams.from_seed(settings.seed).secret if state is None else state.secret
    seed = hashlib.blake2b(secret, digest_size=8, person=b"identity").hexdigest()
    return secret, seed, Streams(secret).told()


@step("taking a fingerprint of what is computed")
def computed_by(task: Task, method: Method) -> dict[str, str]:
    """What the task and the method compute: all that their functions refer to, and the outcome of a probe.

    `unsure` is "" or, where sameness cannot be told, why, with a word that never comes twice.
    """
    known = {id(value) for value in task.backbone.state_dict(keep_vars=True).values()}
    probed, doubt = probe(task)
    hooks = [hook for hook in method.hooked().values() if callable(hook)]
    functions, unseen = fingerprint([method.trains, method.smooth, method.aggregate, task.prepare, *hooks])
    modules, hidden = fingerprint(task.backbone, known)
    reasons = sorted(unseen | hidden) + [doubt] * bool(doubt)
    unsure = f"{'; '.join(reasons)} ({os.urandom(8).hex()})" if reasons else ""
    return {"functions": functions, "modules": modules, "probe": probed, "unsure": unsure}


def machine_of(settings: Settings, max_samples: int | None) -> dict[str, str]:
    """Where the run is computed, and in which chunks: what bit-for-bit repetition depends on."""
    return {
        "device": device_name(settings.device),
        "noise": drawn_by(torch.device(settings.device)),
        "threads": str(torch.get_num_threads()),
        "max_samples": str(max_samples),
        "precision": settings.precision,
        "products": torch.get_float32_matmul_precision(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("lalora-kit", "torch", "numpy", "timm", "transformers")},
    }


def moves_of(
    state: RunState | None, identity: Mapping[str, str], machine: Mapping[str, str]
) -> tuple[tuple[int, str], ...]:
    """Where a run changed machines, or what it computes; if it does now, a replay gets fresh noise, and is charged.

    Raises:
        ValueError: if the state is of another run.
    """
    if state is None:
        return ()
    check_same_run(state, identity)
    if dict(state.machine) == machine:
        return state.moves
    tell_of_changes(state, machine)
    return (*state.moves, (state.round, digest([dict(state.machine), machine])))


def moved(streams: Streams, moves: Sequence[tuple[int, str]]) -> Streams:
    """The randomness of a run after its moves, each of which has noise of its own."""
    for done, name in moves if streams.secret else ():
        streams = Streams(streams.generator(f"moved to {name}", round=done).bytes(32))
    return streams


def check_same_run(state: RunState, identity: Mapping[str, str]) -> None:
    """Refuse a checkpoint of another run, naming the first thing that differs."""
    for name, value in identity.items():
        if state.identity.get(name) != value:
            raise ValueError(
                f"this checkpoint belongs to another run: its {name} is {state.identity.get(name)}, not {value}; "
                "a run resumes only with the settings, method and data that it began with; start a new run"
            )


def tell_of_changes(state: RunState, machine: Mapping[str, str]) -> None:
    """Warn where a run that goes on computes something else than it did; a mere change of machine is no surprise."""
    names = {"functions": "a function of the method, or prepare", "modules": "the backbone's modules",
             "probe": "what prepare, forward and backward make of a fixed probe", "unsure": ""}  # fmt: skip
    changed = [said for name, said in names.items() if said and state.machine.get(name) != machine[name]]
    changed += [f"whether it is the same cannot be told: {machine['unsure']}"] if machine["unsure"] else []
    if changed and state.round:
        warnings.warn(
            f"this run does not go on as it was after round {state.round}: changed is {'; '.join(changed)}; the rounds "
            "that follow get fresh noise and are charged; to go on without, restore what was there, and resume",
            stacklevel=3,
        )
