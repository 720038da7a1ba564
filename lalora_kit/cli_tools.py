"""The commands around the notebooks: `lalora notebooks`. They parse, call the library and print."""

from __future__ import annotations

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
