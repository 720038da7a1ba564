"""What the audit finds: its lower bound beside the ledger's ε, and each planted fault with its figures.

python -m tests.benchmarks.audit methods
python -m tests.benchmarks.audit faults
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from lalora_kit.auditing.attack import AuditResult, audit
from lalora_kit.methods import METHODS
from tests.faults import FAULTS, NOISE, SAMPLE

COMPARED = ("la-lora", "dp-lora", "ffa-lora", "rolora")
EPSILONS = (1.0, 3.0, 8.0)


def found(result: AuditResult) -> str:
    """The bound and its rates, in one cell."""
    least = "≥" if result.saturated else " "
    return f"{least}{result.epsilon_lower:5.2f}   {result.tpr:.3f}/{result.fpr:.4f}"


def of_methods(trials: int, seed: int) -> None:
    print(f"{'method':<12}{'ledger ε':>9}{'ε_lower':>9}{'TPR/FPR':>15}{'seconds':>9}   (99 %, {trials} trials)")
    for name in COMPARED:
        for epsilon in EPSILONS:
            result = audit(METHODS[name], epsilon=epsilon, trials=trials, seed=seed)
            print(f"{name:<12}{result.epsilon:>9.3f}  {found(result)}{result.seconds:>8.1f}", flush=True)


def outcome(check: Callable[..., object]) -> str:
    """What a check says: "passes", or the beginning of its complaint."""
    try:
        check()
    except AssertionError as error:
        return str(error).splitlines()[0][:70]
    return "passes"


def of_faults(trials: int, seed: int) -> None:
    print(f"claim ε=3, 99.9 %, {trials} trials\n{'fault':<48}{'ε_lower':>8}{'TPR/FPR':>15}   properties")
    plants = {"none: the kit as it is": None, **{fault.name: fault.plant for fault in FAULTS}}
    for name, plant in plants.items():
        with pytest.MonkeyPatch.context() as patch:
            if plant is not None:
                plant(patch)
            result = audit(METHODS["la-lora"], trials=trials, seed=seed, confidence=0.999)
            print(f"{name:<48}{found(result)}   sample: {outcome(SAMPLE)}; noise: {outcome(NOISE)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("methods", "faults"))
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    {"methods": of_methods, "faults": of_faults}[given.what](given.trials, given.seed)


if __name__ == "__main__":
    main()
