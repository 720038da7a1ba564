"""`lalora site`: makes a site, runs it, looks it over."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from lalora_kit.cli.sites.options import Backbone, Csv, Images, Label, Place, Public, Task, Text, Unit, source_of, told
from lalora_kit.cli.waiting import begin, loading_torch

app = typer.Typer(add_completion=False, no_args_is_help=True, help="A site: its data stay where they are.")


@app.command("init")
def site_init(
    directory: Place,
    name: Annotated[str, typer.Option(help="As the server's terms name the site.", show_default=False)],
    epsilon: Annotated[float, typer.Option(help="The site's own limit, over all that is ever released.")],
    delta: Annotated[float, typer.Option(help="δ of that limit.")] = 1e-5,
    task: Task = None,
    images: Images = None,
    csv: Csv = None,
    text: Text = None,
    label: Label = None,
    unit: Unit = None,
    backbone: Backbone = None,
    public: Public = None,
    classes: Annotated[
        str | None, typer.Option(help="All classes of the terms, with commas, if some are not here.")
    ] = None,
    share: Annotated[str, typer.Option(help="1/2: every second sample, to play two sites with one data set.")] = "",
    relay_group: Annotated[str, typer.Option(help="Group of the SuperNode's user, who opens the socket.")] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Make a site: a directory that nobody else can enter, a limit on ε, a socket for the relay, and a key."""
    source = source_of(locals())
    if classes is not None:
        source["classes"] = classes
    begin(f"making the site {name} in {directory}")
    with loading_torch():
        from lalora_kit.runs.sites import setup as made

    setup = made.Setup(name, source, epsilon, delta, group=relay_group, share=share, device=device)
    found = made.init(directory, setup)
    if found.description:
        typer.echo(found.description)
    door = made.door_of(directory)
    typer.echo(f"{name}: {len(found.train)} training samples, classes {', '.join(found.classes)}; "
               f"ε at most {epsilon:g} at δ {delta:g}, over everything ever released")  # fmt: skip
    typer.echo(f"socket and key in {door}; send {door / 'key.pub'} to the server's administrator")


@app.command("run")
def site_run(
    directory: Place,
    terms: Annotated[Path | None, typer.Option(help="Answer the terms of this file alone, from now on.")] = None,
    connect: Annotated[
        str | None, typer.Option(help="Also start Flower's SuperNode, to HOST:PORT, as this very user: for a lesson.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="With --connect: no TLS.")] = False,
    certificate: Annotated[Path | None, typer.Option(help="With --connect: the server's CA certificate.")] = None,
    port: Annotated[int, typer.Option(help="With --connect: SuperNode's own port on this machine.")] = 9094,
) -> None:
    """Answer the relay at the site's socket, and tell what was asked and what it spent, until stopped."""
    begin(f"opening the site in {directory}")
    with loading_torch():
        from lalora_kit.runs.sites import door as doors
        from lalora_kit.runs.sites import setup as made
        from lalora_kit.runs.sites.app import QUIET

    setup = made.read_setup(directory)
    if terms is not None:
        agreed = made.only(directory, terms)
        s = agreed.settings
        typer.echo(
            f"answering {agreed.title} ({agreed.name}) alone: {agreed.method.name}, ε {s.epsilon:g} at δ {s.delta:g}, "
            f"{s.rounds} rounds of {s.local_steps} steps, sites {', '.join(agreed.sites)}"
        )
    found = made.open_site(directory, told=lambda line: typer.echo(plain(line)))
    socket = made.door_of(directory) / "socket"
    node = None
    signal.signal(signal.SIGTERM, lambda *given: sys.exit(0))  # so that the SuperNode ends with the site
    try:
        with doors.Door(found, socket, setup.group or None) as door:
            typer.echo(
                f"{setup.name} answers at {socket}; ε spent on these data {found.spent():.3f} of {setup.epsilon:g}"
            )
            words = node_words(socket, connect or "HOST:PORT", insecure, certificate, port)
            if connect is None:
                quiet = [f"{variable}={value}" for variable, value in QUIET.items()]
                typer.echo(f"the relay's user starts: {' '.join([*quiet, *words])}")
            else:
                node = start_node(words)
            door.serve_forever()
    finally:
        found.close()
        if node is not None:
            node.terminate()
            node.wait(20)


def plain(line: str) -> str:
    """What came over a network may hold what a terminal obeys; a backslash stands for it."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in line)


def node_words(socket: Path, address: str, insecure: bool, certificate: Path | None, port: int) -> list[str]:
    """The command that starts Flower's SuperNode before a site's socket."""
    key = socket.with_name("key")
    secure = ["--insecure"] if insecure else ["--root-certificates", str(certificate or "CA.crt")]
    known = [] if insecure or not key.exists() else ["--auth-supernode-private-key", str(key)]
    return ["flower-supernode", *secure, *known, "--superlink", address, "--port", str(port),
            "--node-config", f"socket='{socket}'"]  # fmt: skip


def start_node(words: list[str]) -> subprocess.Popen[bytes]:
    """A SuperNode as a child of the site: one user, so nothing keeps its apps from the data."""
    from lalora_kit.runs.sites.app import INSTALL, QUIET

    program = shutil.which(
        words[0], path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    )
    if program is None:
        raise ValueError(INSTALL)
    typer.echo("SuperNode and site are one user here, so an app could read the data: for a lesson, not for a hospital")
    return subprocess.Popen([program, *words[1:]], env={**os.environ, **QUIET}, stdin=subprocess.DEVNULL)


@app.command("check")
def site_check(directory: Place) -> None:
    """Tell what is not as it should be at a site, with the remedy; exit code 1 if anything is."""
    from lalora_kit.runs.sites.setup import check

    told(list(check(directory)))
