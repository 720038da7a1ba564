"""Fingerprint: what functions and other Python objects would do, as a short text that is equal in every process.

A function is its bytecode, constants, names, defaults, closure, attributes, and every function, class and value that
it refers to, followed as far as they go; an object is its class and its state. Functions and classes of installed
packages and of Python count by name and version. No memory address and no order of a set goes in. What cannot be
looked into (a lock, an open file, a compiled extension's own state) is named, for then sameness cannot be told.
"""

from __future__ import annotations

import dis
import functools
import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lalora_kit.base.origins import installed, named, reachable, source_of

ATOMS = (bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented))
#: What a class's dictionary holds beside its behaviour: text, bookkeeping, and what its other entries were made from.
ASIDE = {
    "__module__", "__dict__", "__weakref__", "__doc__", "__annotations__", "__firstlineno__", "__static_attributes__",
    "__abstractmethods__", "_abc_impl", "__dataclass_fields__", "__dataclass_params__", "__parameters__",
    "__orig_bases__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__slotnames__",
}  # fmt: skip


class Walk:
    """One walk over objects and all that they refer to; `unseen` lists what it could not look into.

    Args:
        known: ids of tensors that are fingerprinted elsewhere; of them the shape counts alone.
    """

    def __init__(self, known: Collection[int] = ()) -> None:
        self.known = known
        self.unseen: set[str] = set()
        self._done: dict[int, tuple[object, bytes]] = {}  # the object too, or its id could pass to another
        self._open: set[int] = set()

    def of(self, value: object) -> bytes:
        """Digest of one object."""
        if type(value) in ATOMS:
            return hashed(type(value).__name__, repr(value))
        if id(value) in self._done:
            return self._done[id(value)][1]
        if id(value) in self._open:  # it refers to itself
            return hashed("within", type(value).__qualname__)
        self._open.add(id(value))
        try:
            found = hashed(type(value).__qualname__, *(self._part(part) for part in parts(value, self)))
        except Exception:  # objects refuse in classes of their own; one that cannot be read is named, not passed over
            self.unseen.add(named(type(value)))
            found = hashed("unseen", named(type(value)))
        finally:
            self._open.discard(id(value))
        self._done[id(value)] = (value, found)
        return found

    def _part(self, part: object) -> bytes:
        return part if isinstance(part, Digest) else self.of(part)


class Digest(bytes):
    """What is a digest already, not an object to look into."""


def fingerprint(value: object, known: Collection[int] = ()) -> tuple[str, frozenset[str]]:
    """A short text that changes when what `value` does may change, and the kinds of objects that hid from it.

    >>> def scaled(by): return lambda x: by * x
    >>> fingerprint(scaled(2)) == fingerprint(scaled(2)), fingerprint(scaled(2)) == fingerprint(scaled(3))
    (True, False)
    """
    walk = Walk(known)
    return walk.of(value).hex()[:16], frozenset(walk.unseen)


def code_of(function: object) -> str:
    """Name and code of a function, or of what a callable calls: its instructions, constants and names alone."""
    while isinstance(function, functools.partial | MethodType):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    if not hasattr(function, "__qualname__"):
        function = type(function).__call__ if callable(function) else type(function)
    code = getattr(function, "__code__", None)
    return named(function) if code is None else f"{named(function)} {fingerprint(code)[0]}"


def hashed(*pieces: str | bytes) -> Digest:
    """One digest over texts and digests, each with its length."""
    total = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        data = piece.encode(errors="surrogatepass") if isinstance(piece, str) else piece
        total.update(len(data).to_bytes(8, "big") + data)
    return Digest(total.digest())


@functools.singledispatch
def parts(value: Any, walk: Walk) -> list[object]:
    """What decides how a value behaves: by default what a copy of it would be made from."""
    if hasattr(value, "__wrapped__"):  # a cache around a function, say
        return [type(value), value.__wrapped__]
    reduced = value.__reduce_ex__(4)
    if isinstance(reduced, str):  # it goes by its name alone
        package = installed(getattr(value, "__module__", None) or type(value).__module__)
        if package is None:
            raise TypeError(f"{named(value)} cannot be looked into")
        return [named(value), reduced, package]
    return [list(part) if isinstance(part, Iterator) else part for part in reduced]


@parts.register
def _(value: FunctionType, walk: Walk) -> list[object]:
    package = installed(value.__module__)
    if package is not None and reachable(value):
        return [named(value), package]
    cells = [contents(cell) for cell in value.__closure__ or ()]
    code, around = value.__code__, value.__globals__
    return [code, value.__defaults__, value.__kwdefaults__, cells, vars(value), referred(code, around)]


def contents(cell: Any) -> object:
    """What a closure's cell holds; a name that was never set holds nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return "empty cell"


def referred(code: CodeType, around: Mapping[str, Any]) -> list[object]:
    """The values of the global names that code uses; of a module of one's own, the attributes that it may use."""
    found: list[object] = []
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in around:
            value = around[step.argval]
            own = isinstance(value, ModuleType) and installed(value.__name__) is None
            found += [step.argval, {n: vars(value)[n] for n in code.co_names if n in vars(value)} if own else value]
        elif step.opname == "IMPORT_NAME" and installed(step.argval) is None:
            found += [step.argval, source_of(step.argval, around)]
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    return [*found, *(referred(part, around) for part in inner)]


@parts.register
def _(value: CodeType, walk: Walk) -> list[object]:
    arguments = value.co_varnames[: value.co_argcount + value.co_kwonlyargcount + 2]
    counts = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags)
    names = (value.co_names, value.co_freevars, value.co_cellvars, arguments)
    return [value.co_code, list(value.co_consts), counts, names, getattr(value, "co_exceptiontable", b"")]


@parts.register
def _(value: MethodType, walk: Walk) -> list[object]:
    return [value.__func__, value.__self__]


@parts.register
def _(value: functools.partial, walk: Walk) -> list[object]:  # type: ignore[type-arg]
    return [value.func, value.args, value.keywords, vars(value)]


@parts.register(staticmethod)
@parts.register(classmethod)
def _(value: Any, walk: Walk) -> list[object]:
    return [value.__func__]


@parts.register
def _(value: property, walk: Walk) -> list[object]:
    return [value.fget, value.fset, value.fdel]


@parts.register
def _(value: type, walk: Walk) -> list[object]:
    package = installed(value.__module__)
    if package is not None and reachable(value):
        return [named(value), package]
    own = {name: part for name, part in vars(value).items() if name not in ASIDE and not slot(part)}
    return [value.__qualname__, value.__bases__, own, type(value)]


def slot(part: object) -> bool:
    """Whether an entry of a class is only the place of an attribute."""
    return type(part).__name__ in ("member_descriptor", "getset_descriptor")


@parts.register
def _(value: ModuleType, walk: Walk) -> list[object]:
    place = getattr(value, "__file__", None)
    package = installed(value.__name__)
    return [value.__name__, package or (Path(place).read_bytes() if place and Path(place).is_file() else None)]


@parts.register
def _(value: BuiltinFunctionType, walk: Walk) -> list[object]:
    of = value.__self__
    return [named(value), of.__name__ if isinstance(of, ModuleType) else of]


@parts.register
def _(value: Tensor, walk: Walk) -> list[object]:
    if id(value) in walk.known:
        return [tuple(value.shape), str(value.dtype)]
    return [tuple(value.shape), str(value.dtype), value.device.type, as_bytes(value).tobytes()]


def as_bytes(value: Tensor) -> np.ndarray:
    """A tensor's memory as flat bytes, of any type."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


@parts.register
def _(value: np.ndarray, walk: Walk) -> list[object]:
    content = value.tolist() if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
    return [value.shape, value.dtype.str, content]


@parts.register
def _(value: nn.Module, walk: Walk) -> list[object]:
    # Hooks are kept under a count of all hooks that the process has made, which says nothing.
    state = {
        name: list(p.values()) if "hooks" in name and isinstance(p, dict) else p for name, p in vars(value).items()
    }
    return [type(value), state]


@parts.register(dict)
@parts.register(MappingProxyType)
def _(value: Any, walk: Walk) -> list[object]:
    return [named(type(value)), *(part for pair in value.items() for part in pair)]


@parts.register(list)
@parts.register(tuple)
def _(value: Any, walk: Walk) -> list[object]:
    return [named(type(value)), *value]


@parts.register(set)
@parts.register(frozenset)
def _(value: Any, walk: Walk) -> list[object]:
    return [Digest(part) for part in sorted(map(walk.of, value))]
