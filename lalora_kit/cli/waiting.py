"""Waiting: what a command says before its first result, on standard error, so that results stand alone elsewhere."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from lalora_kit.base.steps import step


def begin(line: str) -> None:
    """Say what is about to be done, if torch is still to be loaded, for which one waits a second or many."""
    if "torch" not in sys.modules:
        typer.echo(line, err=True)


def aside(line: str) -> None:
    """One line on standard error, above a progress bar where there is one."""
    bar = getattr(sys.modules.get("tqdm"), "tqdm", None)  # another thread may be loading it
    if bar is None:
        typer.echo(line, err=True)
    else:
        bar.write(line, file=sys.stderr)


@contextmanager
def loading() -> Iterator[None]:
    """What mostly imports: without the garbage collector, which finds nothing there.

    torch, timm and transformers take 3.7 s with it and 2.7 s without (medians of 3; 2 cores, AMD EPYC, torch 2.15).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def loading_torch() -> Iterator[None]:
    """The first imports of a command, torch among them, which is most of their time."""
    with loading(), step("loading torch"):
        yield
