"""What there is: `lalora methods`, `tasks`, `presets`, and what this machine has: `doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def methods() -> None:
    """List the methods."""
    from lalora_kit.methods import METHODS

    for method in METHODS.values():
        typer.echo(f"{method.name:<18}{method.paper}")


@app.command()
def tasks() -> None:
    """List the tasks."""
    from lalora_kit.tasks import TASKS

    for name, (_, line) in TASKS.items():
        typer.echo(f"{name:<23}{line}")


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="One of them, with its settings, noise and choices.")] = None,
) -> None:
    """List the paper's experiments by name, or tell all about one; nothing is loaded."""
    from lalora_kit.runs.presets import PRESETS, described, find_preset

    if name is not None:
        typer.echo(described(find_preset(name)))
        return
    for preset in PRESETS.values():
        typer.echo(f"{preset.name:<30}{preset.task} on {preset.backbone}")


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False) -> None:
    """Look at versions, GPU, memory, bf16, network, browser widgets and disk; exit code 1 if something is to mend."""
    from lalora_kit.cli import doctor

    findings = doctor.examine()
    typer.echo(json.dumps(doctor.as_json(findings)) if as_json else doctor.report(findings))
    if not doctor.healthy(findings):
        raise typer.Exit(1)
