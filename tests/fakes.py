"""Records and loops that cost nothing, for tests of what is shown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from lalora_kit.records import SEED_KNOWN, Round


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
