"""One clip or two: accuracy with head and adapter under one clip norm C, and with half of C² for each.

    python -m tests.benchmarks.clips --task mnist                       # the first table of RESULTS
    python -m tests.benchmarks.clips --task digits --rates 0.25 1       # the second

Everything else is what is usual on the task. ε and noise are the same either way (`lalora_kit.privacy.budgets`); what
may differ is how much of a clipped gradient is left for the head once an adapter trains beside it. All methods have the
same grid of rates, and no rate is chosen: the table has every cell, and the difference is taken seed by seed at the
same rates. A method without an adapter is the same run either way, and is trained once.

Each run is appended to a JSON-lines file as soon as it ends, with what it was made with; a second call goes on.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from lalora_kit.base.files import append_line, digest, read_lines
from lalora_kit.base.threads import usable_cores
from lalora_kit.methods import METHODS
from lalora_kit.runs.usual import settings_for
from lalora_kit.trial.study import made_with

METHOD_NAMES = ("head-only", "dp-lora", "la-lora", "ffa-lora", "rolora")
JOINT, APART = 0.0, 0.5
SIZES = ("rounds", "local_steps", "clients", "rank")
RESULTS = Path(__file__).parent / "results" / "clips.jsonl"
SEEDS = (10, 11, 12)  # those that choose; a default is a choice, and the reported ones must not have made it
Line = dict[str, Any]


@cache
def loaded(task: str) -> Any:
    """A task, once a process."""
    from lalora_kit.tasks import load_task

    return load_task(task)


def adapts(method: str, local_steps: int) -> bool:
    """Whether a method trains anything beside the head."""
    return bool(METHODS[method].trained_in(1, local_steps))


def cell(fixed: Line, method: str, epsilon: float, rates: tuple[float, float], share: float, seed: int) -> Line:
    """What says which run it is; rates are the adapter's and the head's. Infinite ε is null."""
    alone = not adapts(method, fixed["local_steps"])
    return {
        **fixed,
        "method": method,
        "epsilon": epsilon if math.isfinite(epsilon) else None,
        "learning_rate": None if alone else rates[0],
        "head_learning_rate": rates[1],
        "clip_head_share": JOINT if alone else share,
        "seed": seed,
    }


def train(run: Line) -> Line:
    """One run, in a worker of one thread."""
    import torch

    from lalora_kit.federated import federated_rounds

    torch.set_num_threads(1)
    started = time.perf_counter()
    changed = {name: value for name, value in run.items() if name not in ("task", "method") and value is not None}
    settings = settings_for(run["task"], **{"epsilon": math.inf, **changed}, threads=1)
    records = list(federated_rounds(loaded(run["task"]), METHODS[run["method"]], settings))
    return {
        **run,
        "curve": [round(r.accuracy, 4) for r in records],
        "loss": round(records[-1].loss, 4),
        "noise_multiplier": round(records[-1].noise_multiplier, 4),
        "seconds": round(time.perf_counter() - started, 1),
    }


def name_of(run: Line) -> str:
    """By this a run is found again."""
    return digest({key: value for key, value in run.items() if key not in RESULT})


RESULT = ("curve", "loss", "noise_multiplier", "seconds", "made")


def finished(wanted: Sequence[Line], made: Line, path: Path, workers: int) -> dict[str, float]:
    """Accuracy after the last round of every wanted run, by name; what is missing is trained first.

    Raises:
        ValueError: if the file holds runs on other data or another backbone under this task's name.
    """
    before = read_lines(path)
    if any(line["task"] != made["task"] for line in before if same_name(line, made)):
        raise ValueError(
            f"{path} holds runs on another {made['task']['task']!r}; they do not compare; name another file"
        )
    kept = {name_of(line): line for line in before if "curve" in line}
    missing = [run for key, run in {name_of(run): run for run in wanted}.items() if key not in kept]
    path.parent.mkdir(parents=True, exist_ok=True)
    if missing and made["made"] not in {line.get("made") for line in before}:
        append_line(path, made)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for count, job in enumerate(as_completed([pool.submit(train, run) for run in missing]), start=1):
            line = {**job.result(), "made": made["made"]}
            append_line(path, line)
            kept[name_of(line)] = line
            print(f"{count}/{len(missing)} {line['method']} ε={line['epsilon']} {line['seconds']} s", flush=True)
    return ends(kept.values())


def ends(lines: Iterable[Line]) -> dict[str, float]:
    """Accuracy after the last round of every run among the lines, by name."""
    return {name_of(line): line["curve"][-1] for line in lines if "curve" in line}


def same_name(line: Line, made: Line) -> bool:
    """Whether a line says what runs of this task's name were made with."""
    return isinstance(line["task"], dict) and line["task"]["task"] == made["task"]["task"]


def table(fixed: Line, asked: argparse.Namespace, done: dict[str, float]) -> str:
    """Every cell in Markdown: mean ± standard deviation over the seeds, and the difference in points, seed by seed."""
    lines = [
        "| ε | method | rate | head's rate | one clip | half and half | difference in points (standard error) |",
        "|---" * 7 + "|",
    ]
    for epsilon, method, head in product(asked.epsilon, asked.methods, asked.head_rates):
        alone = not adapts(method, fixed["local_steps"])
        for rate in asked.rates[:1] if alone else asked.rates:
            one, two = (
                [done[name_of(cell(fixed, method, epsilon, (rate, head), share, seed))] for seed in asked.seeds]
                for share in (JOINT, APART)
            )
            points = [100 * (b - a) for a, b in zip(one, two, strict=True)]
            gain = "the same run" if alone else f"{statistics.fmean(points):+.1f}{error(points)}"
            shown = "–" if alone else f"{rate:g}"
            lines.append(f"| {epsilon:g} | {method} | {shown} | {head:g} | {mean(one)} | {mean(two)} | {gain} |")
    return "\n".join(lines)


def mean(values: Sequence[float]) -> str:
    """`0.703 ± 0.012`; of one seed the value alone."""
    return f"{statistics.fmean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def error(points: Sequence[float]) -> str:
    """` (0.4)`; of one seed nothing can be said."""
    return f" ({statistics.stdev(points) / math.sqrt(len(points)):.1f})" if len(points) > 1 else ""


def main() -> None:
    """Train what is missing, and print the table."""
    asked = options().parse_args()
    fixed, wanted = design(asked)
    made = made_with("python -m tests.benchmarks.clips", asked.task)
    print(table(fixed, asked, finished(wanted, made, asked.results, asked.workers)))
    print(f"seeds {tuple(asked.seeds)}; {fixed}")


def options() -> argparse.ArgumentParser:
    """What can be asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits", help="any of `lalora tasks`")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHOD_NAMES))
    parser.add_argument("--epsilon", nargs="+", type=float, default=[3.0, 1.0])
    parser.add_argument("--rates", nargs="+", type=float, default=[1.0, 4.0], help="of the adapter")
    parser.add_argument("--head-rates", nargs="+", type=float, help="default: the task's usual one")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    for name in SIZES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="default: the task's usual number")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--workers", type=int, default=usable_cores())
    return parser


def design(asked: argparse.Namespace) -> tuple[Line, list[Line]]:
    """What all runs share, and every run; the head's rate is the task's usual one if none is asked for."""
    given = {name: getattr(asked, name) for name in SIZES if getattr(asked, name) is not None}
    usual = settings_for(asked.task, **given)
    asked.head_rates = asked.head_rates or [usual.head_learning_rate]
    fixed = {"task": asked.task, **{name: getattr(usual, name) for name in (*SIZES, "sample_rate")}}
    wanted = [
        cell(fixed, method, epsilon, rates, share, seed)
        for seed, epsilon, method in product(asked.seeds, asked.epsilon, asked.methods)
        for rates, share in product(product(asked.rates, asked.head_rates), (JOINT, APART))
    ]
    return fixed, wanted


if __name__ == "__main__":
    main()
