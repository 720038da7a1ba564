"""What the commands at a site and at the server share: how data are named, and how findings are told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Place = Annotated[Path, typer.Argument(metavar="SITE", help="The site's directory.", show_default=False)]
App = Annotated[Path, typer.Argument(metavar="DIR", help="The app's directory.", show_default=False)]
Task = Annotated[str | None, typer.Option(help="A task of `lalora tasks`, in place of data of one's own.")]
Images = Annotated[Path | None, typer.Option(help="A folder with a folder of images for each class.")]
Csv = Annotated[Path | None, typer.Option(help="A CSV file, with --text and --label.")]
Text = Annotated[str | None, typer.Option(help="Column of the text.")]
Label = Annotated[str | None, typer.Option(help="Column of the class.")]
Unit = Annotated[str | None, typer.Option(help="Column of the person whom ε protects; `row`: each row is one.")]
Backbone = Annotated[str | None, typer.Option(help="Of timm or transformers.", show_default="the task's")]
Public = Annotated[Path | None, typer.Option(help="Public images or texts, the same at every site: no labels, no ε.")]
SOURCE = ("task", "images", "csv", "text", "label", "unit", "backbone", "public")


def source_of(given: dict[str, Any]) -> dict[str, str]:
    """What was said of data, as a task's source."""
    return {name: str(given[name]) for name in SOURCE if given.get(name) is not None}


def told(found: list[str]) -> None:
    """A line for each, or that all is well."""
    for line in found:
        typer.echo(f"- {line}")
    if found:
        raise typer.Exit(1)
    typer.echo("all is as it should be")
