"""The command line: the one entry point, and how what goes wrong is told; each group of commands has its own file.

It parses, calls the library and prints. Bad input ends with exit code 2 and one sentence; heavy imports happen
inside the commands, so that `lalora --help` is quick.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from lalora_kit.base.machine import ran_out
from lalora_kit.base.steps import telling
from lalora_kit.cli import lists as cli_lists
from lalora_kit.cli import own as cli_own
from lalora_kit.cli import research as cli_research
from lalora_kit.cli import streams
from lalora_kit.cli import tools as cli_tools
from lalora_kit.cli import train as cli_train
from lalora_kit.cli import trust as cli_trust
from lalora_kit.cli.sites import serve as cli_serve
from lalora_kit.cli.sites import site as cli_site
from lalora_kit.cli.waiting import aside

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(cli_train.app)
app.add_typer(cli_own.app)
app.add_typer(cli_trust.app)
app.add_typer(cli_research.app)
app.add_typer(cli_tools.app)
app.add_typer(cli_site.app, name="site")
app.add_typer(cli_serve.app, name="serve")
app.add_typer(cli_lists.app)

EXIT_MACHINE, EXIT_BAD_INPUT = 1, 2
MOST_SHOWN = 300  # letters of one word in a message


def told_version(asked: bool) -> None:
    """Print the version, and nothing else."""
    if asked:
        typer.echo(f"lalora-kit {version_of('lalora-kit')}")
        raise typer.Exit


@app.callback()
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Tell the version, and leave.", is_eager=True, callback=told_version)
    ] = False,
) -> None:
    """Private federated LoRA fine-tuning, built to be taught with."""
    context.with_resource(telling(aside))


def main() -> None:
    """Entry point: turns bad input into one sentence and an exit code; a reader who left ends it in silence."""
    streams.ready()
    code = 0
    try:
        try:
            code = answer(sys.argv[1:])
        finally:
            streams.settle()
    except BrokenPipeError:  # `lalora train | head -1`
        code = EXIT_MACHINE
    except OSError as error:
        code = told(f"{error}: what was to be printed could not be", EXIT_MACHINE)
    sys.exit(code)


def answer(arguments: list[str]) -> int:
    """Run a command line, and return its exit code; what goes wrong is told."""
    usage_error: type[Exception] = typer.BadParameter.__mro__[1]  # typer's own, whichever click it carries
    try:
        code = app(cli_research.spread(arguments), standalone_mode=False)
    except usage_error as error:
        return told(error.format_message())  # type: ignore[attr-defined]
    except ValueError as error:
        return told(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        kept = "every finished round is kept where --out was given; mend the cause, and --resume"
        return told(f"{error}; {kept if 'train' in arguments[:1] else 'mend the cause, and call again'}", EXIT_MACHINE)
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            return own_fault(error)
        return told(
            "memory ran out; every finished round is kept where --out was given; close other programs and --resume, or "
            "start anew with --max-samples 64 or less: results are the same but for rounding",
            EXIT_MACHINE,
        )
    except KeyboardInterrupt:
        typer.echo("stopped; every finished round is kept where --out was given", err=True)
        return 130
    except Exception as error:
        return own_fault(error)
    return code if isinstance(code, int) else 0


def own_fault(error: Exception) -> int:
    """The exit code for an error out of a method of one's own, which is told; any other is a fault of the kit's."""
    from lalora_kit.methods.own import blamed

    sentence = blamed(error)
    if sentence is None:
        raise error
    return told(sentence)


def told(message: str, code: int = EXIT_BAD_INPUT) -> int:
    """One sentence on standard error, very long values cut; nothing where help was printed instead of one."""
    if message:
        words = (word if len(word) <= MOST_SHOWN else f"{word[:60]}...{word[-20:]}" for word in message.split())
        typer.echo(f"lalora: {' '.join(words)}", err=True)
    return code
