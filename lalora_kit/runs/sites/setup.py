"""Setup: a site's directory, made once, opened when it runs, and looked over for what is not as it should be.

SITE/site.json        name, where the data lie, the site's own limit, which terms it answers, who may relay
SITE/ledger.jsonl     every release ever made on these data, in whatever federation; never rewritten
SITE/runs/NNN/        one federation: terms, secret (until its last round), journal, replies, state
SITE-door/            the socket, and the key by which Flower knows the site; the relay's user may enter here alone
"""

from __future__ import annotations

import dataclasses
import grp
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lalora_kit.base.checks import require
from lalora_kit.base.files import dumps, read_object, write_atomically
from lalora_kit.runs.checkpoint import locked
from lalora_kit.runs.sites.door import let_in
from lalora_kit.runs.sites.places import Limit
from lalora_kit.runs.sites.site import Site, Told
from lalora_kit.runs.sites.terms import REMEDY as SENT
from lalora_kit.runs.sites.terms import Terms
from lalora_kit.tasks import Task
from lalora_kit.tasks.own.sources import PATHS, load_source, placed

ABOUT = "site.json"
REMEDY = "restore it from a copy, or make the site anew with `lalora site init` and keep its ledger.jsonl"


@dataclass(frozen=True)
class Setup:
    """What site.json says.

    Attributes:
        name: as terms name the site.
        source: where its data lie, as `lalora train` is told.
        epsilon, delta: the site's own limit, over all that is ever released on these data.
        terms: the name of the only terms that it answers; "" for any within its limit.
        group: the group whose members may open the socket; "" for the site's own user alone.
        share: "i/n" takes every n-th training sample from the i-th on, to play several sites with one data set.
        device: where it computes.
    """

    name: str
    source: Mapping[str, str]
    epsilon: float
    delta: float
    terms: str = ""
    group: str = ""
    share: str = ""
    device: str = "cpu"

    def task(self) -> Task:
        """The site's own data and model."""
        task = load_source(self.source)
        if not self.share:
            return task
        first, count = share_of(self.share)
        rows = torch.arange(first - 1, len(task.train), count)
        require("share", self.share, len(rows) > 0, f"there are {len(task.train)} samples", "take a larger share")
        return dataclasses.replace(task, train=task.train.select(rows))


def share_of(text: str) -> tuple[int, int]:
    """`2/3` as 2 and 3."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    holds = found is not None and 1 <= int(found[1]) <= int(found[2])
    require("share", text, holds, "it is the i-th of n shares", "give 1/2 to one site and 2/2 to the other")
    assert found is not None
    return int(found[1]), int(found[2])


def door_of(directory: Path) -> Path:
    """Where the site's socket lies: beside its directory, which a relay cannot enter."""
    place = Path(os.path.realpath(directory))
    return place.with_name(f"{place.name}-door")


def init(directory: Path, setup: Setup) -> Task:
    """Make a site's directory, its door and its key; the data are read once, so that what is wrong is told now.

    Raises:
        ValueError: if there is a site already, the data cannot be used, or the group is not known.
    """
    if (directory / ABOUT).exists():
        raise ValueError(f"{directory} is a site already; its ledger must not be lost; name another directory")
    Limit(setup.epsilon, setup.delta)
    setup = dataclasses.replace(setup, source=placed(setup.source))
    if setup.group:
        group_id(setup.group)
    task = setup.task()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    door = door_of(directory)
    door.mkdir(mode=0o700, exist_ok=True)
    let_in(door, setup.group or None)
    make_key(door / "key", setup.group)
    write_atomically(directory / ABOUT, dumps(asdict(setup)), mode=0o600)
    return task


def make_key(path: Path, group: str) -> None:
    """A key pair by which Flower's server knows the site's node; left out where there is no ssh-keygen."""
    if path.exists() or shutil.which("ssh-keygen") is None:
        return
    words = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    if group:
        let_in(path, group)


def group_id(name: str) -> int:
    """A group's number; `ValueError` if there is none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise ValueError(f"group {name!r} is not known on this machine; make it for the relay's user") from error


def read_setup(directory: Path) -> Setup:
    """What `init` wrote."""
    try:
        values: dict[str, Any] = read_object(directory / ABOUT, REMEDY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{directory} is no site: it has no {ABOUT}; make one with `lalora site init`") from error
    names = {field.name for field in dataclasses.fields(Setup)}
    if values.keys() != names:
        raise ValueError(f"{directory / ABOUT} is damaged: names differ, {sorted(values.keys() ^ names)}; {REMEDY}")
    return Setup(**values)


def only(directory: Path, file: Path) -> Terms:
    """Let the site answer the terms of a file alone, and say which they are.

    Raises:
        ValueError: if these are no terms, the site is none of theirs, or another process runs it.
    """
    setup = read_setup(directory)
    try:
        terms = Terms.read(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the terms cannot be read from {file}: {error}; {SENT}") from error
    if setup.name not in terms.sites:
        raise ValueError(
            f"site {setup.name} is none of the terms' sites ({', '.join(terms.sites):.200}); make the site under a "
            "name of theirs, or have the server's administrator name it"
        )
    lock = locked(directory)
    try:
        write_atomically(directory / ABOUT, dumps(asdict(dataclasses.replace(setup, terms=terms.name))), mode=0o600)
    finally:
        lock.release()
    return terms


def open_site(directory: Path, told: Told) -> Site:
    """The site of a directory, its data loaded; `ValueError` if another process has it."""
    setup = read_setup(directory)
    limit = Limit(setup.epsilon, setup.delta)
    return Site(directory, setup.name, setup.task(), limit, only=setup.terms, device=setup.device, told=told)


def check(directory: Path) -> Iterator[str]:
    """What is not as it should be at a site, each with its remedy; nothing where all is well."""
    setup = read_setup(directory)
    if mode(directory) & 0o077:
        yield f"{directory} can be entered by others (mode {mode(directory):o}); chmod 700 {directory}"
    for name in PATHS:
        place = Path(setup.source[name]) if name in setup.source and name != "public" else None
        if place is not None and open_to_others(place):
            yield f"the data at {place} can be read by others; chmod -R go= {place}, or move it below {directory}"
    if not setup.group:
        yield (
            "relay and site are one user, so an app that comes over the network could read the data; run the SuperNode "
            "as a user of its own, and name its group: `lalora site init ... --relay-group GROUP`"
        )
    elif os.getgid() == group_id(setup.group) or group_id(setup.group) in os.getgroups():
        yield f"the site's own user is in the relay's group {setup.group}; use a group of the relay alone"
    if not setup.terms:
        yield (
            "the site answers any terms within its limit, so a stranger could spend its ε; once you have read the "
            f"server's terms.json, `lalora site run {directory} --terms FILE` answers these alone"
        )
    if not (door_of(directory) / "key").exists():
        yield "there is no key, so the server cannot know this site; ssh-keygen -t ecdsa -b 384, and register key.pub"


def mode(path: Path) -> int:
    """A file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(path: Path) -> bool:
    """Whether somebody else can come to a file: it may be read, and each folder above may be entered."""
    if not path.exists() or not mode(path) & (0o005 if path.is_dir() else 0o004):
        return False
    return all(mode(folder) & 0o001 for folder in path.resolve().parents)
