"""`lalora train`: parses, loads, trains, and prints a line a round."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lalora_kit.cli import own as cli_own
from lalora_kit.cli.intent import intent, usual_of
from lalora_kit.cli.waiting import begin, loading, loading_torch
from lalora_kit.runs.usual import DEFAULT_TASK, settings_for
from lalora_kit.settings import Settings

app = typer.Typer(add_completion=False)

#: Options that say what is learnt, not how.
SOURCE = ("task", "images", "csv", "text", "label", "owner", "unit", "backbone", "public", "standardise")
PRIVACY, FEDERATION, ADAPTER, MACHINE = "Privacy", "Federation", "Adapter and optimiser", "Machine and output"
OWN_DATA = "Your own data"


def option(default_of: str, text: str, panel: str) -> Any:
    """An option whose default is the task's usual one, told but not set, so that a resume can tell what was given."""
    default, elsewhere = (getattr(settings_for(task), default_of) for task in (DEFAULT_TASK, ""))
    if default is None:
        return typer.Option(help=text, show_default=False, rich_help_panel=panel)
    told = default_text(default)
    if default != elsewhere:
        told += f" on {DEFAULT_TASK}, else {default_text(elsewhere)}"
    return typer.Option(help=f"{text} Default: {told}.", show_default=False, rich_help_panel=panel)


def default_text(value: Any) -> str:
    """A default as one would type it: 3, 1e-5, sgd."""
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def own(text: str) -> Any:
    """An option about data of one's own."""
    return typer.Option(help=text, show_default=False, rich_help_panel=OWN_DATA)


@app.command()
def train(
    task: Annotated[
        str | None, typer.Option(help=f"See `lalora tasks`. Default: {DEFAULT_TASK}.", show_default=False)
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Of timm or transformers. Default: the task's.", show_default=False)
    ] = None,
    preset: Annotated[str | None, typer.Option(help="The paper's settings: see `lalora presets`.")] = None,
    method: Annotated[
        str | None, typer.Option(help="See `lalora methods`. Default: la-lora.", show_default=False)
    ] = None,
    images: Annotated[Path | None, own("A folder with a folder of images for each class.")] = None,
    csv: Annotated[Path | None, own("A CSV file, with --text and --label.")] = None,
    text: Annotated[str | None, own("Column of the text.")] = None,
    label: Annotated[str | None, own("Column of the class.")] = None,
    owner: Annotated[str | None, own("Column of whose a row is; owners make the clients.")] = None,
    unit: Annotated[str | None, own("Column of the person whom ε protects; `row`: each row is one.")] = None,
    public: Annotated[Path | None, own("Images (a folder) or texts (a CSV) that are public: no labels, no ε.")] = None,
    no_standardise: Annotated[
        bool, typer.Option("--no-standardise", help="Leave the features as they are, whatever public inputs there are.")
    ] = False,
    epsilon: Annotated[float | None, option("epsilon", "Target ε; inf adds no noise.", PRIVACY)] = None,
    delta: Annotated[float | None, option("delta", "Target δ.", PRIVACY)] = None,
    clip_norm: Annotated[float | None, option("clip_norm", "L2 norm each sample is clipped to.", PRIVACY)] = None,
    clip_head_share: Annotated[
        float | None, option("clip_head_share", "Share of C² that is the head's own; 0 is one clip for both.", PRIVACY)
    ] = None,
    sample_rate: Annotated[float | None, option("sample_rate", "Chance of a sample in a local step.", PRIVACY)] = None,
    batch_size: Annotated[float | None, option("batch_size", "Expected batch, instead of a rate.", PRIVACY)] = None,
    clients: Annotated[int | None, option("clients", "Number of clients.", FEDERATION)] = None,
    participation: Annotated[float | None, option("participation", "Share that joins a round.", FEDERATION)] = None,
    dirichlet_beta: Annotated[
        float | None, option("dirichlet_beta", "Label skew. Default: none, IID.", FEDERATION)
    ] = None,
    rounds: Annotated[int | None, option("rounds", "Rounds of the run.", FEDERATION)] = None,
    local_steps: Annotated[int | None, option("local_steps", "Local steps a round.", FEDERATION)] = None,
    rank: Annotated[int | None, option("rank", "LoRA rank.", ADAPTER)] = None,
    alpha: Annotated[float | None, option("alpha", "LoRA α. Default: the rank.", ADAPTER)] = None,
    learning_rate: Annotated[float | None, option("learning_rate", "The adapter's rate.", ADAPTER)] = None,
    head_learning_rate: Annotated[float | None, option("head_learning_rate", "The head's rate.", ADAPTER)] = None,
    optimizer: Annotated[str | None, option("optimizer", "sgd or adamw.", ADAPTER)] = None,
    weight_decay: Annotated[float | None, option("weight_decay", "Of active tensors.", ADAPTER)] = None,
    lr_decay: Annotated[float | None, option("lr_decay", "Factor on both rates, each round.", ADAPTER)] = None,
    precondition: Annotated[
        float | None, option("precondition", "Damping of Theorem 2. Default: none.", ADAPTER)
    ] = None,
    seed: Annotated[
        int | None, option("seed", "An integer: reproducible, not private. Default: drawn by the system.", MACHINE)
    ] = None,
    device: Annotated[str | None, option("device", "cpu, cuda, cuda:1, ...", MACHINE)] = None,
    precision: Annotated[str | None, option("precision", "fp32, or bf16 (frozen part).", MACHINE)] = None,
    threads: Annotated[int | None, option("threads", "Torch's, on the CPU. Default: by the backbone.", MACHINE)] = None,
    max_samples: Annotated[
        int | None, option("max_samples", "Most in memory at once. Default: what fits.", MACHINE)
    ] = None,
    evaluate_every: Annotated[
        int | None, option("evaluate_every", "Test each n-th round, and the last.", MACHINE)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a round, nothing else.")] = False,
    out: Annotated[Path | None, typer.Option(help="Keep ledger, records, state and adapter here.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this directory.")] = None,
    page: cli_own.Page = None,
) -> None:
    """Fine-tune privately over clients, and print accuracy and the ε spent after each round."""
    given = {name: value for name, value in locals().items() if value is not None}
    for name in ("as_json", "out", "resume", "no_standardise", "page"):
        given.pop(name, None)
    if no_standardise:
        given["standardise"] = "no"  # as a source says it
    if resume is not None and out is not None:
        raise ValueError(
            f"--out {out} and --resume {resume} are both given; a resumed run stays where it is; drop --out"
        )
    if page and resume is None and out is None:
        raise ValueError("page=True is not possible: the page lies in the run's directory; give --out, or drop --page")
    run(given, as_json, out, resume)
    if (directory := out or resume) is not None:
        if not as_json:
            typer.echo(f"kept in {directory}")
        cli_own.tell_page(directory, page, as_json)


def run(given: dict[str, Any], as_json: bool, out: Path | None, resume: Path | None) -> None:
    """Load, train, and print a line a round."""
    begin(intent(given, resume))
    with loading_torch():
        from lalora_kit.federated import federated_rounds
        from lalora_kit.methods import find_method
        from lalora_kit.runs.checkpoint import save_rounds
        from lalora_kit.runs.saved import load
        from lalora_kit.tasks.heads.public import count_of, sentence
        from lalora_kit.tasks.own.sources import OWN, load_source, placed

    given = placed(given)
    if resume is not None:
        named = given.pop("method", None)
        saved = load(resume, None if named is None else cli_own.same_method(named, resume))
        often = {name: given.pop(name) for name in ("evaluate_every",) if name in given}  # no part of what the run is
        cli_own.check_agrees(given, {**saved.source, **saved.settings.to_json()}, resume)
        method, settings = saved.method, replace(saved.settings, **often)
        with loading():
            task = load_source(saved.source)
        for line in saved.rounds:
            show(line, settings, as_json)
        if saved.ended:
            typer.echo(f"this run has ended: round {settings.rounds} was its last; more are a new run", err=as_json)
        rounds = save_rounds(
            task, method, settings, resume, resume=True, told=lambda line: show(line, settings, as_json)
        )
    else:
        preset = given.pop("preset", None)
        if preset is not None:
            from lalora_kit.runs.presets import laid_under

            given, told = laid_under(preset, given)
            typer.echo(told, err=as_json)
        method = find_method(given.pop("method", "la-lora"))
        source = {name: given.pop(name) for name in SOURCE if name in given}
        if not source.keys() & {"task", *OWN}:
            source["task"] = DEFAULT_TASK
        settings = Settings(**given) if preset is not None else settings_for(usual_of(source), **given)
        with loading():
            task = load_source(source)
        if task.owners and "clients" not in given and source.keys() & OWN:
            settings = replace(settings, clients=len(task.owners))
        if preset is not None:
            task = replace(task, source={**task.source, "preset": preset})
        if out:
            rounds = save_rounds(task, method, settings, out, told=lambda line: show(line, settings, as_json))
        else:
            rounds = federated_rounds(task, method, settings)
    if task.source.keys() & OWN:
        typer.echo(task.description, err=as_json)
    announce(task.unit, settings, as_json)
    if count_of(task):
        typer.echo(sentence(count_of(task)), err=as_json)
    for r in progress(rounds, settings, as_json):
        if not (out or resume):  # else it was told before its adapter was written
            show(r.to_json(), settings, as_json)


def announce(unit: str, settings: Settings, as_json: bool) -> None:
    """Say aloud what the ε that follows does and does not promise (on standard error with --json)."""
    from lalora_kit.privacy.ledger import guarantee
    from lalora_kit.records import NO_NOISE, SEED_KNOWN

    promise = NO_NOISE if not settings.private else f"ε holds {guarantee(unit)}; δ={settings.delta:g}"
    known = f"; {SEED_KNOWN}" if settings.private and settings.seed is not None else ""
    typer.echo(promise + known, err=as_json)


def progress(rounds: Any, settings: Settings, as_json: bool) -> Any:
    """A bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    return tqdm(rounds, total=settings.rounds, unit="round", disable=None if not as_json else not sys.stderr.isatty())


def show(line: dict[str, Any], settings: Settings, as_json: bool) -> None:
    """One round."""
    if as_json:
        print(json.dumps(line), flush=True)
        return
    from tqdm import tqdm

    spent = "∞" if line["epsilon"] is None else f"{line['epsilon']:.3f}"
    loss = "none" if line["loss"] is None else f"{line['loss']:.3f}"
    tested = "not evaluated" if line["accuracy"] is None else f"accuracy {line['accuracy']:.3f}  loss {loss}"
    tqdm.write(
        f"round {line['round']:>3}/{settings.rounds}  {tested}  "
        f"ε {spent}  σ {line['noise_multiplier']:.3f}  {line['seconds']:.2f} s"
    )
