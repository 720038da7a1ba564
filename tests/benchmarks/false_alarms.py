"""How often the statistical tests fail a right implementation: each test itself, run again under other streams.

    python -m tests.benchmarks.false_alarms --repeats 200 --audits 40

A test that states p_f should fail about p_f times a run: never, in 200. One row runs the bound on randomised response,
whose ε is exact and lies just above what can be shown, where one in ten is allowed to be wrong.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import pytest

from lalora_kit.auditing.attack import audit
from lalora_kit.methods import METHODS
from lalora_kit.privacy import Streams
from tests import test_mechanism
from tests.auditing.test_bounds import false_bounds
from tests.faults import noise_is_as_released

TESTS: dict[str, tuple[Callable[[], object], str]] = {
    "noise std = σC/b": (test_mechanism.test_noise_of_a_step_without_gradients_has_std_sigma_C_over_b, "1e-11"),
    "noise std, 0 drawn": (lambda: test_mechanism.test_noise_is_the_same_whatever_the_batch_holds(30, 1e-12), "1e-11"),
    "noise std, 1 drawn": (lambda: test_mechanism.test_noise_is_the_same_whatever_the_batch_holds(1, 1.0), "1e-11"),
    "noise std, 30 drawn": (lambda: test_mechanism.test_noise_is_the_same_whatever_the_batch_holds(30, 1.0), "1e-11"),
    "noise is Gaussian (KS)": (test_mechanism.test_noise_is_gaussian, "1e-6"),
    "noise is independent": (
        test_mechanism.test_noise_is_independent_across_clients_rounds_steps_and_tensors,
        "4e-7",
    ),
    "draws are Poisson, n=60, q=.3": (lambda: test_mechanism.test_draws_are_poisson(60, 0.3), "2e-9"),
    "draws are Poisson, n=200, q=.05": (lambda: test_mechanism.test_draws_are_poisson(200, 0.05), "2e-9"),
    "draws are Poisson, n=50, q=.9": (lambda: test_mechanism.test_draws_are_poisson(50, 0.9), "2e-9"),
    "noise as released (std, KS, ρ)": (noise_is_as_released, "2e-6"),
}


def alarms(test: Callable[[], object], repeats: int) -> int:
    """Failures of a test under other streams: each of its seeds stands for another one in every repetition."""
    failed = 0
    plain = Streams.from_seed.__func__  # type: ignore[attr-defined]
    for repeat in range(repeats):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Streams, "from_seed", classmethod(lambda cls, seed, r=repeat: plain(cls, (r, seed))))
            try:
                test()
            except AssertionError:
                failed += 1
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--audits", type=int, default=40)
    given = parser.parse_args()
    print(f"{'test':<34}{'stated p_f':>11}{'alarms':>8}{'of':>6}{'seconds':>9}")
    for name, (test, stated) in TESTS.items():
        start = time.perf_counter()
        count = alarms(test, given.repeats)
        seconds = time.perf_counter() - start
        print(f"{name:<34}{stated:>11}{count:>8}{given.repeats:>6}{seconds:>9.1f}", flush=True)
    start = time.perf_counter()
    for epsilon in (1.0, 3.0):
        above, mean = false_bounds(epsilon, 0.9, given.repeats, seed=1)
        print(
            f"{f'bound at 90 %, true ε={epsilon:g}':<34}{'≤ .1':>11}{above:>8}{given.repeats:>6}"
            f"{time.perf_counter() - start:>9.1f}   mean bound {mean:.2f}",
            flush=True,
        )
    start = time.perf_counter()
    found = [audit(METHODS["la-lora"], epsilon=3.0, confidence=0.999, seed=100 + r) for r in range(given.audits)]
    lower = sorted(result.epsilon_lower for result in found)
    print(
        f"{'audit, la-lora, ε=3, 99.9 %':<34}{'≤ 1e-3':>11}{sum(r.contradicts for r in found):>8}{given.audits:>6}"
        f"{time.perf_counter() - start:>9.1f}   ε_lower {lower[0]:.2f} to {lower[-1]:.2f}, "
        f"median {lower[len(lower) // 2]:.2f}"
    )


if __name__ == "__main__":
    main()
