"""The kit's real private step from a real plan, PEFT's beside it, and what either holds at its peak.

Backbones have random weights of the real configuration, and the samples are made up: what a step costs depends on
neither. Every client draws all its samples (q = 1), so that PEFT's ordinary step sees the very same ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from lalora_kit.base.machine import bf16_in_hardware
from lalora_kit.engine.adapters import stack
from lalora_kit.engine.persample import Engine
from lalora_kit.local import drawn, private_step
from lalora_kit.methods import METHODS
from lalora_kit.methods.optimisers import Optimisers
from lalora_kit.plan import Plan, make_plan
from lalora_kit.privacy import Ledger
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task
from lalora_kit.tasks.feed import Feed
from tests.benchmarks.cards import peak_on_card
from tests.benchmarks.scale import task_of
from tests.benchmarks.speed import Step, forget_peak, kilobytes, peft_step

#: Which factors train -> the method of the kit that trains them so.
METHOD = {"B": "la-lora", "AB": "dp-lora"}
WAYS = ("PEFT's", "private", "private, all at once")
Row = dict[str, Any]


class NotHere(Exception):
    """What this device cannot do."""


@dataclass(frozen=True, eq=False)
class Case:
    """A plan on a task of made-up samples."""

    task: Task
    settings: Settings
    plan: Plan

    def private(self, factors: str, engine: Engine, only: int | None = None) -> Step:
        """The kit's private step of all clients, or of one of them, with the method's update."""
        plan = self.plan if only is None else replace(self.plan, schedule=((only,),))
        start = plan.start.map(lambda value: (value + 0.01).to(engine.device))  # B away from zero
        local, method = stack(start, len(plan.schedule[0])), METHODS[METHOD[factors]]
        optimisers, feed = Optimisers(local, self.settings, 1), Feed(self.task.train, engine.device)
        active = local.keys(factors)

        def step() -> None:
            [coming] = feed.coming([drawn(plan, feed, 1, 1)])  # of all steps of a round at once, in a run
            optimisers.apply(private_step(plan, engine, coming, local, active, 1, 1).gradients, method)

        return step

    def engine(self, precision: str, chunk: int | None, device: str | None = None) -> Engine:
        """The engine as a run has it, on the case's device or another."""
        device, scale = device or self.settings.device, self.settings.scale
        return Engine(self.task, scale, device=device, precision=precision, max_samples=chunk)

    def way(self, way: str, precision: str, factors: str) -> Step:
        """One of `WAYS` to take a step on all samples."""
        if way == WAYS[0]:
            asked = self.settings
            return peft_step(self.task, asked.rank, factors, self.task.train, asked.device, precision)
        return self.private(factors, self.engine(precision, self.plan.max_samples if way == WAYS[1] else None))


@lru_cache(maxsize=2)
def case_of(model: str, rank: int, clients: int, samples: int, device: str) -> Case:
    """The plan that a run would have: the task tried on the device, σ calibrated, the chunk chosen."""
    task = task_of(model, samples)
    settings = Settings(
        rank=rank, clients=clients, sample_rate=1.0, rounds=1, local_steps=2, epsilon=8, seed=0, device=device,
        learning_rate=1e-3, head_learning_rate=1e-3,
    )  # fmt: skip
    return Case(task, settings, make_plan(task, METHODS["dp-lora"], settings, Ledger()))


def case_for(asked: Row) -> Case:
    """The case that a row asks for."""
    return case_of(*(asked[name] for name in ("model", "rank", "clients", "samples", "device")))


def peak(asked: Row, seconds: float) -> Row:
    """MiB at the peak of one step, its weights included; on the CPU in a process of its own."""
    if asked["precision"] == "bf16" and not bf16_in_hardware(asked["device"]):
        raise NotHere("this device does not multiply bf16 itself")
    case = case_for(asked)
    if asked["way"] == WAYS[2] and (case.plan.max_samples or asked["samples"]) >= asked["samples"]:
        raise NotHere("the kit takes all at once here, as above")
    if asked["device"] == "cuda":
        return {"MiB": peak_on_card(partial(case.way, *said(asked))), "chunk": case.plan.max_samples}
    if not Path("/proc/self/clear_refs").exists():
        raise NotHere("a process's own peak can be told on Linux alone")
    command = [sys.executable, "-m", "tests.benchmarks.cases", json.dumps(asked)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds).stdout)


def said(asked: Row) -> tuple[str, str, str]:
    """The way, the precision and the factors of a row on memory."""
    return asked["way"], asked["precision"], asked["trains"]


def resident_peak(asked: Row) -> Row:
    """In a fresh process: the growth of what is resident, from before a step is made until it has been taken."""
    case = case_for(asked)
    before = forget_peak()
    case.way(*said(asked))()
    return {"MiB": (kilobytes("VmHWM") - before) / 1024, "chunk": case.plan.max_samples}


if __name__ == "__main__":
    print(json.dumps(resident_peak(json.loads(sys.argv[1]))))
