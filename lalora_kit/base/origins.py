"""Origins: whether a function or class is an installed package's, which name and version say all of, or one's own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KIT = __name__.split(".")[0]


def named(value: Any) -> str:
    """Module and qualified name."""
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def installed(module: str | None) -> str | None:
    """Name and version of the installed package, or Python, that a module belongs to; None where it is one's own."""
    top = (module or "").split(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return f"python {sys.version_info[:3]}"
    package = sys.modules.get(top)
    places = [getattr(package, "__file__", None) or "", *map(str, getattr(package, "__path__", ()))]
    if top == KIT or not any(
        part in Path(place).parts for place in places for part in ("site-packages", "dist-packages")
    ):
        return None
    return f"{top} {getattr(package, '__version__', '')}"


def reachable(value: Any) -> bool:
    """Whether a function or class is what its module has under its name, so that name and version say all of it."""
    try:
        found: Any = sys.modules[value.__module__]
        for name in value.__qualname__.split("."):
            found = getattr(found, name)
    except (KeyError, AttributeError):
        return False
    return getattr(found, "__func__", found) is value


def source_of(module: str, around: Mapping[str, Any]) -> bytes | None:
    """The file behind an import inside a function, which may not have been made yet."""
    for name in (module, f"{around.get('__package__')}.{module}"):
        spec = importlib.util.find_spec(name) if name else None
        if spec is not None and spec.origin is not None and Path(spec.origin).is_file():
            return Path(spec.origin).read_bytes()
    return None
