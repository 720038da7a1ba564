"""The commands around the notebooks: `lalora notebooks`, `doctor`. They parse, call the library and print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def notebooks(
    directory: Annotated[Path, typer.Argument(help="Made if it is not there.")] = Path("lalora-notebooks"),
) -> None:
    """Copy the notebooks out, to work in; what you changed there is never overwritten."""
    from lalora_kit import book

    for place in book.copy_notebooks(directory):
        typer.echo(place)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False) -> None:
    """Look at versions, GPU, memory, bf16, network, browser widgets and disk; exit code 1 if something is to mend."""
    from lalora_kit import doctor

    findings = doctor.examine()
    typer.echo(json.dumps(doctor.as_json(findings)) if as_json else doctor.report(findings))
    if not doctor.healthy(findings):
        raise typer.Exit(1)
