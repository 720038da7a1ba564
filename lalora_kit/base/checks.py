"""Checks: what one value must be, and the sentence that refuses it: the value, the rule and the remedy."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable


def require(name: str, value: object, holds: bool, rule: str, remedy: str) -> None:
    """Raise the house's `ValueError`: the value, the rule and the remedy."""
    if not holds:
        raise ValueError(f"{name}={shown(value)} is not possible: {rule}; {remedy}")


def shown(value: object) -> str:
    """`repr`, in one line's length: Python itself refuses to write out an integer of more than 4,300 digits."""
    if isinstance(value, int) and value.bit_length() > 300:
        return f"<integer of {value.bit_length()} bits>"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def near(name: str, known: Iterable[str]) -> str:
    """`did you mean 'digits' or 'mnist'? `, to stand in a refusal; nothing where no known name is near.

    >>> near("digts", ["digits", "stdlib-docs"])
    "did you mean 'digits'? "
    """
    found = difflib.get_close_matches(name, list(known), n=3, cutoff=0.3)
    return f"did you mean {' or '.join(map(repr, found))}? " if found else ""


def number(name: str, value: object) -> float:
    """`value` as a float, or `ValueError` if it is no real number or too long for one."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool) and value == value  # NaN differs from itself
    require(name, value, real, "it must be a number", f"give {name} a number")
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        require(name, value, False, "it is beyond any floating-point number", "inf is a number too")
        raise


def positive(name: str, value: object, remedy: str, low: float = 0.0, high: float = math.inf) -> None:
    """Raise unless `value` is a finite number above zero, and within `[low, high]`."""
    real = number(name, value)
    require(name, value, 0 < real < math.inf, "it must be a finite number above 0", remedy)
    require(name, value, low <= real <= high, f"it must lie between {low:g} and {high:g}", remedy)


def fraction(name: str, value: object, rule: str, remedy: str) -> None:
    """Raise unless `value` is a number in (0, 1]."""
    require(name, value, 0 < number(name, value) <= 1, rule, remedy)


def one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Raise unless `value` is one of the `known` words."""
    words = tuple(known)
    holds = isinstance(value, str) and value in words
    require(name, value, holds, f"known are {', '.join(words)}", "choose one")


def counting(name: str, value: object, least: int = 1, most: int = 10**9) -> None:
    """Raise unless `value` is an integer of at least `least`, and at most `most`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    holds = whole and int(value) >= least  # type: ignore[call-overload]
    require(name, value, holds, f"it must be a whole number of at least {least}", f"use {name}={least} or more")
    require(name, value, int(value) <= most, f"it must be at most {most}", f"use {name}={most} or less")  # type: ignore[call-overload]
