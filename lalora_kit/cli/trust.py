"""Whether an ε holds: `lalora audit` and `statement`. They parse, call the library and print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lalora_kit.cli.own import AsJson
from lalora_kit.cli.waiting import begin, loading_torch

app = typer.Typer(add_completion=False)

#: Of an audit; training's is smaller.
AUDITS_DELTA = 1e-3


@app.command()
def audit(
    method: Annotated[
        str | None, typer.Option(help="See `lalora methods`. Default: la-lora.", show_default=False)
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="The ε that is claimed, and put to the test. Default: 3.", show_default=False)
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(
            help="The claim's δ. Default: 0.001, larger than training's 1e-5: at a larger δ the same ε asks for less "
            "noise, so the attack sees more.",
            show_default=False,
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--run", help="Audit at the method, ε, δ and clip of the run in this directory.", show_default=False
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="Virtual clients; half of them hold a canary.")] = 2000,
    confidence: Annotated[float, typer.Option(help="That the lower bound holds.")] = 0.99,
    sample_rate: Annotated[float, typer.Option(help="Chance of a sample per step; 1 is sharpest.")] = 1.0,
    clip_head_share: Annotated[
        float | None, typer.Option(help="As for `lalora train`. Default: 0.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="An integer: reproducible, not private.")] = None,
    as_json: AsJson = False,
) -> None:
    """Attack a method's own training loop, and print a lower bound on ε beside the ledger's ε."""
    given = {"method": method, "epsilon": epsilon, "delta": delta, "clip_head_share": clip_head_share}
    claimed = claim(given, directory)
    method, epsilon, delta = claimed["method"], claimed["epsilon"], claimed["delta"]
    begin(f"attacking the loop of {method}, which claims ε={epsilon:g} at δ={delta:g}: {trials} trials")
    with loading_torch():
        from lalora_kit.auditing.attack import audit as run
        from lalora_kit.methods import find_method
        from lalora_kit.records import SEED_KNOWN

    found = run(
        find_method(method), epsilon=epsilon, delta=delta, trials=trials, seed=seed, confidence=confidence,
        sample_rate=sample_rate, clip_head_share=claimed["clip_head_share"],
    )  # fmt: skip
    if seed is not None:
        typer.echo(SEED_KNOWN, err=as_json)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
        return
    typer.echo(str(found))
    typer.echo(
        f"epsilon_lower {found.epsilon_lower:.3f}  confidence {found.confidence:g}  epsilon {found.epsilon:.3f}  "
        f"TPR {found.tpr:.3f}  FPR {found.fpr:.4f}  trials {found.trials}  {found.seconds:.1f} s"
    )
    typer.echo(about_delta(delta, directory))


def claim(given: dict[str, Any], directory: Path | None) -> dict[str, Any]:
    """What an audit puts to the test: what is given, else what is usual; or what the run in `directory` claims."""
    chosen = {name: value for name, value in given.items() if value is not None}
    if directory is None:
        return {"method": "la-lora", "epsilon": 3.0, "delta": AUDITS_DELTA, "clip_head_share": 0.0, **chosen}
    if chosen:
        raise ValueError(
            f"--run {directory} and {', '.join(chosen)} are given together; the run says both; leave one out"
        )
    from lalora_kit.runs.saved import read_about

    _, named, settings = read_about(directory)
    method = f"{named.source['file']}:{named.source['name']}" if named.source else named.name
    kept = {name: getattr(settings, name) for name in ("epsilon", "delta", "clip_head_share")}
    return {"method": method, **kept}


def about_delta(delta: float, directory: Path | None) -> str:
    """Why the audit is at this δ."""
    if directory is not None:
        return f"δ={delta:g} is that of the run in {directory}"
    if delta != AUDITS_DELTA:
        return f"δ={delta:g} as asked for; `--run DIR` takes a run's own"
    return (
        f"δ={delta:g} is larger than training's usual 1e-5: at a larger δ the same ε asks for less noise, so the "
        "attack sees more and the bound comes closer to ε; `--run DIR` audits at a run's own δ"
    )


@app.command()
def statement(
    directory: Annotated[Path, typer.Argument(help="What --out wrote.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Print the paragraph to cite about a run's privacy: ε spent by the ledger, against whom, and its limits."""
    from lalora_kit.runs.statement import statement

    said = statement(directory)
    typer.echo(json.dumps(said.to_json()) if as_json else said.text)
