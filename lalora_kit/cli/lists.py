"""What there is: `lalora methods`, `tasks`, `presets`, and what this machine has: `doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from lalora_kit.cli.tables import table

app = typer.Typer(add_completion=False)


@app.command()
def methods() -> None:
    """List the methods: what each does, and where it comes from; the paper's first, then the gallery's."""
    from lalora_kit.methods import EVERY

    table(["method", "what it does", "from"], [[m.name, m.about.does, m.paper] for m in EVERY.values()])
    typer.echo("Any of them with +tangent (another norm to clip by) or +flat (perturbed weights): la-lora+tangent.")


@app.command()
def tasks() -> None:
    """List the tasks."""
    from lalora_kit.tasks import TASKS

    table(["task", "what is learnt"], [[name, line] for name, (_, line) in TASKS.items()])


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="One of them, with its settings, noise and choices.")] = None,
) -> None:
    """List the paper's experiments by name, or tell all about one; nothing is loaded."""
    from lalora_kit.runs.presets import PRESETS, described, find_preset

    if name is not None:
        typer.echo(described(find_preset(name)))
        return
    table(["preset", "task", "backbone"], [[p.name, p.task, p.backbone] for p in PRESETS.values()])


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False) -> None:
    """Look at versions, GPU, memory, bf16, network, browser widgets and disk; exit code 1 if something is to mend."""
    from lalora_kit.cli import doctor

    findings = doctor.examine()
    typer.echo(json.dumps(doctor.as_json(findings)) if as_json else doctor.report(findings))
    if not doctor.healthy(findings):
        raise typer.Exit(1)
