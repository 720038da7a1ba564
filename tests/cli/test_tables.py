"""Tables: drawn on a terminal, plain text in a pipe; a line on each method; defaults as one would type them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lalora_kit.cli import tables
from lalora_kit.cli.app import app
from lalora_kit.cli.train import default_text
from lalora_kit.methods import EVERY
from lalora_kit.methods.controls import CONTROLS
from lalora_kit.tasks import TASKS


def on_a_terminal(*arguments: str) -> str:
    """What a command prints where standard output is a pseudo-terminal."""
    ours, its = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    command = [sys.executable, "-m", "lalora_kit", *arguments]
    with subprocess.Popen(command, stdout=its, stderr=subprocess.DEVNULL, env=environment) as process:
        os.close(its)
        parts = []
        while True:
            try:
                parts.append(os.read(ours, 65536))
            except OSError:  # Linux says so when the other end has gone
                break
            if not parts[-1]:
                break
    os.close(ours)
    assert process.returncode == 0
    return b"".join(parts).decode()


def piped(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_methods_say_what_they_do_in_a_line():
    for method in (*EVERY.values(), *CONTROLS.values()):
        does = method.about.does
        assert 15 <= len(does) <= 100 and "arXiv" not in does and "\n" not in does, method.name
    lines = piped("methods").splitlines()
    assert len(lines) == 1 + len(EVERY) + 1 and "+tangent" in lines[-1]
    for line, method in zip(lines[1:-1], EVERY.values(), strict=True):
        assert line.startswith(method.name) and method.about.does in line and line.endswith(method.paper)


def test_a_pipe_gets_plain_text_and_a_terminal_a_drawn_table():
    plain, drawn = piped("methods"), on_a_terminal("methods")
    assert "│" not in plain and "\x1b" not in plain
    assert "│" in drawn and all(name in drawn for name in EVERY)
    assert all(len(line) <= 100 for line in drawn.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines())


@pytest.mark.parametrize("command", ["tasks", "presets"])
def test_lists_are_plain_in_a_pipe(command):
    said = piped(command)
    assert "│" not in said and (command != "tasks" or all(name in said for name in TASKS))


def test_plan_says_the_same_in_both(monkeypatch, capsys):
    from lalora_kit.cli.own import plan

    arguments = ("plan", "--sizes", "320,150", "--parameters", "1000")
    plain = piped(*arguments)
    monkeypatch.setattr(tables, "drawn", lambda head, rows, numbers: print("DRAWN", head, rows))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    plan(sizes="320,150", parameters=1000)
    said = capsys.readouterr().out
    assert said.startswith("DRAWN") and plain.splitlines()[-1] == said.splitlines()[-1]
    assert all(cell in said for cell in plain.splitlines()[1].split())


def test_a_cell_is_no_markup(capsys):
    tables.drawn(["a"], [["[bold]x[/bold]"]], [])
    assert "[bold]x[/bold]" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "told"), [(3.0, "3"), (1e-5, "1e-5"), (0.5, "0.5"), ("sgd", "sgd"), (8, "8")])
def test_defaults_are_told_as_one_types_them(value, told):
    assert default_text(value) == told


def test_help_tells_defaults_without_brackets():
    said = " ".join(piped("train", "--help").replace("│", "").split())
    assert "Default: 3." in said and "Default: 1e-5." in said and "Default: la-lora." in said
    assert "[default: (" not in said


def test_the_version_is_told():
    from lalora_kit import __version__

    assert piped("--version") == f"lalora-kit {__version__}\n"
