"""Travels: which methods run over sites, why the others do not, and what a site does in place of one client of many.

The server does what is the server's (`begins`, `opens`, `aggregate`); a site does the rest with what it has: what it
was sent, its own samples, and its place among the names in the terms, which is its number in a simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lalora_kit.base.checks import near
from lalora_kit.engine.adapters import Adapter
from lalora_kit.methods import EVERY, Method
from lalora_kit.methods.hooks import HOOKS, Between

#: hook -> why a method that has one of its own stays in one process
STAY = {
    "exchanges": "clients answer several times a round, and a site answers a round once, so that no noise comes twice",
    "perturbs": "all clients share one random draw there, and sites share none",
    "sends": "it sends other numbers than the factors that it trains, and these are what travels",
    "stays": "what stays at a client makes a model a client, and the server could test none of them",
}


def stays(method: Method) -> str:
    """Why a method does not run over sites; empty if it does."""
    if EVERY.get(method.name) != method or method.source:
        return "it is none of the kit's own by name, and no code travels"
    return "; ".join(why for hook, why in STAY.items() if hook in method.hooked())


def travelling() -> dict[str, Method]:
    """Methods that run over sites, by name."""
    return {name: method for name, method in EVERY.items() if not stays(method)}


def to_travel(name: object) -> Method:
    """The method that terms name; `ValueError` if there is none of that name, or it stays in one process."""
    if not isinstance(name, str) or name not in EVERY:
        raise ValueError(
            f"the terms' method {name!r:.60} is none of this kit's; {near(str(name)[:60], travelling())}"
            f"a federation uses one of {', '.join(sorted(travelling()))}"
        )
    check_travels(EVERY[name])
    return EVERY[name]


def check_travels(method: Method) -> None:
    """Refuse a method that does not run over sites, before anything is written or asked."""
    if why := stays(method):
        raise ValueError(
            f"method {method.name!r} does not run over sites: {why}; train it in one process with `lalora train`, or "
            f"use one of {', '.join(sorted(travelling()))}"
        )


@dataclass(frozen=True)
class At:
    """A method's `between`, told the place that a site has among all, and not that it is the only client here."""

    between: Between
    place: int

    def __call__(self, local: Adapter, clients: Sequence[int], round: int, step: int) -> None:
        """As the simulator calls it for that client."""
        self.between(local, [self.place for _ in clients], round, step)


def at_place(method: Method, place: int) -> Method:
    """The method as the client at `place` follows it."""
    own: Callable[..., None] = method.between
    return method if own is HOOKS["between"] else replace(method, between=At(own, place))
