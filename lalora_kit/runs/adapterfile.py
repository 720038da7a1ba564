"""Adapter files: reading an adapter in PEFT's format as data, never as code, and only if it fits the task.

Anyone may hand you such a directory. Only safetensors and JSON are read; names, shapes and sizes are compared with
what the task expects before a tensor is loaded.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from torch import nn

from lalora_kit.base.checks import counting, number, require, shown
from lalora_kit.base.files import read_object
from lalora_kit.base.steps import step
from lalora_kit.engine.adapters import Adapter, Key, create
from lalora_kit.engine.limits import check_fits
from lalora_kit.methods.algebra import as_plain_lora, widest_rank
from lalora_kit.tasks import Task

PREFIX = "base_model.model."
REMEDY = "use the adapter of a run on this very task, or restore it from a copy"
#: Fields of PEFT's configuration that are read here, each by a rule of its own.
READ = ("peft_type", "r", "lora_alpha", "target_modules", "modules_to_save")
#: Fields that do not change what W0 + s·B·A computes: where it is from, how it was trained, and numbers that only
#: count once another field is set. Any value will do.
INERT = (
    "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "lora_dropout", "megatron_core", "qalora_group_size",
)  # fmt: skip
#: Fields with values besides "nothing" that leave W0 as it is. Other initialisations (pissa, olora, loftq, corda, eva,
#: ...) take a part of W0 into the factors, or need more than the tensors.
PLAIN = {"init_lora_weights": (True, "gaussian", "orthogonal"), "bias": ("none",)}
SPARE = 2**20  # bytes that a file may have besides its tensors: the header


def load_adapter(directory: Path, task: Task) -> Adapter:
    """The adapter that `adapterfile.save`, or PEFT itself, wrote for this task.

    Where the task standardises features, so does the adapter that is given back: its head is unfolded.

    Raises:
        ValueError: if there is none, or it is a pickle, too large, damaged, not finite, another task's, or its
            configuration asks for anything but W0 + s·B·A on the task's layers.
    """
    path = directory / "adapter_model.safetensors"
    if not path.is_file():
        others = sorted(p.name for p in directory.glob("adapter_model*")) if directory.is_dir() else []
        clients = sorted(p.parent.name for p in directory.glob("client-*/adapter_model.safetensors"))
        if clients:
            raise ValueError(f"{directory} holds an adapter a client; name one of them: {directory / clients[0]}")
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
    return adapter if task.statistics is None else adapter.with_head(task.statistics.unfolded(adapter.of("head")))


def is_there(adapter: Adapter, directory: Path, task: Task) -> bool:
    """Whether `directory` holds this very adapter, to the bit; PEFT, which takes seconds to load, is not asked."""
    adapter = as_plain_lora(adapter)
    try:
        found = load_adapter(directory, task)
    except ValueError:
        return False
    same = (torch.equal(found.tensors[key], value) for key, value in adapter.tensors.items())
    return found.scale == adapter.scale and all(same)


def read_config(path: Path, task: Task) -> tuple[int, float]:
    """Rank and scale from PEFT's configuration."""
    try:
        config = read_object(path, REMEDY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{path} does not exist; {REMEDY}") from error
    check_plain(config, path)
    check_layers(config, task, path)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    try:
        counting("r", rank)
        assert isinstance(rank, int)
        most = widest_rank(task)
        if rank > most:
            raise ValueError(f"rank={rank} is larger than the narrowest side of every adapted layer ({most}); {REMEDY}")
        require("lora_alpha", alpha, 0 < number("lora_alpha", alpha) < 1e9, "it lies above 0", REMEDY)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    assert alpha is not None
    return rank, float(alpha) / rank


def check_plain(config: Mapping[str, Any], path: Path) -> None:
    """Refuse by name every field that asks for more than plain LoRA.

    A field that is not known here may hold nothing, or the default of the PEFT that is installed.
    """
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{path} is of peft_type={shown(config.get('peft_type'))}, not LORA; {REMEDY}")
    asked = {name: value for name, value in config.items() if name not in (*READ, *INERT) and not is_nothing(value)}
    asked = {name: value for name, value in asked.items() if value not in PLAIN.get(name, ())}
    usual = defaults() if asked else {}
    strange = [
        f"{name}={shown(value)}"
        for name, value in sorted(asked.items())
        if name in PLAIN or value != usual.get(name, 0)  # 0 is a layer's number in a field that PEFT knows
    ]
    if strange:
        raise ValueError(
            f"{path} sets {', '.join(strange[:10])}, which makes another model than W0 + s·B·A, or may; {REMEDY}"
        )


def is_nothing(value: object) -> bool:
    """Whether a field asks for nothing at all; the number 0 may ask for something: a first layer."""
    return value is None or value is False or value in ("", [], {})


def check_layers(config: Mapping[str, Any], task: Task, path: Path) -> None:
    """The layers and the head that the configuration names must be the task's: no other is adapted or saved by PEFT.

    Names are PEFT's: a module's full one, or its last parts. An expression for `target_modules` is not tried, because
    anybody may have written it; which layers there are is read from the tensors then.
    """
    layers, saved = config.get("target_modules"), config.get("modules_to_save")
    for field, names, wanted in (("target_modules", layers, task.targets), ("modules_to_save", saved, (task.head,))):
        if field == "target_modules" and isinstance(names, str):
            continue
        listed = names if isinstance(names, list) else []
        left_out = [module for module in wanted if not any(is_called(module, name) for name in listed)]
        if left_out:
            raise ValueError(f"{path} sets {field}={shown(names)}, which leaves out {left_out[0]!r}; {REMEDY}")


def is_called(module: str, name: object) -> bool:
    """Whether PEFT takes `name` for the module: its full name or the end of it."""
    return isinstance(name, str) and (module == name or module.endswith(f".{name}"))


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


def as_peft(adapter: Adapter, task: Task) -> nn.Module:
    """A copy of the task's backbone as a `peft.PeftModel` that carries this adapter and its head.

    Statistics that features are standardised by are folded into the head, so that it takes them as they are, and what a
    method merged into the base goes into the factors.
    """
    with step("loading peft, which writes the adapter"):
        from peft import LoraConfig, get_peft_model
        from peft.utils.constants import DUMMY_TARGET_MODULES

    adapter = as_plain_lora(adapter)
    targets, head, backbone = task.targets, task.head, copy.deepcopy(task.backbone).cpu()
    if task.statistics is not None:
        adapter = adapter.with_head(task.statistics.folded(adapter.of("head")))
    rank = next((factor.shape[0] for factor in adapter.of("A").values()), 1)
    config = LoraConfig(
        r=rank, lora_alpha=adapter.scale * rank,  # type: ignore[arg-type]
        target_modules=list(targets) or DUMMY_TARGET_MODULES, modules_to_save=[head],
    )  # fmt: skip
    with warnings.catch_warnings():  # peft asks transformers 5 for a property under its old name; nothing of ours does
        warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)
        model = get_peft_model(backbone, config)  # type: ignore[arg-type]
    base = model.get_base_model()
    with torch.no_grad():
        for name in targets:
            layer = base.get_submodule(name)
            layer.lora_A["default"].weight.copy_(adapter.tensors["A", name])  # type: ignore[union-attr, index, operator]
            layer.lora_B["default"].weight.copy_(adapter.tensors["B", name])  # type: ignore[union-attr, index, operator]
        saved = base.get_submodule(head).modules_to_save["default"]  # type: ignore[union-attr, index]
        for name, value in adapter.of("head").items():
            saved.get_parameter(name).copy_(value)  # type: ignore[union-attr]
    return model


def defaults() -> dict[str, Any]:
    """Every field of a LoRA configuration at the default of the PEFT that is installed, as its file would say it."""
    from peft import LoraConfig

    return LoraConfig().to_dict()


def save(adapter: Adapter, directory: Path, task: Task) -> None:
    """Write the adapter in PEFT's format; `peft.PeftModel.from_pretrained(task.backbone, directory)` reads it."""
    model = as_peft(adapter, task)
    # No embedding is ever adapted; "auto" would ask the hub about one.
    model.save_pretrained(str(directory), save_embedding_layers=False)  # type: ignore[operator]
