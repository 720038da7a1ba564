"""Records, loops and runs that cost nothing, for tests of what is shown and of which runs are made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lalora_kit.records import SEED_KNOWN, Round
from lalora_kit.trial import study as trials
from lalora_kit.trial.study import Cell


def fake_round(t: int, accuracy: float = 0.5, epsilon: float = 1.0) -> Round:
    """A record with nothing trained behind it."""
    return Round(
        round=t,
        accuracy=accuracy,
        loss=1.0,
        epsilon=epsilon,
        epsilons=(epsilon,),
        noise_multiplier=2.0,
        noise_multipliers=(2.0,),
        participants=(0,),
        update_norms={},
        aggregation_gap=0.0,
        upload=1,
        seconds=0.25,
        adapter=None,  # type: ignore[arg-type]
        state=None,  # type: ignore[arg-type]
        caution=SEED_KNOWN,
    )


class GatedRounds:
    """Stands in for `federated_rounds`: each round waits for `gate`; notes what was started and closed."""

    def __init__(self) -> None:
        self.gate, self.started, self.closed = threading.Semaphore(0), [], []
        self.failure: Exception | None = None

    def __call__(self, task: Any, method: Any, settings: Any, **_: Any) -> Iterator[Round]:
        self.started.append(settings)
        return self._rounds(settings)

    def _rounds(self, settings: Any) -> Iterator[Round]:
        try:
            for t in range(1, settings.rounds + 1):
                assert self.gate.acquire(timeout=20), "the test never opened the gate"
                if self.failure is not None:
                    raise self.failure
                yield fake_round(t, accuracy=settings.seed / 10 + t / 100)
        finally:
            self.closed.append(settings)


def until(condition: Callable[[], object]) -> None:
    """Wait until it holds; fail after twenty seconds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.01)


def free_runs(monkeypatch: pytest.MonkeyPatch, result: Callable[[Cell], dict[str, Any]]) -> list[Cell]:
    """Let `trials.ensure` work in this process with made-up results; the list fills with the cells that it runs."""
    ran = []

    class Pool:
        def __init__(self, workers, mp_context): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def submit(self, work, cell):
            ran.append(cell)
            probes = dict.fromkeys(trials.PROBES, 1.0) if work.keywords["probe"] else {}
            line = {**cell.to_json(), **result(cell), **probes}
            return type("Job", (), {"result": lambda self: line})()

    monkeypatch.setattr(trials, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(trials, "as_completed", list)
    return ran
