"""Traffic: numbers that a client sends and receives a round, mean over a run's rounds, the head's among them."""

from __future__ import annotations

import statistics

import numpy as np

from lalora_kit.engine.adapters import create
from lalora_kit.methods import Method
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task


def traffic(method: Method, task: Task, settings: Settings) -> tuple[float, float]:
    """Numbers up and down, a client and a round; counted from shapes, so that nothing is trained."""
    generator = np.random.default_rng(0)
    drawn = create(task.backbone, task.targets, task.head, settings.rank, settings.scale, generator)
    if method.traffic is not None:
        return method.traffic(drawn, settings.participants)
    start = method.opens(method.begins(drawn, task.backbone, generator), 1, generator)
    rounds = [
        sum(method.sends(start, method.factors(t, steps)) for steps in method.segments(settings.local_steps))
        for t in range(1, settings.rounds + 1)
    ]
    return (mean := statistics.fmean(rounds)), mean
