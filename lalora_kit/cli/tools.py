"""The commands around the notebooks: `walkthrough`, `lab`, `notebooks`, `handout`, `ci`, ...."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from lalora_kit.base.steps import step
from lalora_kit.cli.waiting import begin, loading

app = typer.Typer(add_completion=False)


@app.command()
def walkthrough(
    out: Annotated[Path, typer.Option(help="Where the pages go.")] = Path("build/walkthrough"),
) -> None:
    """Run every notebook headlessly at its defaults and write one HTML page each, with an index."""
    begin(f"running every notebook; the pages go to {out}")
    with loading(), step("loading what runs notebooks"):
        from lalora_kit.book import notebooks as book

    runs = book.walkthrough(out)
    typer.echo(book.table(runs))
    typer.echo(f"open {out / 'index.html'}")
    if not all(run.ok for run in runs):
        raise typer.Exit(1)


@app.command()
def lab(
    notebook: Annotated[Path | None, typer.Argument(help="Another notebook.", show_default="the first one")] = None,
) -> None:
    """Open JupyterLab on the first notebook (where the kit came as a wheel, on a copy in ./lalora-notebooks)."""
    from lalora_kit.book import notebooks as book

    if notebook is not None and not notebook.is_file():
        raise ValueError(f"{notebook} does not exist; name a notebook, or none for the first one")
    raise typer.Exit(book.lab(notebook))


@app.command()
def notebooks(
    directory: Annotated[Path, typer.Argument(help="Made if it is not there.")] = Path("lalora-notebooks"),
) -> None:
    """Copy the notebooks out, to work in; what you changed there is never overwritten."""
    from lalora_kit.book import notebooks as book

    for place in book.copy_notebooks(directory):
        typer.echo(place)


SWEEP = {"ignore_unknown_options": True, "allow_extra_args": True}
SWEEP_USAGE = "[NOTEBOOK]... [--PARAMETER VALUE...]... [OPTIONS]"
Timeout = Annotated[int, typer.Option(help="Seconds that one cell may take.", min=1)]


def own_options(context: typer.Context) -> list[str]:
    """Names of a command's options, without the dashes."""
    return [name.removeprefix("--") for parameter in context.command.params for name in parameter.opts]


@app.command(context_settings=SWEEP, options_metavar=SWEEP_USAGE)
def handout(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Where the pages go.")] = Path("build/handout"),
    hide_code: Annotated[bool, typer.Option("--hide-code", help="Leave code out, but for the parameters.")] = False,
    show_code: Annotated[bool, typer.Option("--show-code", help="Unfold all code.")] = False,
    timeout: Timeout = 900,
) -> None:
    """Make self-contained pages of notebooks at your parameters: `lalora handout 02 04 --epsilon 0.5 1 3 --rank 8`.

    Without a NOTEBOOK (a number, a name or a path, first or after --notebook) all of them are run. Every option that
    is not listed here is a parameter of the notebooks; several values of one make a page each.
    """
    from lalora_kit.book import sweep
    from lalora_kit.book.handout import INDEX, handout

    if hide_code and show_code:
        raise ValueError("--hide-code and --show-code are both given; leave one of them out")
    jobs = sweep.plan(context.args, own_options(context))
    runs = handout(
        jobs, out, typer.echo, code="hidden" if hide_code else "open" if show_code else "folded", timeout=timeout
    )
    typer.echo(f"open {out / INDEX}")
    if not all(run.ok for run in runs):
        raise typer.Exit(1)


@app.command(context_settings=SWEEP, options_metavar=SWEEP_USAGE)
def slides(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Where the decks go.")] = Path("build/slides"),
    executed: Annotated[
        Path | None,
        typer.Option(
            help="Take notebooks that were run already: a folder that `lalora walkthrough` wrote.", show_default=False
        ),
    ] = None,
    timeout: Timeout = 900,
) -> None:
    """Make a deck of slides of each lesson, its pictures, questions and answers: `lalora slides 00 02`.

    NOTEBOOK and --PARAMETER are as in `lalora handout`. The notebooks are run first, unless --executed names a folder.
    """
    import tempfile

    from lalora_kit.book import sweep
    from lalora_kit.book.slides import INDEX, slides

    jobs = sweep.plan(context.args, own_options(context))
    if executed is not None:
        slides(sweep.ran(jobs, executed), out)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            runs = [run for _, run in sweep.run(jobs, Path(scratch), typer.echo, timeout=timeout)]
            slides([run.path for run in runs if run.ok], out)
        if not all(run.ok for run in runs):
            raise typer.Exit(1)
    typer.echo(f"open {out / INDEX}")


@app.command(context_settings=SWEEP, options_metavar=SWEEP_USAGE)
def ci(
    context: typer.Context,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.", dir_okay=False)] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything as JSON here.", dir_okay=False)] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the executed notebooks here.")] = None,
    timeout: Timeout = 900,
) -> None:
    """Run notebooks as a CI job does: `lalora ci 02 --epsilon 1 --rounds 2 --junit report.xml --json report.json`.

    NOTEBOOK and --PARAMETER are as in `lalora handout`. Exit code 0: all passed; 1: one failed; 2: bad input, and
    nothing was run.
    """
    import tempfile

    from lalora_kit.base.files import make_folder, write_named
    from lalora_kit.book import notebooks as book
    from lalora_kit.book import reports, sweep
    from lalora_kit.book.progress import FILE

    jobs = sweep.plan(context.args, own_options(context))
    made, done = book.made_with(), []
    files = [(path, make) for path, make in ((junit, reports.junit), (json, reports.to_json)) if path is not None]
    for path, _ in files:
        make_folder(path.parent)
    with tempfile.TemporaryDirectory() as scratch:
        for pair in sweep.run(jobs, out or Path(scratch), typer.echo, timeout=timeout, kept=out and out / FILE):
            done.append(pair)
            for path, make in files:  # after each, so that a job that is cut short has told what it saw
                write_named(path, make(done, made))
    if not all(run.ok for _, run in done):
        raise typer.Exit(1)


@app.command()
def drift(
    old: Annotated[Path, typer.Argument(help="A file of `lalora ci --json`.")],
    new: Annotated[Path, typer.Argument(help="Another one, such as today's.")],
    tolerance: Annotated[float, typer.Option(help="Relative difference up to which a figure is left out.")] = 0.05,
) -> None:
    """Show what two runs of the same notebooks say differently: versions, parameters, figures, claims.

    Exit code 1 if what held in OLD does not in NEW: a claim no longer seen, a notebook that fails, is missing or was
    given other parameters; 2: bad input. A figure that moved is shown, and is no failure.
    """
    from lalora_kit.book import drift as drifts

    reports = drifts.read_report(old), drifts.read_report(new)
    found = drifts.drift(*reports, tolerance)
    compared = len({run["name"] for report in reports for run in report["notebooks"]})
    typer.echo(drifts.table(found, compared, tolerance))
    if any(line.lost for line in found):
        raise typer.Exit(1)


@app.command()
def explorer(
    out: Annotated[Path, typer.Option(help="The page, one file.", dir_okay=False)] = Path("build/explorer.html"),
    grid: Annotated[Path | None, typer.Option(help="Another grid's file.", show_default="the shipped one")] = None,
) -> None:
    """Write one offline page whose sliders move through the shipped grid of runs: for a class without kernels."""
    from lalora_kit.book.explorer import explorer
    from lalora_kit.trial.grid import FILE

    count = explorer(out, grid or FILE)
    typer.echo(f"{count} runs; open {out}")


@app.command()
def pool(
    handed_in: Annotated[list[Path], typer.Argument(metavar="FILE_OR_DIRECTORY...", help="Executed notebooks.")],
    figure: Annotated[str, typer.Option(help="Which of the result's figures.")] = "accuracy",
    out: Annotated[Path, typer.Option(help="The page, one file.", dir_okay=False)] = Path("build/pool.html"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False,
) -> None:
    """Pool a class's executed notebooks, one seed a student, into one plot with its mean and interval."""
    from lalora_kit.base.files import make_folder
    from lalora_kit.figures.pool import pooled_figure
    from lalora_kit.trial.pool import pool

    pooled = pool(handed_in, figure)
    make_folder(out.parent)
    pooled_figure(pooled).write_html(out, include_plotlyjs=True)
    if as_json:
        typer.echo(json.dumps(pooled.to_json()))
        return
    for name, effect in pooled.effects.items():
        span = f" [{effect.low:.4g}, {effect.high:.4g}]" if math.isfinite(effect.low) else ""
        typer.echo(f"{name or pooled.notebook}: {figure} {effect.mean:.4g}{span}, seeds: {effect.seeds}")
    for sentence in pooled.left_out:
        typer.echo(f"left out: {sentence}", err=True)
    typer.echo(f"open {out}")
