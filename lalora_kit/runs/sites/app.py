"""The app that plain `flwr run` starts: written once, beside the terms, and a folder for what the server keeps.

DIR/pyproject.toml       Flower's, with the two components
DIR/terms.json           what every site is given to read, and agrees to
DIR/server.json          on which public data rounds are judged, and where the run is kept
DIR/lalora_app/          ServerApp: the kit's rounds; ClientApp: a relay to the site's socket
DIR-run/                 ledger, records, state and adapter, as any run's; env.sh and Flower's settings
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

import torch

from lalora_kit.base.files import dumps, read_object, write_atomically
from lalora_kit.methods import Method
from lalora_kit.runs.sites.terms import Terms, about
from lalora_kit.settings import Settings
from lalora_kit.tasks import Split, Task
from lalora_kit.tasks.own.reader import SHIPPED, reader
from lalora_kit.tasks.own.sources import OWN, load_source, placed

FLOWER = "1.42"  # the minor version that is asked for; what is used of it moves fast
INSTALL = "Flower is not installed: python -m pip install 'lalora-kit[flower]', in an environment of its own"
TEMPLATES = Path(__file__).parent / "templates"
REMEDY = "write the app anew with `lalora serve app`"
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}


@dataclass(frozen=True)
class Server:
    """What server.json says, and the terms beside it.

    `source` is public test data, as `lalora train` is told; where it is empty, `kind` ("image" or "text"), `backbone`,
    `classes` and `unit` say which model, and rounds are not judged.
    """

    terms: Terms
    out: str
    source: Mapping[str, str]
    kind: str = ""
    backbone: str = ""
    classes: tuple[str, ...] = ()
    unit: str = "sample"

    def task(self) -> Task:
        """The model with the public test data; what else a source holds is public too, and judged as well."""
        return public_task(self.source, self.kind, self.backbone, self.classes, self.unit)


def public_task(
    source: Mapping[str, str], kind: str = "", backbone: str = "", classes: tuple[str, ...] = (), unit: str = "sample"
) -> Task:
    """See `Server`; a model without test data has one blank sample, which nobody looks at."""
    if source:
        task = load_source(source)
        return replace(task, test=joined(task.train, task.test)) if source.keys() & OWN.keys() else task
    if kind not in SHIPPED or len(classes) < 2:
        raise ValueError(
            f"kind={kind!r}, classes={classes!r}: without test data the model must be named; give --kind image or "
            "text, and --classes with a comma between them; or --task, --images or --csv for public test data"
        )
    read = reader(backbone or None, kind, len(classes))
    if kind == "text":
        inputs = read.encode(["-"])
    else:
        inputs = {"x": torch.zeros(1, 1 if read.grey else 3, *read.size, dtype=torch.uint8)}
    units = None if unit == "sample" else torch.zeros(1, dtype=torch.int64)
    blank = Split(inputs, torch.zeros(1, dtype=torch.int64))
    return Task(
        name="public", backbone=read.module, targets=tuple(read.targets), head=read.head, test=blank, classes=classes,
        train=replace(blank, units=units), unit=unit, prepare=read.prepare,
    )  # fmt: skip


def joined(one: Split, other: Split) -> Split:
    """Both, for they are equally public."""
    inputs = {name: torch.cat([value, other.inputs[name]]) for name, value in one.inputs.items()}
    return Split(inputs, torch.cat([one.labels, other.labels]))


def write_app(
    directory: Path, server: Mapping[str, Any], sites: tuple[str, ...], method: Method, settings: Settings,
    title: str, quorum: int | None, timeout: float, address: str, certificate: Path | None,
) -> Server:  # fmt: skip
    """Write app, terms and a folder for the run; nothing is overwritten.

    Raises:
        ValueError: if `directory` is there already, or settings do not make terms.
    """
    if directory.exists() and any(directory.iterdir()):
        raise ValueError(
            f"{directory} is not empty; an app is written once, for its terms bind; name another directory"
        )
    home = Path(os.path.realpath(directory))
    out = home.with_name(f"{home.name}-run")
    kept = {**server, "source": placed(server.get("source") or {}), "out": str(out)}
    task = public_task(*(kept.get(name, default) for name, default in DEFAULTS.items()))
    settings = replace(settings, clients=len(sites))
    terms = Terms(
        title=title, sites=sites, quorum=quorum or settings.participants, timeout=timeout, settings=settings,
        method=method, key=os.urandom(16), about=about(task, method),
    )  # fmt: skip
    (home / "lalora_app").mkdir(parents=True)
    out.mkdir(mode=0o700, exist_ok=True)
    (out / "flwr").mkdir(exist_ok=True)
    words = {"home": str(home), "address": address, "flower": FLOWER, "flwr_home": str(out / "flwr"),
             "secure": "insecure = true" if certificate is None else f'root-certificates = "{certificate.resolve()}"',
             "quiet": "\n".join(f"export {name}={value}" for name, value in QUIET.items())}  # fmt: skip
    places = {"pyproject": home / "pyproject.toml", "client_app": home / "lalora_app" / "client_app.py",
              "server_app": home / "lalora_app" / "server_app.py", "config": out / "flwr" / "config.toml",
              "env": out / "env.sh"}  # fmt: skip
    for name, place in places.items():
        write_atomically(place, Template((TEMPLATES / f"{name}.txt").read_text("utf-8")).substitute(words))
    write_atomically(home / "lalora_app" / "__init__.py", "")
    write_atomically(home / "terms.json", terms.text())
    write_atomically(home / "server.json", dumps(kept))
    return read_server(home)


DEFAULTS: dict[str, Any] = {"source": {}, "kind": "", "backbone": "", "classes": (), "unit": "sample"}


def read_server(directory: Path) -> Server:
    """What `write_app` wrote."""
    try:
        values = read_object(directory / "server.json", REMEDY)
        terms = Terms.read((directory / "terms.json").read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{directory} holds no app: {error}; write one with `lalora serve app`") from error
    classes = tuple(values.pop("classes", ()))
    return Server(terms=terms, classes=classes, **values)


def check(directory: Path) -> Iterator[str]:
    """What is not as it should be at the server, each with its remedy; nothing where all is well."""
    server = read_server(directory)
    env = Path(server.out) / "env.sh"
    try:
        found = version("flwr") if find_spec("flwr") else ""
    except PackageNotFoundError:
        found = ""
    if not found:
        yield INSTALL
    elif not found.startswith(f"{FLOWER}."):
        yield f"flwr {found} is installed, and {FLOWER} is what this kit was tried with; install 'lalora-kit[flower]'"
    for name, value in QUIET.items():
        if os.environ.get(name) != value:
            yield f"{name} is not {value}, so Flower would call home; `. {env}`"
    config = (Path(server.out) / "flwr" / "config.toml").read_text("utf-8")
    if "insecure" in config:
        yield (
            "the connection is not encrypted, and anybody who reaches the port may take part; give the SuperLink a "
            "certificate, and write the app with --certificate ca.crt"
        )
    if server.terms.quorum < server.terms.settings.participants:
        yield (
            f"the quorum is {server.terms.quorum} of {server.terms.settings.participants}: a site that is late is left "
            "out of the mean, and its ε is spent all the same; raise the quorum if that is not wanted"
        )
    if not server.source:
        yield "there are no public test data, so no accuracy is told; give --task, --images or --csv if there are any"
    if Path(server.out).stat().st_mode & 0o077:
        yield f"{server.out} can be read by others: it holds every model and record; chmod 700 {server.out}"
