"""The lessons' diagnostics of a finished run, as numbers that a study keeps beside its accuracy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lalora_kit.records import Round
    from lalora_kit.tasks import Task

PROBES = ("coupling", "lambda_factors", "lambda_weights", "moved")
EVALUATED = 128  # test samples behind each probe


def probes(task: Task, records: Sequence[Round]) -> dict[str, float | None]:
    """The lessons' diagnostics of a finished run, on the first test samples (public); null where undefined.

    coupling: c_W of clean gradients, mean over the models after each round. lambda_factors, lambda_weights: λ_max of
    the last model in both spaces. moved: ‖s·B·A‖ of the last model over all layers, how far it has come.
    """
    import numpy as np
    import torch

    from lalora_kit.engine.persample import Engine
    from lalora_kit.lessons.coupling import coupling
    from lalora_kit.lessons.gradients import mean_gradient
    from lalora_kit.lessons.sharpness import FACTORS, WEIGHTS, sharpness

    last = records[-1].adapter
    engine = Engine(task, last.scale, max_samples=64)
    seen = task.test.select(torch.arange(min(EVALUATED, len(task.test))))
    cosines = [coupling(r.adapter, mean_gradient(engine, r.adapter, seen)).pooled.weight for r in records]
    defined = [value for value in cosines if math.isfinite(value)]
    largest = {
        name: sharpness(engine, last, seen, space=space, generator=np.random.default_rng(0), smallest=False).largest
        for name, space in (("lambda_factors", FACTORS), ("lambda_weights", WEIGHTS))
    }
    moved = math.sqrt(sum(float(product.square().sum()) for product in last.products().values()))
    values = {"coupling": statistics.fmean(defined) if defined else math.nan, **largest, "moved": moved}
    return {name: round(value, 5) if math.isfinite(value) else None for name, value in values.items()}
