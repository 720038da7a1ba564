"""Adapter files: reading an adapter in PEFT's format as data, never as code, and only if it fits the task.

Anyone may hand you such a directory. Only safetensors and JSON are read; names, shapes and sizes are compared with
what the task expects before a tensor is loaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors

from lalora_kit.adapters import Adapter, Key, create
from lalora_kit.checks import counting, number, require
from lalora_kit.files import read_object
from lalora_kit.limits import check_fits, check_rank
from lalora_kit.tasks import Task

PREFIX = "base_model.model."
REMEDY = "use the adapter of a run on this very task, or restore it from a copy"
#: Settings of PEFT under which the same tensors mean something else.
OTHER_MATHS = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "bias", "fan_in_fan_out", "layer_replication")
SPARE = 2**20  # bytes that a file may have besides its tensors: the header


def load_adapter(directory: Path, task: Task) -> Adapter:
    """The adapter that `adapters.save`, or PEFT itself, wrote for this task.

    Raises:
        ValueError: if there is none, or it is a pickle, too large, damaged, not finite, or another task's.
    """
    path = directory / "adapter_model.safetensors"
    if not path.is_file():
        others = sorted(p.name for p in directory.glob("adapter_model*")) if directory.is_dir() else []
        found = (
            f"; {others[0]} is not read, because other formats can carry code that runs when loaded" if others else ""
        )
        raise ValueError(f"{path} does not exist{found}; save the adapter with safetensors")
    config = read_config(directory / "adapter_config.json", task)
    expected = create(task.backbone, task.targets, task.head, config[0], config[1], np.random.default_rng(0))
    names = {tensor_name(key, task): key for key in expected.tensors}
    most = sum(value.numel() * value.element_size() for value in expected.tensors.values()) + SPARE
    if path.stat().st_size > most:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, more than the {most} of this task's; {REMEDY}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  (no mapping)
            check_names(held, {name: tuple(expected.tensors[key].shape) for name, key in names.items()}, path)
            adapter = Adapter({key: file.get_tensor(name).clone() for name, key in names.items()}, expected.scale)
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}); {REMEDY}") from error
    check_fits(adapter, expected, str(path))
    return adapter


def read_config(path: Path, task: Task) -> tuple[int, float]:
    """Rank and scale from PEFT's configuration."""
    try:
        config = read_object(path, REMEDY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{path} does not exist; {REMEDY}") from error
    strange = sorted(name for name in OTHER_MATHS if config.get(name) not in (None, False, "none", {}, []))
    if strange:
        raise ValueError(f"{path} sets {', '.join(strange)}, which makes another model than W0 + s·B·A; {REMEDY}")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    try:
        counting("r", rank)
        assert isinstance(rank, int)
        check_rank(task, rank)
        require("lora_alpha", alpha, 0 < number("lora_alpha", alpha) < 1e9, "it lies above 0", REMEDY)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    assert alpha is not None
    return rank, float(alpha) / rank


def tensor_name(key: Key, task: Task) -> str:
    """PEFT's name of a tensor."""
    kind, name = key
    return f"{PREFIX}{task.head}.{name}" if kind == "head" else f"{PREFIX}{name}.lora_{kind}.weight"


def check_names(held: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]], path: Path) -> None:
    """Same names, same shapes."""
    if held.keys() != wanted.keys():
        raise ValueError(f"{path} does not fit the task: {sorted(held.keys() ^ wanted.keys())[:3]} differ; {REMEDY}")
    for name, shape in held.items():
        if shape != wanted[name]:
            raise ValueError(f"{path} does not fit the task: {name} is {shape}, not {wanted[name]}; {REMEDY}")
