"""Flower as the transport: its grid carries what the rounds ask for, and nothing of its strategies is used.

The one file that imports `flwr`, and of it `ConfigRecord`, `Context`, `Message`, `RecordDict` and `Grid` alone. Sites
are addressed by name, for a node that comes back may have another number.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid

from lalora_kit.runs.sites.app import read_server
from lalora_kit.runs.sites.serving import Facts, Told, serve
from lalora_kit.runs.sites.terms import Terms
from lalora_kit.runs.sites.wire import is_sound

LOOK, PAUSE, AGAIN = 2.0, 0.1, 3.0  # seconds between looks for new nodes, between pulls, before asking again


class OverFlower:
    """Sites behind Flower's nodes: each node is asked for its site's name, and then asked by that name."""

    def __init__(self, grid: Grid, told: Told) -> None:
        self.grid, self.told = grid, told
        self.node: dict[str, int] = {}  # of each site that has said hello and whose node is there
        self.facts: dict[str, Facts] = {}
        self.greeted: dict[int, float] = {}  # nodes, and when each was asked for its name
        self.hellos: dict[str, int] = {}
        self.looked = 0.0

    def hello(self, terms: Terms, wait: bool) -> Mapping[str, Facts]:
        """Until all sites have agreed; without `wait`, of those that answer within a while."""
        until = time.monotonic() + (float("inf") if wait else 5 * LOOK)
        told = list[str]()
        while (missing := [name for name in terms.sites if name not in self.facts]) and time.monotonic() < until:
            if missing != told:
                told = missing
                self.told(f"waiting for {', '.join(missing)}")
            self.look(terms)
            time.sleep(PAUSE)
        return {name: facts for name, facts in self.facts.items() if name in terms.sites}

    def look(self, terms: Terms) -> None:
        """Ask nodes that are new, or were silent, for their site; take the answers that have come."""
        now = time.monotonic()
        if now - self.looked > LOOK:
            self.looked = now
            there = set(self.grid.get_node_ids())
            self.node = {name: node for name, node in self.node.items() if node in there}
            self.greeted = {node: at for node, at in self.greeted.items() if node in there}  # who is back is new
            for node in there - set(self.node.values()):
                if now - self.greeted.get(node, -99.0) > 30 * LOOK:
                    self.greeted[node] = now
                    self.hellos[self.send(node, "query", {"terms": terms.text()}, terms)] = node
        for reply in self.grid.pull_messages(list(self.hellos)) if self.hellos else ():
            node = self.hellos.pop(reply.metadata.reply_to_message_id)
            said = told_in(reply)
            name = str(said.get("site"))
            if is_sound(said) and name in terms.sites and self.node.get(name, node) == node:
                self.node[name], self.facts[name] = node, said
                self.told(
                    f"{name} is there: {said['size']} units, σ {said['sigma']:.3f}, ε so far {said['epsilon']:.3f}"
                )
            else:
                why = f"{name!r:.60} is at another node" if name in self.node else said.get("refused", said.get("away"))
                self.greeted[node] = now - 28 * LOOK  # it may come up in a moment
                self.told(f"node {node} has not agreed: {str(why)[:300]!r}")

    def send(self, node: int, kind: str, asked: dict[str, Any], terms: Terms) -> str:
        """One message; its name."""
        message = Message(RecordDict({"ask": ConfigRecord(asked)}), node, kind, ttl=terms.timeout + 3600.0)
        [name] = self.grid.push_messages([message])
        return name

    def ask(self, terms: Terms, t: int, names: Mapping[str, int], demand: bytes) -> Iterator[tuple[str, bytes]]:
        """Replies as they come; ends when all are there, or late ones are missing and the quorum is there."""
        started, again = time.monotonic(), dict.fromkeys(names, 0.0)
        sent: dict[str, tuple[str, int]] = {}
        open_, got = set(names), 0
        while open_ and not (got >= terms.quorum and time.monotonic() - started > terms.timeout):
            self.look(terms)
            sent = {one: (name, node) for one, (name, node) in sent.items() if self.node.get(name) == node}
            for name in open_ - {name for name, _ in sent.values()}:
                if name in self.node and time.monotonic() >= again[name]:
                    asked = {"terms": terms.text(), "client": names[name], "round": t, "demand": demand}
                    sent[self.send(self.node[name], "train", asked, terms)] = name, self.node[name]
            for reply in self.grid.pull_messages(list(sent)) if sent else ():
                name, _ = sent.pop(reply.metadata.reply_to_message_id)
                said = told_in(reply)
                if "reply" in said:
                    open_.discard(name)
                    got += 1
                    yield name, said["reply"]
                else:
                    again[name] = time.monotonic() + AGAIN
                    self.told(
                        f"round {t}: {name} has not answered: {str(said.get('away', said.get('refused')))[:300]!r}"
                    )
                    open_ -= {name} if "refused" in said else set()
            time.sleep(PAUSE)


def told_in(reply: Message) -> Facts:
    """What a relay says: a site's facts, a reply's bytes, `refused` by the site, or `away` if nobody answered."""
    try:
        if reply.has_error():
            return {"away": str(reply.error.reason)[:200]}
        record = reply.content["said"]
        said = json.loads(str(record["json"]))
        return {**said, "reply": record["reply"]} if "reply" in record and isinstance(said, dict) else dict(said)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        return {"away": f"the relay said what cannot be read ({type(error).__name__})"}


def main(grid: Grid, context: Context) -> None:
    """What the app's ServerApp does: the rounds, kept in the directory that `lalora serve app` named."""
    server = read_server(Path(str(context.run_config["home"])))
    terms = server.terms

    def told(line: str) -> None:
        print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)

    for r in serve(server.task(), terms, Path(server.out), OverFlower(grid, told), told):
        tested = f"accuracy {r.accuracy:.4f}  loss {r.loss:.4f}  " if r.evaluated else ""
        told(f"round {r.round}/{terms.settings.rounds}  {tested}ε {r.epsilon:.3f}  {len(r.participants)} sites  "
             f"{r.seconds:.2f} s")  # fmt: skip
    told(f"done; kept in {server.out}")
