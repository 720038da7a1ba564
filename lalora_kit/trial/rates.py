"""What the paper's effect depends on: accuracy against the adapter's rate, where each method breaks down.

    python -m lalora_kit.trial.rates                    # all of it: 348 runs, most half a minute on one core
    python -m lalora_kit.trial.rates --seeds 0          # a first look

LA-LoRA, DP-LoRA and what lies between them (alternation without the filter, the filter without alternation), at ε = 1
and 3, rank 4 and 16, on `mnist`; beside them the baselines, each at its best rate on other seeds. A second call goes on
where the first one stopped.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from lalora_kit.trial.designs import design_of
from lalora_kit.trial.study import Cell, curves, ensure, made_with

TASK = "mnist"
FILE = Path(__file__).parent / "kept" / "rates" / f"{TASK}.jsonl"
COMMAND = "python -m lalora_kit.trial.rates"
METHOD_NAMES = ("la-lora", "la-lora-nofilter", "dp-lora-filter", "dp-lora")
BASELINES = ("head-only", "linear", "linear-hog")
DESIGN = design_of(TASK)
RATES, HEAD_RATES, TUNING_SEEDS = DESIGN.rates, DESIGN.head_rates, DESIGN.tuning_seeds
EPSILONS, RANKS, SEEDS = (1.0, 3.0), (4, 16), (0, 1, 2)
LOST = 0.1  # of accuracy, below a method's best: from there on it counts as broken down
Done = dict[Cell, list[float]]
Line = dict[float, list[float]]  # rate -> final accuracies, one a seed
Lines = dict[tuple[float, int], dict[str, Line]]  # (ε, rank) -> method -> line
Baselines = dict[float, dict[str, list[float]]]  # ε -> name -> final accuracies


def adapter_cell(method: str, epsilon: float, rank: int, rate: float, seed: int) -> Cell:
    """One point of a method's line."""
    return DESIGN.run(method, rate, epsilon, seed, rank=rank)


def baseline_cell(name: str, epsilon: float, rate: float, seed: int) -> Cell:
    """A run without an adapter; `rate` is its head's."""
    return DESIGN.run(name, DESIGN.usual.learning_rate, epsilon, seed, head_learning_rate=rate)


def adapter_cells(seeds: Iterable[int]) -> list[Cell]:
    """Every point of every line, seed by seed."""
    return [
        adapter_cell(method, epsilon, rank, rate, seed)
        for seed in seeds
        for epsilon in EPSILONS
        for rank in RANKS
        for rate in RATES
        for method in METHOD_NAMES
    ]


def tuning_cells() -> list[Cell]:
    """The runs that choose a baseline's rate."""
    return [baseline_cell(n, e, rate, seed) for n in BASELINES for e in EPSILONS for rate in HEAD_RATES
            for seed in TUNING_SEEDS]  # fmt: skip


def baseline_rate(done: Done, name: str, epsilon: float) -> float:
    """The rate with the highest mean accuracy over the tuning seeds."""

    def mean(rate: float) -> float:
        return statistics.fmean(done[baseline_cell(name, epsilon, rate, seed)][-1] for seed in TUNING_SEEDS)

    return max(HEAD_RATES, key=mean)


def baseline_cells(done: Done, seeds: Iterable[int]) -> list[Cell]:
    """The baselines' reported runs."""
    return [
        baseline_cell(name, epsilon, baseline_rate(done, name, epsilon), seed)
        for name in BASELINES
        for epsilon in EPSILONS
        for seed in seeds
    ]


def line(done: Done, method: str, epsilon: float, rank: int, seeds: Sequence[int] = SEEDS) -> Line:
    """Final accuracies of the seeds that are done, by rate."""
    found = {
        rate: [done[cell][-1] for seed in seeds if (cell := adapter_cell(method, epsilon, rank, rate, seed)) in done]
        for rate in RATES
    }
    return {rate: values for rate, values in found.items() if values}


def holds_until(means: dict[float, float]) -> float:
    """The largest rate up to which a method has lost less than `LOST` of its best, from its best rate on.

    >>> holds_until({1.0: 0.7, 2.0: 0.8, 4.0: 0.75, 8.0: 0.3})
    4.0
    """
    best = max(means, key=lambda rate: means[rate])
    kept = best
    for rate in sorted(rate for rate in means if rate > best):
        if means[rate] < means[best] - LOST:
            break
        kept = rate
    return kept


def table(done: Done, seeds: Sequence[int] = SEEDS) -> str:
    """In Markdown: mean accuracy at each rate, the best, and until which rate a method holds; then the baselines.

    The best of a line is chosen on the seeds that it is told of, which flatters each method alike.
    """
    head = ["ε", "rank", "method", *(f"rate {rate:g}" for rate in RATES), "best", "holds until"]
    rows = [head, ["---"] * len(head)]
    for epsilon in EPSILONS:
        for rank in RANKS:
            for method in METHOD_NAMES:
                means = {r: statistics.fmean(v) for r, v in line(done, method, epsilon, rank, seeds).items()}
                if means:
                    at = [f"{means[rate]:.3f}" if rate in means else "" for rate in RATES]
                    ends = [f"{max(means.values()):.3f}", f"{holds_until(means):g}"]
                    rows.append([f"{epsilon:g}", f"{rank}", method, *at, *ends])
        for name in BASELINES:
            values = baseline_values(done, name, epsilon, seeds)
            if values:
                rows.append([f"{epsilon:g}", "", name, *[""] * len(RATES), f"{statistics.fmean(values):.3f}", ""])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def told(done: Done, one: str = "la-lora", other: str = "dp-lora", seeds: Sequence[int] = SEEDS) -> list[str]:
    """In a sentence for each ε and rank: until which rate two methods hold, and what is left at their best rates.

    Beside them the strongest baseline. A place where a run of either is missing has no sentence.
    """
    said = []
    for epsilon in EPSILONS:
        bare = {name: baseline_values(done, name, epsilon, seeds) for name in BASELINES}
        bare = {name: values for name, values in bare.items() if values}
        for rank in RANKS:
            means = {
                name: {r: statistics.fmean(v) for r, v in line(done, name, epsilon, rank, seeds).items()}
                for name in (one, other)
            }
            if not all(means.values()):
                continue
            ends = [f"until rate {holds_until(found):g}" for found in means.values()]
            holds = f"{one} holds {ends[0]} and {other} {ends[1]}"
            best = " and ".join(f"{max(found.values()):.1%}" for found in means.values())
            name = max(bare, key=lambda name: statistics.fmean(bare[name]), default="")
            beside = f"; the best baseline, {name}, {statistics.fmean(bare[name]):.1%}" if name else ""
            said.append(f"ε = {epsilon:g}, rank {rank}: {holds}. At their best rates they reach {best}{beside}.")
    return said


def finding(done: Done, one: str = "la-lora", other: str = "dp-lora", seeds: Sequence[int] = SEEDS) -> str:
    """What `pictures` show, as a title of two lines: at how many places each of two methods is ahead, and in what.

    A place is an ε and a rank; one where a run of either is missing does not count.
    """
    larger, higher, places = 0, 0, 0
    for epsilon in EPSILONS:
        for rank in RANKS:
            first, second = (
                {r: statistics.fmean(v) for r, v in line(done, name, epsilon, rank, seeds).items()}
                for name in (one, other)
            )
            if first and second:
                places += 1
                larger += holds_until(first) > holds_until(second)
                higher += max(first.values()) > max(second.values())
    return (
        f"{one} bears larger rates than {other} at {larger} of {places} places; <br>"
        f"its best rate reaches more than {other}'s at {higher} of {places}"
    )


def baseline_values(done: Done, name: str, epsilon: float, seeds: Sequence[int] = SEEDS) -> list[float]:
    """Final accuracies of a baseline at its best rate, of the seeds that are done."""
    rate = baseline_rate(done, name, epsilon)
    cells = [baseline_cell(name, epsilon, rate, seed) for seed in seeds]
    return [done[cell][-1] for cell in cells if cell in done]


def pictures(done: Done, seeds: Sequence[int] = SEEDS) -> tuple[Lines, Baselines]:
    """What `figures.collapse` draws: lines by ε, rank, method and rate, and the baselines by ε and name."""
    places = [(epsilon, rank) for epsilon in EPSILONS for rank in RANKS]
    lines = {at: {name: line(done, name, *at, seeds) for name in METHOD_NAMES} for at in places}
    levels = {e: {name: baseline_values(done, name, e, seeds) for name in BASELINES} for e in EPSILONS}
    return lines, levels


def load(path: Path = FILE) -> Done:
    """Accuracy after each round, of every run that is done."""
    return curves(path)


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Accuracy against the adapter's rate.")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--workers", type=int, help="Processes; by default one a core.")
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    run = partial(ensure, made=made_with(COMMAND, TASK), path=options.out, workers=options.workers, last=True)
    run(tuning_cells())
    run(baseline_cells(load(options.out), options.seeds))
    run(adapter_cells(options.seeds))
    print(table(load(options.out), options.seeds))


if __name__ == "__main__":
    main()
