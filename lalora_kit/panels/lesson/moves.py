"""What a reader just moved, in words: the first half of the sentence that each panel of a lesson says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NAMES = {
    "epsilon": "ε", "rank": "The rank", "clients": "The number of clients", "learning_rate": "The adapter's rate",
    "dirichlet_beta": "β", "switch": "The switch", "split": "The split of the labels",
}  # fmt: skip


def went(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which control went from where to where; nothing if none did.

    >>> went({"epsilon": 3.0, "rank": 4}, {"epsilon": 1.0, "rank": 4})
    'ε went from 3 to 1'
    """
    moved = [name for name in now if name in before and before[name] != now[name]]
    said = [f"{NAMES.get(name, name)} went from {shown(before[name])} to {shown(now[name])}" for name in moved]
    return ", ".join(said)


def shown(value: Any) -> str:
    """A control's value as people say it."""
    if isinstance(value, float):
        return "∞" if math.isinf(value) else f"{value:g}"
    return str(value)


def times(before: float, now: float) -> str:
    """How a size changed.

    >>> times(1.0, 2.0), times(2.0, 1.0), times(1.0, 1.0)
    ('2 times as large', 'a factor of 2 smaller', 'as large as it was')
    """
    if before <= 0 or now <= 0:
        return "no longer there" if now <= 0 else "there now"
    ratio = now / before
    if abs(ratio - 1) < 0.005:
        return "as large as it was"
    return f"{ratio:.2g} times as large" if ratio > 1 else f"a factor of {1 / ratio:.2g} smaller"
