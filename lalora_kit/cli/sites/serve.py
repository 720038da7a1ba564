"""`lalora serve`: writes a federation's app and terms, and looks the server over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lalora_kit.cli.intent import usual_of
from lalora_kit.cli.sites.options import App, Backbone, Csv, Images, Label, Public, Task, Text, Unit, source_of, told
from lalora_kit.cli.waiting import begin, loading_torch
from lalora_kit.runs.usual import settings_for

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The server of a federation, on Flower.")


@app.command("check")
def serve_check(directory: App) -> None:
    """Tell what is not as it should be at the server, with the remedy; exit code 1 if anything is."""
    from lalora_kit.runs.sites.app import check

    told(list(check(directory)))


@app.command("app")
def serve_app(
    directory: App,
    sites: Annotated[str, typer.Option(help="Names of the sites, with commas: north,south.", show_default=False)],
    title: Annotated[str, typer.Option(help="The federation's name; a site agrees to it once.")] = "federation",
    quorum: Annotated[int | None, typer.Option(help="Least uploads of a late round.", show_default="all")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which a round is late.")] = 600.0,
    method: Annotated[str, typer.Option(help="See `lalora methods`.")] = "la-lora",
    task: Task = None,
    images: Images = None,
    csv: Csv = None,
    text: Text = None,
    label: Label = None,
    unit: Unit = None,
    backbone: Backbone = None,
    public: Public = None,
    kind: Annotated[str, typer.Option(help="Without test data: image or text.")] = "",
    classes: Annotated[str, typer.Option(help="Without test data: the classes, with commas.")] = "",
    epsilon: Annotated[float | None, typer.Option(help="Target ε of the whole run.", show_default="3")] = None,
    delta: Annotated[float | None, typer.Option(help="Target δ.", show_default="1e-5")] = None,
    rounds: Annotated[int | None, typer.Option(help="Federated rounds.", show_default="10")] = None,
    local_steps: Annotated[int | None, typer.Option(help="Private steps a round.", show_default="4")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Any other: rank=8, batch_size=16.")] = None,
    address: Annotated[str, typer.Option(help="Of the SuperLink, from here.")] = "127.0.0.1:8000",
    certificate: Annotated[Path | None, typer.Option(help="The CA's, for TLS with the SuperLink.")] = None,
) -> None:
    """Write the Flower app of a federation, and its terms; plain `flwr run` starts it, and goes on with it."""
    source = source_of(locals())
    numbers = {"epsilon": epsilon, "delta": delta, "rounds": rounds, "local_steps": local_steps}
    given = {name: value for name, value in numbers.items() if value is not None} | parsed(settings or [])
    begin(f"writing the app in {directory}")
    with loading_torch():
        from lalora_kit.methods import find_method
        from lalora_kit.runs.sites.app import write_app

    judged = source if source.keys() & {"task", "images", "csv"} else {}
    named = {"source": judged, "kind": kind, "unit": unit or "sample", "backbone": backbone or "",
             "classes": tuple(filter(None, classes.split(",")))}  # fmt: skip
    chosen = settings_for(usual_of(source) if source else "", **{**given, "clients": len(sites.split(","))})
    made = write_app(
        directory,
        named,
        tuple(sites.split(",")),
        find_method(method),
        chosen,
        title,
        quorum,
        timeout,
        address,
        certificate,
    )
    terms = made.terms
    typer.echo(f"terms {terms.name}: {terms.method.name}, ε {terms.settings.epsilon:g} at δ {terms.settings.delta:g}, "
               f"{terms.settings.rounds} rounds; give {directory / 'terms.json'} to each site")  # fmt: skip
    typer.echo(f". {Path(made.out) / 'env.sh'}\nflwr run {directory} here --stream")


def parsed(pairs: list[str]) -> dict[str, Any]:
    """`rank=8` as a name and a number or a word."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--set {pair} is no NAME=VALUE; give --set rank=8")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
