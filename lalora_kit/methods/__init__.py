"""Methods: each is a value that the loop consults. `METHODS` holds the paper's, `GALLERY` the field's; `EVERY` both.

Read `method` first: the loop asks it which factors train at a local step. To add one: write a file in `gallery` with
its `Method` value and its row of words, and add it there. One of your own needs no place here: it is named
`file.py:NAME` (`methods.own`). Imports base, settings, tasks, engine, records; nothing of the loop.
"""

from __future__ import annotations

from lalora_kit.base.checks import near
from lalora_kit.methods.baselines import DP_LORA, DP_LORA_FILTER, FFA_LORA, HEAD_ONLY, ROLORA
from lalora_kit.methods.gallery import GALLERY
from lalora_kit.methods.la_lora import LA_LORA, LA_LORA_NOFILTER
from lalora_kit.methods.method import Method
from lalora_kit.methods.own import MARK, NAMED, load_own
from lalora_kit.methods.wrappers import PLUS, wrapped

METHODS: dict[str, Method] = {
    method.name: method for method in (LA_LORA, DP_LORA, FFA_LORA, ROLORA, HEAD_ONLY, LA_LORA_NOFILTER, DP_LORA_FILTER)
}
EVERY: dict[str, Method] = {**METHODS, **GALLERY}


def find_method(name: str) -> Method:
    """The method of that name, NAME+option for a wrapped one, or one's own by `file.py:NAME`.

    A file is executed, so it must be one that you trust. An unknown name is a `ValueError` that says the nearest.
    """
    first, *options = name.split(PLUS)
    if first in EVERY:
        return wrapped(EVERY[first], options)
    if MARK in name:
        return load_own(name)
    if name.endswith(".py"):
        raise ValueError(f"method {name!r} is a file, and says not which Method of it; {NAMED}")
    raise ValueError(f"method {name!r} is unknown; {near(name, EVERY)}choose one of {', '.join(EVERY)}")


__all__ = ["EVERY", "GALLERY", "METHODS", "Method", "find_method"]
