"""Waits: how often host and device wait for each other, counted operation by operation; no GPU is needed for it.

    with counted() as waits:
        ...
    waits["item", "lalora_kit.local.private_step"]

A pretended device is torch's `meta`: its tensors have shapes and no numbers, so whatever asks for a number is caught.
It is then given a made-up one (true, 1, everything), so that code that waits runs on and is counted whole. On a real
device the same operations are counted and answered truly. Copies from the host count as well, pinned ones apart.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
Waits = Counter[tuple[str, str]]

#: What asks a device for a number or a size, or copies.
ITEM, SIZE, CHECK, BACK, THERE, PINNED = "item", "size", "check", "to host", "to device", "to device, no wait"
BLOCKING = (ITEM, SIZE, CHECK, BACK, THERE)
SIZES = {
    aten.nonzero, aten.unique_consecutive, aten.unique_dim, aten._unique2, aten.unique_dim_consecutive,
    aten.masked_select, aten.bincount,
}  # fmt: skip
HERE = str(Path(__file__).resolve())


def on_device(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type != "cpu"


def on_host(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == "cpu"


def place() -> str:
    """The function that asked: the innermost frame outside torch and this file."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_filename != HERE and not name.startswith(("torch.", "torch")):
            return f"{name}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "?"


def kind_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """What an operation makes the host wait for, or None."""
    packet, given = func.overloadpacket, tree_leaves(args)
    if packet is aten._to_copy or packet is aten.copy_:
        source = args[-1] if packet is aten._to_copy else args[1]
        target = torch.device(kwargs.get("device") or source.device) if packet is aten._to_copy else args[0].device
        if source.device.type == target.type:
            return None
        return BACK if target.type == "cpu" else PINNED if kwargs.get("non_blocking") else THERE
    if packet is aten.lift_fresh:
        return THERE if on_device(args[0]) else None  # made there of numbers of Python's
    if not any(map(on_device, given)):
        return None
    if packet in (aten._local_scalar_dense, aten.equal, aten.is_nonzero, aten.allclose):
        return ITEM
    if packet in SIZES or (packet is aten.repeat_interleave and kwargs.get("output_size") is None):
        return SIZE
    if packet is aten._linalg_check_errors:
        return CHECK
    if packet in (aten.index, aten.index_put, aten.index_put_):
        masks = [one for one in args[1] if one is not None and one.dtype in (torch.bool, torch.uint8)]
        return SIZE if masks else BACK if on_host(args[0]) else THERE if any(map(on_host, args[1])) else None
    return None


def made_up(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An answer where there are no numbers: true, 1, all of it."""
    packet, first = func.overloadpacket, args[0]
    if packet is aten._local_scalar_dense:
        return {torch.bool: True}.get(first.dtype, 1.0 if first.is_floating_point() else 1)
    if packet is aten.equal:
        return False
    if packet is aten._to_copy:
        return torch.ones(first.shape, dtype=kwargs.get("dtype") or first.dtype)
    if packet is aten.nonzero:
        return torch.empty(first.numel(), first.ndim, dtype=torch.long, device=first.device)
    if packet in (aten.unique_consecutive, aten.unique_dim_consecutive, aten.unique_dim):
        rows = torch.empty(first.numel() if packet is aten.unique_consecutive else len(first), dtype=torch.long)
        return first, rows.to(first.device), rows.to(first.device)
    if packet is aten._linalg_check_errors:
        return None
    raise NotImplementedError(f"{func} asks a pretended device, and no answer is made up for it")


class Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: Waits = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = kind_of(func, args, kwargs)
        if kind is not None:
            self.found[kind, place()] += 1
            pretended = any(one.device.type == "meta" for one in tree_leaves(args) if isinstance(one, Tensor))
            if pretended and kind in (ITEM, SIZE, CHECK, BACK):
                return made_up(func, args, kwargs)
        return func(*args, **kwargs)


@contextlib.contextmanager
def counted() -> Iterator[Waits]:
    """Counts what happens inside, by (kind, function that asked)."""
    mode = Counting()
    with mode:
        yield mode.found


def waits_of(work: Callable[[], object]) -> tuple[Waits, Waits]:
    """What makes the host wait in `work`: in the kit, and inside a library (named by its function)."""
    with counted() as found:
        work()
    blocking = {key: count for key, count in found.items() if key[0] in BLOCKING}
    ours = {key: count for key, count in blocking.items() if key[1].startswith(("lalora_kit", "tests", "__main__"))}
    return Counter(ours), Counter({key: count for key, count in blocking.items() if key not in ours})
