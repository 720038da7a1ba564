"""The commands around data of your own: `lalora plan` and `report`. They parse, call the library and print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lalora_kit.cli import tables

if TYPE_CHECKING:
    from lalora_kit.methods import Method
    from lalora_kit.runs.results import Results

app = typer.Typer(add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")]
Page = Annotated[
    bool | None,
    typer.Option(
        "--page/--no-page", help="Draw the run as an HTML page in its directory. Default: --page.", show_default=False
    ),
]


def whole_numbers(text: str) -> list[int]:
    """`320,150,60` as numbers."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"sizes={text!r} is not possible: sites are whole numbers of samples with commas between; give 320,150,60"
        ) from error


@app.command()
def plan(
    sizes: Annotated[str, typer.Option(help="How many units each site holds: 320,150,60.")],
    unit: Annotated[str, typer.Option(help="What ε protects and sizes count: sample, patient, ...")] = "sample",
    epsilon: Annotated[float, typer.Option(help="Target ε of the whole run.")] = 3.0,
    delta: Annotated[float, typer.Option(help="Target δ.")] = 1e-5,
    rounds: Annotated[int, typer.Option(help="Rounds of the run; every site joins each.")] = 10,
    local_steps: Annotated[int, typer.Option(help="Local steps a round.")] = 4,
    sample_rate: Annotated[
        float | None, typer.Option(help="Chance of a sample in a local step. Default: 0.1.", show_default=False)
    ] = None,
    batch_size: Annotated[float | None, typer.Option(help="Expected batch, instead of a rate.")] = None,
    clip_norm: Annotated[float, typer.Option(help="L2 norm each sample is clipped to.")] = 1.0,
    rank: Annotated[int, typer.Option(help="LoRA rank.")] = 4,
    method: Annotated[str, typer.Option(help="See `lalora methods`.")] = "la-lora",
    classes: Annotated[int, typer.Option(help="Labels that the head tells apart.", min=2)] = 10,
    backbone: Annotated[
        str | None, typer.Option(help="As for `lalora train`; its weights are not fetched.", show_default="swin-pico")
    ] = None,
    parameters: Annotated[
        int | None, typer.Option(help="Numbers that train in a step.", show_default="those of the backbone")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell each site's noise and signal-to-noise at ε from the sizes alone, before any data are touched."""
    from lalora_kit.methods import find_method
    from lalora_kit.runs.forecast import forecast, trained_numbers
    from lalora_kit.settings import Settings
    from lalora_kit.tasks.own.reader import SHIPPED, without_weights

    numbers = whole_numbers(sizes)
    settings = Settings(
        epsilon=epsilon, delta=delta, rounds=rounds, local_steps=local_steps, sample_rate=sample_rate,
        batch_size=batch_size, clip_norm=clip_norm, rank=rank, clients=len(numbers),
    )  # fmt: skip
    if parameters is None:
        read = without_weights(backbone or SHIPPED["image"], classes)
        parameters = trained_numbers(read.module, read.targets, read.head, rank, find_method(method))
    elif backbone is not None:
        raise ValueError(
            f"backbone={backbone!r} and parameters={parameters} both say how many numbers train; leave one out"
        )
    found = forecast(numbers, settings, parameters, unit)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        tables.plan(found, settings, unit)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="What --out wrote.", show_default=False)],
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Also train head-only, linear models, each site alone, all without privacy."),
    ] = False,
    method: Annotated[
        str | None, typer.Option(help="Where a method of your own lies now: file.py:NAME.", show_default=False)
    ] = None,
    page: Page = None,
    as_json: AsJson = False,
) -> None:
    """Tell a run's accuracy for each site and each class; baselines train on the private data too, and cost ε."""
    from lalora_kit.lessons import intruders
    from lalora_kit.methods.personal import the_model
    from lalora_kit.runs import results, yardsticks
    from lalora_kit.runs.spent import open_account

    run = results.open_run(directory, None if method is None else same_method(method, directory))
    found = results.results(run)
    if not as_json:
        tables.results(found)
        typer.echo(intruders.told(run.task, the_model(run.saved.method, run.saved.state.adapter)))
    if not baselines:
        if as_json:
            typer.echo(json.dumps(found.to_json()))
        tell_page(directory, page, as_json, found)
        return
    typer.echo(
        "baselines spend ε of the same data, and one has no noise: no private round is granted in this directory after "
        "them",
        err=True,
    )
    compared = yardsticks.yardsticks(run, directory, lambda line: typer.echo(f"baseline {line}", err=True))
    account = open_account(directory)
    total = account.spent(found.delta)
    after, standings = (
        results.results(replace(run, account=account)), yardsticks.standings(run.saved.method, found.overall, compared)
    )  # fmt: skip
    if as_json:
        both = {**after.to_json(), "baselines": [y.to_json() for y in compared], "standings": standings}
        typer.echo(json.dumps({**both, "cost": yardsticks.cost(found.unit, total)}))
    else:
        tables.baselines(found.unit, compared, total)
        for sentence in standings:
            typer.echo(sentence)
    measured = [f"{y.name}: accuracy {y.overall.accuracy:.3f}" for y in compared if y.overall is not None]
    tell_page(directory, page, as_json, after, [*measured, *standings])


def tell_page(
    directory: Path, page: bool | None, as_json: bool, found: Results | None = None, beside: Sequence[str] = ()
) -> None:
    """Write a run's page and name it; where it cannot be written, the numbers stand, and that it is missing is said."""
    if page is False:
        return
    from lalora_kit.book.runpage import run_page

    try:
        typer.echo(f"open {run_page(directory, found, beside)}", err=as_json)
    except OSError as error:
        typer.echo(f"no page was written ({error}); make room there, or give --no-page", err=True)


def same_method(given: str, directory: Path) -> Method:
    """The method that is named, if the run in `directory` is of it."""
    from lalora_kit.methods import find_method
    from lalora_kit.runs.saved import read_about

    method, name = find_method(given), read_about(directory)[1].name
    if method.name != name:
        raise ValueError(
            f"method={given!r} differs from {name!r} of the run in {directory}; a run goes on only with the method "
            "that it began with; leave it out, or start a new run with --out"
        )
    return method


def check_agrees(given: dict[str, Any], saved: dict[str, Any], directory: Path) -> None:
    """A resumed run keeps its settings; one that is given differently belongs to another run."""
    for name, value in given.items():
        shown = None if value == float("inf") else value
        if shown != saved.get(name):
            raise ValueError(
                f"{name}={value!r} differs from {saved.get(name)!r} of the run in {directory}; a run resumes only with "
                f"the settings that it began with; leave {name} out, or start a new run with --out"
            )
