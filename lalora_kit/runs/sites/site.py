"""A site: holds its data, its secret and its ledger, and answers one thing, a round's demand with a noised upload.

Order of events: the demand's hash is in the journal, then the round's releases are in the ledger, then noise is drawn,
then the reply is on disk, then it is sent. So a crash at any instant leaves more recorded than released, and no two
replies ever carry one noise: the same demand gets the same bytes again, and any other for that round is refused. (In
one process a replay costs nothing, because nobody can choose another adapter for it. A server can, and the difference
of two answers with one noise is the difference of two clipped gradients.)

A site is client 0 of every plan and in every line of its ledger, whatever number a server gives it: all federations on
the same data compose. What travels to the server is said in words of `Refused`; any other error stays here.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from lalora_kit.base.files import append_line, read_lines, write_atomically
from lalora_kit.base.threads import torch_threads
from lalora_kit.engine.adapters import Adapter, unstack
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import Run, Side, charge
from lalora_kit.local import Step
from lalora_kit.plan import make_plan
from lalora_kit.privacy import BudgetExceeded
from lalora_kit.privacy.mechanism import generator_of
from lalora_kit.runs.checkpoint import locked
from lalora_kit.runs.sites.places import JOURNAL, Limit, Place, Refused, begin, federation, settle
from lalora_kit.runs.sites.terms import Terms, about, check_about
from lalora_kit.runs.sites.travels import at_place
from lalora_kit.runs.sites.wire import SPARE, pack, unpack
from lalora_kit.runs.spent import open_account
from lalora_kit.tasks import Task

Told = Callable[[str], object]


class Agreed(NamedTuple):
    """Terms that the site follows, and what it follows them with."""

    terms: Terms
    side: Side
    place: Place
    sent: Adapter  # with the shapes of what a round begins from


class Site:
    """Answers a server. Everything that it keeps lies in `directory`, which nobody else may read.

    Args:
        directory: for ledger, secrets, journal and replies; made with mode 0700.
        name: as the terms name the site.
        task: its own data; the training split alone is used.
        limit: its own ε and δ.
        only: the name of the only terms that it answers, or "" for any within its limit.
        device: where it computes.
        told: called with a line for the site's own people.
    """

    def __init__(
        self, directory: Path, name: str, task: Task, limit: Limit, *, only: str = "", device: str = "cpu",
        told: Told = lambda line: None,
    ) -> None:  # fmt: skip
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self.directory, self.name, self.task, self.limit = directory, name, task, limit
        self.only, self.device, self.told = only, device, told
        self.held: FileLock = locked(directory)
        self.account = open_account(directory)
        self.agreed: dict[str, Agreed] = {}
        self.turn = threading.Lock()

    def close(self) -> None:
        """Let another process have the directory."""
        self.held.release()

    def hello(self, text: str) -> dict[str, Any]:
        """Agree to terms, or refuse; what a server may know: size, rate, σ, what was spent, and the limit."""
        with self.turn:
            terms, side, *_ = self.agree(text)
            return {"site": self.name, "terms": terms.name, "limit": self.limit.epsilon, **self.facts(side.run, terms)}

    def most(self, text: str) -> int:
        """The most bytes that a demand under these terms can have."""
        with self.turn:
            return 4 * sum(value.numel() for value in self.agree(text).sent.tensors.values()) + SPARE

    def answer(self, text: str, place: int, t: int, demand: bytes) -> bytes:
        """The noised upload of round t, or `Refused`."""
        with self.turn:
            agreed = self.agree(text)
            terms = agreed.terms
            if type(place) is not int or type(t) is not int or not 1 <= t <= terms.settings.rounds:
                raise Refused(f"round {t!r:.20} of client {place!r:.20} is none of these terms; ask for the next round")
            if place >= len(terms.sites) or place < 0 or terms.sites[place] != self.name:
                raise Refused(f"client {place} of these terms is not this site, {self.name}; ask the one that it is")
            if place not in terms.schedule[t - 1]:
                raise Refused(f"{self.name} does not join round {t} by these terms; ask those who do")
            return self.answered(agreed, t, demand)

    def answered(self, agreed: Agreed, t: int, demand: bytes) -> bytes:
        """The reply on disk, or a new one, once its demand is known to be the first for its round."""
        terms, side, home, like = agreed
        run, asked = side.run, {line["round"]: line["demand"] for line in read_lines(home.folder / JOURNAL)}
        name = hashlib.sha256(f"{terms.name} {terms.sites.index(self.name)} {t} ".encode() + demand).hexdigest()
        kept = home.reply(t)
        if asked.get(t, name) != name:
            self.told(f"REFUSED: round {t} was asked for again with another adapter")
            raise Refused(
                f"round {t} was asked for before with another adapter; two answers with one noise would tell the data; "
                "resume the server from its newest state, or begin a federation under another title"
            )
        if t in asked and kept.exists():
            self.told(f"round {t}: asked again, the same bytes sent again; nothing spent")
            settle(home, terms, run.plan, t, self.directory)
            return kept.read_bytes()
        if any(done > t for done in asked):
            raise Refused(f"round {t} is past: a later one was asked for; resume the server from its newest state")
        try:
            tensors, _, _ = unpack(demand, like, sorted(like.tensors))
        except ValueError as error:
            raise Refused(f"the demand for round {t} is not one: {error}") from error
        if t not in asked:
            append_line(home.folder / JOURNAL, {"round": t, "demand": name})
        return self.computed(terms, side, home, t, Adapter(tensors, like.scale))

    def computed(self, terms: Terms, side: Side, home: Place, t: int, server: Adapter) -> bytes:
        """Charge, train, keep; the reply's facts are made of noised values and of public numbers."""
        run, settings = side.run, side.run.settings
        with torch_threads(run.plan.threads):
            try:
                charge(run, t)  # on record before any noise is drawn
            except BudgetExceeded as error:
                self.told(f"REFUSED: {error}")
                raise Refused(f"{self.name}: {error}") from error
            server = server.map(lambda value: value.to(run.engine.device))
            local, steps = side.local_round(server, t)
        [mine] = unstack(local, 1)
        keys = server.keys(run.method.trained_in(t, settings.local_steps))
        facts = {"site": self.name, "round": t, **self.facts(run, terms)}
        reply = pack(mine, keys, facts, norms_of(steps))
        write_atomically(home.reply(t), reply, mode=0o600)
        settle(home, terms, run.plan, t, self.directory)
        self.told(f"round {t}: {len(reply)} bytes for {terms.title}; ε spent on these data {self.spent():.3f} of "
                  f"{self.limit.epsilon:g}")  # fmt: skip
        return reply

    def facts(self, run: Run, terms: Terms) -> dict[str, Any]:
        """What is public of a site: how many units it holds, how often it draws, how much noise; other releases."""
        plan = run.plan
        others = self.account.ledger.composition(0, plan.run, plan.shard, others_only=True)
        return {"size": plan.size(0), "rate": plan.rates[0], "sigma": plan.sigmas[0], "others": others,
                "epsilon": self.account.ledger.epsilon(terms.settings.delta, 0, plan.run, plan.shard)}  # fmt: skip

    def spent(self) -> float:
        """ε at the site's own δ, of all that was ever released on these data."""
        return self.account.ledger.epsilon(self.limit.delta)

    def agree(self, text: str) -> Agreed:
        """The site's side under these terms, whose secret is drawn and kept the first time."""
        try:
            terms = Terms.read(text)
            if terms.name in self.agreed:
                return self.agreed[terms.name]
            if self.only and terms.name != self.only:
                raise ValueError(f"{self.name} answers terms {self.only} alone, and these are {terms.name}")
            if self.name not in terms.sites:
                raise ValueError(f"{self.name} is none of the terms' sites ({', '.join(terms.sites):.200})")
        except ValueError as error:  # made of the terms alone
            raise Refused(str(error)) from error
        try:
            check_about(terms, about(self.task, terms.method))
        except ValueError as error:  # which classes there are here is no business of a stranger's
            self.told(f"REFUSED: {error}")
            raise Refused(
                f"{self.name} has another model or other classes than the terms; its own log says which"
            ) from error
        settings, method = self.limit.bounded(terms, self.device), at_place(terms.method, terms.sites.index(self.name))
        home, known = federation(self.directory, terms)
        if not known:
            raise Refused(
                f"{self.name} agreed to other terms under the title {terms.title!r}; the same rounds under other terms "
                "would be others; give the federation a title of its own"
            )
        state = home.state(settings)
        try:
            plan = make_plan(self.task, method, settings, self.account.ledger, state)
        except BudgetExceeded as error:
            self.told(f"REFUSED: {error}")
            raise Refused(f"{self.name}: {error}") from error
        if state is None:
            begin(home, self.task, terms, settings, plan, self.directory)
        plan = replace(plan, schedule=((0,),) * terms.settings.rounds)
        engine = Engine(self.task, settings.scale, device=self.device, precision=settings.precision,
                        max_samples=plan.max_samples)  # fmt: skip
        run = Run(self.task, method, settings, plan, engine, self.account.ledger, None)
        self.told(f"agreed to {terms.title} ({terms.name}): at most {terms.joins} rounds, σ {plan.sigmas[0]:.3f}, "
                  f"ε at most {settings.epsilon:g} at δ {settings.delta:g}")  # fmt: skip
        sent = method.opens(plan.start, 1, generator_of(terms.first))
        return self.agreed.setdefault(terms.name, Agreed(terms, Side(run), home, sent))


def norms_of(steps: list[Step]) -> list[float]:
    """L2 norms of the noised gradients, step by step, of each kind that trained; nothing else of a step travels."""
    return [float(step.values[kind]) for step in steps for kind in sorted(step.values.keys() & {"A", "B", "head"})]
