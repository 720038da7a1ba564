"""Standing: the one sentence that says whether an adapter is ahead of what has none; every place that compares uses it.

Who is ahead is decided where the runs are: a table of seeds by its intervals, a single run by its test samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from lalora_kit.methods import Method

AHEAD, LEVEL, BEHIND = 1, 0, -1
Against = Mapping[str, tuple[float, int]]  # method -> its accuracy, and where it stands to the baseline
NOTHING = "no baseline is level with an adapter, or ahead of one"


def sentence(baseline: str, accuracy: float, against: Against, basis: str, where: str = "") -> str:
    """Whether adapters pay beside a baseline of `accuracy`, from where each stands: AHEAD of it, LEVEL or BEHIND.

    basis: what the judgement rests on. where: follows the baseline's name, such as `at ε=3`.

    >>> print(sentence("linear", 0.9, {"a": (0.5, BEHIND), "b": (0.89, LEVEL)}, "5 seeds"))
    linear (90.0%) is ahead of a (50.0%), and level with b (89.0%): no adapter is shown to pay over it; 5 seeds
    >>> print(sentence("linear", 0.4, {"la-lora": (0.5, AHEAD)}, "5 seeds", "at ε=3"))
    linear at ε=3 (40.0%) is behind la-lora (50.0%): the adapter pays over it; 5 seeds
    """
    who = f"{baseline}{where and ' '}{where} ({accuracy:.1%})"
    named = {place: [f"{m} ({of:.1%})" for m, (of, at) in against.items() if at == place] for place in WORDS}
    said = ", and ".join(f"{WORDS[place]} {listed(names)}" for place, names in named.items() if names)
    return f"{who} is {said}: {payoff(against)} over it; {basis}"


def payoff(against: Against) -> str:
    """Which adapters pay: one that is ahead of what has none does, one that is level is not shown to, others do not."""
    losing = [method for method, (_, place) in against.items() if place != AHEAD]
    shown = "" if all(against[method][1] == BEHIND for method in losing) else "shown to "  # level is no proof
    if 0 < len(losing) < len(against):
        does, are = ("does", "is") if len(losing) == 1 else ("do", "are")
        return f"{listed(losing)} {are if shown else does} not {shown}pay"
    if len(against) == 1 and losing:
        return f"the adapter {'is' if shown else 'does'} not {shown}pay"
    if losing:
        return f"no adapter {'is shown to pay' if shown else 'pays'}"
    return f"{'the' if len(against) == 1 else 'every'} adapter pays"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


WORDS = {BEHIND: "ahead of", LEVEL: "level with", AHEAD: "behind"}  # of the baseline, by where the adapter stands


def by_samples(accuracy: float, baseline: float, samples: int) -> int:
    """Where a single run stands: LEVEL within two standard errors of the difference on so many test samples."""
    error = 2 * math.sqrt((accuracy * (1 - accuracy) + baseline * (1 - baseline)) / max(samples, 1))
    lead = accuracy - baseline
    return AHEAD if lead >= error and lead > 0 else BEHIND if lead < -error else LEVEL


def of_one_run(
    method: Method, accuracy: float, samples: int, baselines: Iterable[tuple[str, float]], basis: str
) -> list[str]:
    """A sentence for each baseline, by name and accuracy, that is ahead of one run, or level with it.

    A run that trains no adapter itself is not said to have one, and not held against its own kind.
    """
    if not method.trained_in(1, method.least_local_steps):
        found = [(name, q, by_samples(accuracy, q, samples)) for name, q in baselines if name != method.name]
        return [
            f"{name} ({q:.1%}) is {WORDS[place]} {method.name} ({accuracy:.1%}); {basis}"
            for name, q, place in found
            if place != AHEAD
        ]
    stands = [(name, q, by_samples(accuracy, q, samples)) for name, q in baselines]
    return [sentence(name, q, {method.name: (accuracy, at)}, basis) for name, q, at in stands if at != AHEAD]
