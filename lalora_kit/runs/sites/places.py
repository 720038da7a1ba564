"""Places: what a site keeps of a federation, among its runs: terms, secret, journal, replies; and its own limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lalora_kit.base.checks import positive
from lalora_kit.base.files import dumps, read_lines, read_object, write_atomically
from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.plan import Plan
from lalora_kit.records import RunState
from lalora_kit.runs.marks import LEDGER
from lalora_kit.runs.sites.terms import Terms
from lalora_kit.runs.statefile import SECRET, forget, ledger_mark, opened, read_secret, write_state
from lalora_kit.settings import EPSILON_FLOOR, Settings
from lalora_kit.tasks import Task

TERMS, JOURNAL = "terms.json", "asked.jsonl"
REMEDY = "restore it from a copy; without it the site cannot tell to what it agreed"


class Refused(ValueError):
    """The site does not answer this; the sentence is for the server, so it says nothing that depends on a sample."""


@dataclass(frozen=True)
class Limit:
    """The site's own: ε at δ over everything that is ever released on these data, whatever terms say."""

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        positive("epsilon", self.epsilon, "the limit of a site is what it will ever spend: 0.1 to 10", EPSILON_FLOOR)
        positive("delta", self.delta, "1e-5 is usual", high=0.5)

    def bounded(self, terms: Terms, device: str) -> Settings:
        """The settings of the site's own plan, in which it is the only client: the tighter of limit and terms."""
        given = terms.settings
        return replace(
            given, epsilon=min(self.epsilon, given.epsilon), delta=min(self.delta, given.delta), clients=1,
            participation=1.0, rounds=terms.joins, device=device, threads=None, max_samples=None, teaching=False,
        )  # fmt: skip


class Place(NamedTuple):
    """One federation's folder; `begun` says whether the site has agreed to its terms."""

    folder: Path
    begun: bool

    def reply(self, t: int) -> Path:
        """Where the reply of round t is kept."""
        return self.folder / f"reply-{t:06d}.safetensors"

    def state(self, settings: Settings) -> RunState | None:
        """What the site's plan is recognised by, from the newest state; None before the first agreement."""
        if not self.begun:
            return None
        newest = sorted((self.folder / "state").glob("round-*.safetensors"))[-1]
        values, named = opened(newest)
        ended = values["round"] == settings.rounds or not (self.folder / SECRET).exists()
        kept: dict[Key, Tensor] = {
            (name.split("/", 1)[0], name.split("/", 1)[1]): value for name, value in named.items()
        }
        return RunState(
            values["round"], Adapter(kept, settings.scale), values["identity"], values["machine"],
            read_secret(self.folder, settings, ended=ended),
            tuple((done, name) for done, name in values["moves"]), values["told"],
        )  # fmt: skip


def federation(directory: Path, terms: Terms) -> tuple[Place, bool]:
    """The folder of these terms, an old or a new one, and whether no other terms of that title were agreed to."""
    runs = directory / "runs"
    for path in sorted(runs.glob(f"*/{TERMS}")):
        title = read_object(path, REMEDY)["title"]
        if title == terms.title:
            same = Terms.read(path.read_text("utf-8")).name == terms.name
            return Place(path.parent, True), same
    taken = [int(path.name) for path in runs.glob("*") if path.name.isdecimal() and (path / TERMS).exists()]
    return Place(runs / f"{max(taken, default=0) + 1:03d}", False), True


def begin(home: Place, task: Task, terms: Terms, settings: Settings, plan: Plan, directory: Path) -> None:
    """Write down what a restart and a statement need, before anything is released."""
    home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(home.folder / SECRET, dumps({"secret": plan.secret.hex()}), mode=0o600)
    kept: Mapping[str, Any] = {
        "task": task.name, "source": dict(task.source), "method": terms.method.name, "settings": settings.to_json(),
    }  # fmt: skip
    write_atomically(home.folder / "settings.json", dumps(kept))
    write_state(home.folder, plan.state(0, plan.start), None, ledger_mark(directory / LEDGER))
    write_atomically(home.folder / TERMS, terms.text())  # last: with it the rest is there


def settle(home: Place, terms: Terms, plan: Plan, t: int, directory: Path) -> None:
    """How far the site has come once a reply is on disk, for a restart; after its last round the secret goes."""
    done = len(read_lines(home.folder / JOURNAL))
    write_state(home.folder, plan.state(done, plan.start), None, ledger_mark(directory / LEDGER))
    if done == terms.joins or t == terms.settings.rounds:
        forget(home.folder)
