"""What travels: one vector of numbers and a few facts, as safetensors, read as data and only if all of it fits.

The vector holds the tensors of an adapter one after the other, in the order of their names; a digest of names and
shapes goes with it. So a message is as long as what it carries, and a fixed little more, however many layers there are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from lalora_kit.base.files import digest, parse_object
from lalora_kit.engine.adapters import Adapter, Key

SPARE = 2**14  # bytes that a message may have beside its numbers
REMEDY = "nothing of it was used; both sides must run the same version of the kit"


def layout(adapter: Adapter, keys: Sequence[Key]) -> str:
    """A short name for the tensors that travel: which, in which order, of which shape."""
    return digest([["/".join(key), list(adapter.tensors[key].shape)] for key in keys])


def pack(adapter: Adapter, keys: Sequence[Key], about: Mapping[str, Any], norms: Sequence[float] = ()) -> bytes:
    """Tensors of an adapter, numbers beside them, and JSON-ready facts as bytes."""
    flat = [adapter.tensors[key].detach().cpu().float().flatten() for key in keys]
    named = {"values": torch.cat(flat), "norms": torch.tensor(norms, dtype=torch.float32)}
    text = json.dumps({**about, "layout": layout(adapter, keys)}, sort_keys=True)
    return safetensors.torch.save(named, {"about": text})


def unpack(
    data: bytes, like: Adapter, keys: Sequence[Key], norms: int = 0
) -> tuple[dict[Key, Tensor], list[float], dict[str, Any]]:
    """The same back: tensors with the shapes that `like` has, the numbers beside them, and the facts.

    Raises:
        ValueError: unless length, names, shapes and types are those expected and every number is finite.
    """
    sizes = [like.tensors[key].numel() for key in keys]
    wanted = {"values": sum(sizes), "norms": norms}
    most = 4 * sum(wanted.values()) + SPARE
    if len(data) > most:
        raise ValueError(f"a message of {len(data)} bytes is more than the {most} that belong here; {REMEDY}")
    try:
        named = safetensors.torch.load(data)
        head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = parse_object(head["__metadata__"]["about"], "a message", REMEDY)
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"a message is damaged ({type(error).__name__}); {REMEDY}") from error
    found = {name: (value.dtype, tuple(value.shape)) for name, value in named.items()}
    if found != {name: (torch.float32, (size,)) for name, size in wanted.items()}:
        raise ValueError(f"a message holds {found!r:.200} and not {wanted}; {REMEDY}")
    if facts.pop("layout", None) != layout(like, keys):
        raise ValueError(f"a message holds other tensors than are trained here; {REMEDY}")
    if not all(bool(torch.isfinite(value).all()) for value in named.values()):
        raise ValueError("a message holds NaN or an infinity; nothing of it was used")
    parts = named["values"].split(sizes)
    tensors = {key: part.reshape(like.tensors[key].shape) for key, part in zip(keys, parts, strict=True)}
    return tensors, named["norms"].tolist(), facts


def is_sound(said: Any) -> bool:
    """Whether what somebody says of a site has the form in which a site says it."""
    if not isinstance(said, dict) or not isinstance(said.get("site"), str) or not isinstance(said.get("terms"), str):
        return False
    size, rows = said.get("size"), said.get("others")
    numbers: list[Any] = [said.get(name) for name in ("rate", "sigma", "epsilon")]
    if type(size) is not int or not all(type(one) in (int, float) and 0 <= one < 1e300 for one in numbers):
        return False
    return 0 < size < 10**8 and 0 < numbers[0] <= 1 and numbers[1] > 0 and isinstance(rows, list | tuple)
