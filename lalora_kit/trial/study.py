"""Trials: one training run for each point of a study, kept in a JSON-lines file that a second call adds to.

The grid of lesson 04, the claims and the comparisons are all made of such runs. Each is appended as soon as it ends.
A line that says what a call was made with (versions, machine, task, settings) comes before its runs.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from lalora_kit.base.files import append_line, digest, dumps, read_lines, write_atomically
from lalora_kit.base.threads import usable_cores
from lalora_kit.lessons.probes import PROBES, probes
from lalora_kit.methods import METHODS, Method, find_method
from lalora_kit.methods.controls import CONTROLS
from lalora_kit.methods.own import MARK, blamed, content_of
from lalora_kit.privacy.identity import computed
from lalora_kit.runs.usual import settings_for
from lalora_kit.settings import Settings

if TYPE_CHECKING:
    from lalora_kit.tasks import Task

DEFAULTS = Settings()
VARIED = ("learning_rate", "epsilon", "rank", "clients")
HEAD_RATE, SKEW = "head_learning_rate", "dirichlet_beta"
CONTENT = "method_sha256"


@dataclass(frozen=True)
class Cell:
    """What a run varies; everything else is as usual on its task. Infinite ε is written as null.

    `method` is a name of `METHODS` or of the controls, or `file.py:NAME` for a `Method` of one's own. The head's rate
    is written only where it is not the default, the partition's skew only where there is one.
    """

    method: str
    learning_rate: float
    epsilon: float
    rank: int
    clients: int
    seed: int
    head_learning_rate: float = DEFAULTS.head_learning_rate
    dirichlet_beta: float | None = None

    def settings(self, task: str) -> Settings:
        """The run's settings on a task, whose usual ones hold for all else."""
        return settings_for(task, **{name: getattr(self, name) for name in (*VARIED, "seed", HEAD_RATE, SKEW)})

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        values = {**asdict(self), "epsilon": self.epsilon if math.isfinite(self.epsilon) else None}
        if self.head_learning_rate == DEFAULTS.head_learning_rate:
            del values[HEAD_RATE]
        if self.dirichlet_beta is None:
            del values[SKEW]
        return values


def find(method: str) -> Method:
    """A method or a control by its name, or one's own by `file.py:NAME`; see `find_method`."""
    return CONTROLS.get(method) or find_method(method)


@lru_cache(maxsize=1)
def task_of(name: str) -> Task:
    """A task, loaded once a worker: no run changes it, and of a short run loading is a tenth."""
    from lalora_kit.tasks import load_task

    return load_task(name)


def train(run: Cell, task: str, probe: bool = False, last: bool = False) -> dict[str, Any]:
    """One run, as a line of the file; the worker keeps to one thread, so that there can be one for each core.

    A linear model's name is that of a task of its own, which head-only trains. With `last` the curve is its end alone.
    """
    import torch

    from lalora_kit.federated import federated_rounds
    from lalora_kit.tasks.heads.linear import linear_of

    torch.set_num_threads(1)
    started, linear = time.perf_counter(), linear_of(task, run.method)
    loaded, method = (task_of(task), find(run.method)) if linear is None else (linear, METHODS["head-only"])
    try:
        settings = replace(run.settings(task), threads=1)
        settings = replace(settings, evaluate_every=settings.rounds) if last else settings
        records = list(federated_rounds(loaded, method, settings))
    except Exception as error:  # of its traceback, no more than a text leaves this process
        sentence = blamed(error)
        if sentence is None:
            raise
        raise ValueError(sentence) from error
    return {
        **run.to_json(),
        **({CONTENT: method.source["sha256"]} if method.source else {}),
        "curve": [round(r.accuracy, 4) for r in records if math.isfinite(r.accuracy)],
        "noise_multiplier": round(records[-1].noise_multiplier, 4),
        **(probes(loaded, records) if probe else {}),
        "seconds": round(time.perf_counter() - started, 1),
    }


def made_with(command: str, task: str) -> dict[str, Any]:
    """Versions, machine, data, backbone, settings, a public guess: what runs depend on; each names its digest."""
    from lalora_kit.federated import federated_rounds
    from lalora_kit.tasks import load_task
    from lalora_kit.tasks.heads.public import guessed

    usual, quick = settings_for(task), Settings(rounds=1, clients=1, epsilon=math.inf, seed=0)
    loaded = load_task(task)
    [first] = federated_rounds(loaded, METHODS["head-only"], quick)
    made = {
        "command": command,
        "task": {
            name: value
            for name, value in first.state.identity.items()
            if name in ("task", "data", "backbone", "trains") or name.startswith("notes.")
        },
        "settings": {name: value for name, value in usual.to_json().items() if name not in (*VARIED, "seed")},
        "versions": {name: version(name) for name in ("lalora-kit", "torch", "timm", "numpy")},
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "untrained": None if loaded.guess is None else round(guessed(loaded), 4),
    }
    return {"made": digest(made), **made}


def lines(path: Path) -> dict[Cell, dict[str, Any]]:
    """Every run that is done, by its cell; the newest where there are two.

    A run of a method of one's own counts only if its file still says what it said then: another content is another
    method, and is run anew.
    """
    names = [field.name for field in fields(Cell)]
    unwritten = {HEAD_RATE: DEFAULTS.head_learning_rate, SKEW: None}
    kept = [{**unwritten, **line} for line in read_lines(path) if "curve" in line]
    present = {name: content_of(name) for name in {line["method"] for line in kept} if MARK in name}
    kept = [line for line in kept if line["method"] not in present or line.get(CONTENT) == present[line["method"]]]
    values: list[dict[str, Any]] = [{name: line[name] for name in names} for line in kept]
    for value in values:
        value["epsilon"] = math.inf if value["epsilon"] is None else value["epsilon"]
    return {Cell(**value): line for value, line in zip(values, kept, strict=True)}


def curves(path: Path) -> dict[Cell, list[float]]:
    """Accuracy after each round, of every run that is done."""
    return {cell: line["curve"] for cell, line in lines(path).items()}


def ensure(
    wanted: Iterable[Cell],
    made: dict[str, Any],
    path: Path,
    workers: int | None = None,
    *,
    probe: bool = False,
    last: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Run what is missing, keeping each result as it comes; `report(done, of)` follows it in place of a bar.

    `workers` are processes of one thread each, by default as many as cores are granted. `last`: test once, at the end.

    Raises:
        ValueError: if the file holds runs on another task or at other defaults.
    """
    before = read_lines(path)
    if path.exists():  # a last line that was cut short would spoil the next one
        write_atomically(path, "".join(dumps(kept).replace("\n", "") + "\n" for kept in before))
    for name in ("task", "settings"):
        if any(computed(kept[name]) != computed(made[name]) for kept in before if name in kept):
            raise ValueError(f"{path} was made with another {name}; its runs do not compare; delete it to start anew")
    done = {cell for cell, line in lines(path).items() if not probe or PROBES[0] in line}
    missing = [cell for cell in dict.fromkeys(wanted) if cell not in done]
    if missing and made["made"] not in {kept["made"] for kept in before}:
        append_line(path, made)
    work = partial(train, task=made["task"]["task"], probe=probe, last=last)
    with ProcessPoolExecutor(workers or usable_cores(), mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(work, cell) for cell in missing]
        for count, job in enumerate(tqdm(as_completed(jobs), total=len(jobs), disable=not jobs or report is not None)):
            append_line(path, {**ended(job), "made": made["made"]})
            if report is not None:
                report(count + 1, len(jobs))


def ended(job: Future[dict[str, Any]]) -> dict[str, Any]:
    """A job's line; `OSError` if its process was killed, as a system does where memory runs out."""
    try:
        return job.result()
    except BrokenExecutor as error:
        raise OSError("a worker process was killed, most likely for its memory; call again with --workers 1") from error
