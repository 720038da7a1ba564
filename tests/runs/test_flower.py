"""Over Flower, all the way: equal to the simulator bit for bit; a SuperLink killed in the middle; late and lost sites.

Skipped where the extra `flower` is not installed; `.ci/run` installs it into an environment of its own.
"""

from __future__ import annotations

import json
import runpy
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lalora_kit.privacy import Ledger
from lalora_kit.privacy.release import read
from lalora_kit.runs.saved import load
from lalora_kit.runs.sites.app import TEMPLATES, check
from lalora_kit.runs.sites.door import Door
from lalora_kit.runs.sites.serving import serve
from lalora_kit.runs.sites.setup import make_key
from lalora_kit.settings import Settings
from lalora_kit.tasks import load_task
from tests.federation import NAMES, simulated, sites_in, terms_for
from tests.flower import Flower, free_port
from tests.tiny import FAST, identical, linear_task

pytestmark = pytest.mark.skipif(
    find_spec("flwr") is None, reason="flwr is not installed: no round went over Flower ('.[flower]')"
)
MOST = 120  # seconds for the job, which takes half a minute on two quiet cores
SETTINGS = Settings(epsilon=3.0, clients=2, rounds=2, local_steps=2)


def is_the_simulators(flower: Flower, releases: int) -> None:
    """Records and adapter are the simulator's, and each site has so many lines on record."""
    saved = load(flower.out)
    expected = simulated(flower.task, flower.server.terms, flower.sites, Ledger())
    assert identical(saved.state.adapter, expected[-1].adapter)
    for line, record in zip(saved.rounds, expected, strict=True):
        assert {**line, "seconds": 0} == {**json.loads(json.dumps(record.to_json())), "seconds": 0}
    assert [len(read(flower.home / name / "ledger.jsonl")) for name in NAMES[:2]] == [releases, releases]


def test_two_sites_over_flower_are_the_simulator_bit_for_bit(tmp_path):
    with Flower(tmp_path, load_task("digits"), SETTINGS) as flower:
        began = time.monotonic()
        job = flower.run()
        flower.wait(lambda: f"done; kept in {flower.out}" in flower.said("job"), "job", job, MOST)
        print(f"two rounds over Flower: {time.monotonic() - began:.1f} s")
    is_the_simulators(flower, 4)
    assert not any("Flower is not installed" in line or "was tried with" in line for line in check(tmp_path / "app"))


#: What every node writes that Flower lets in, and what one may write beside it: a node says that it is connected after
#: a failed try alone, and one that asks every three seconds may not notice that its SuperLink was gone for two.
TAKES_PART, MAY_SAY = ("SuperNode ID", "[RUN", "Receiving", "Sending"), ("Connection successful",)


def is_turned_away(flower: Flower, home: Path, name: str) -> None:
    """A node before north's socket, whose key is registered nowhere, tries to come in; it ends, and takes no part."""
    home.mkdir(exist_ok=True)
    make_key(home / "key", "")  # the same one at every try
    node = flower.start(
        name, "flower-supernode", "--root-certificates", str(flower.home / "ca.crt"),
        "--auth-supernode-private-key", str(home / "key"), "--superlink", f"127.0.0.1:{flower.port}", "--port",
        str(free_port()), "--node-config", f"socket='{flower.doors / 'north' / 'socket'}'",
    )  # fmt: skip
    flower.wait(lambda: node.poll() is not None, name, node, MOST)
    assert node.returncode and "Failed to activate SuperNode" in flower.said(name)


def took_part(flower: Flower, name: str) -> set[str]:
    """What a node has written of all that one writes which is let in."""
    return {word for word in (*TAKES_PART, *MAY_SAY) if word in flower.said(name)}


def test_a_superlink_killed_in_a_run_comes_back_with_its_nodes_and_the_run_goes_on(tmp_path):
    """With TLS, registered keys and --database: Flower fails the run, the next one resumes, nothing is spent.

    A node that is not registered is turned away by the first SuperLink and by the one that comes back.
    """
    with Flower(tmp_path, load_task("digits"), SETTINGS, secure=True, database=True) as flower:
        is_turned_away(flower, tmp_path / "unknown", "stranger")
        job = flower.run()
        flower.wait(lambda: "round 1/" in flower.said("job"), "job", job, MOST)
        flower.running["superlink"].send_signal(signal.SIGKILL)
        flower.running["superlink"].wait()
        flower.superlink()
        again = flower.run("again")
        is_turned_away(flower, tmp_path / "unknown", "stranger afterwards")
        flower.wait(lambda: f"done; kept in {flower.out}" in flower.said("again"), "again", again, MOST)
        assert "round 1/" not in flower.said("again") and "round 2/" in flower.said("again")
        assert not took_part(flower, "stranger") and not took_part(flower, "stranger afterwards")
        assert took_part(flower, "north") - set(MAY_SAY) == set(TAKES_PART), "these are Flower's words still"
    is_the_simulators(flower, 4)


class Nodes:
    """A grid whose nodes are in this process: the app's own relay before each site's door, and what goes wrong there.

    `late` sites get no message, the answers of those in `lost` do not come back; `away` sites' doors are closed.
    """

    def __init__(self, doors: dict[str, Path], relay: dict[str, Any]) -> None:
        self.doors, self.relay = doors, relay
        self.node = dict(enumerate(doors, 1))
        self.late, self.lost, self.away = set[str](), set[str](), set[str]()
        self.replies: dict[str, Any] = {}
        self.sent: list[tuple[str, str]] = []  # site, kind of message

    def get_node_ids(self) -> list[int]:
        return list(self.node)

    def push_messages(self, messages: Iterable[Any]) -> list[str]:
        names = []
        for message in messages:
            names.append(f"message {len(self.sent)}")
            site, kind = self.node.get(message.metadata.dst_node_id, ""), message.metadata.message_type
            self.sent.append((site, kind))
            if site and site not in self.late:
                message.metadata.__dict__["_message_id"] = names[-1]  # as a SuperLink does
                door = "/nobody/here" if site in self.away else self.doors[site]
                answer = self.relay["hello" if kind == "query" else "train"]
                reply = answer(message, SimpleNamespace(node_config={"socket": str(door)}))
                if site not in self.lost:
                    self.replies[names[-1]] = reply
        return names

    def pull_messages(self, names: Iterable[str]) -> list[Any]:
        return [self.replies.pop(name) for name in list(names) if name in self.replies]


@pytest.fixture
def grid(tmp_path, tmp_path_factory, monkeypatch):
    """Two sites behind their doors, and a grid before them."""
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)  # else no message can be made outside of a run
    sites, doors = sites_in(tmp_path, linear_task(), clients=2), {}
    relay = runpy.run_path(str(TEMPLATES / "client_app.txt"))
    with ExitStack() as stack:
        for name, site in sites.items():
            doors[name] = tmp_path_factory.mktemp("d") / "socket"
            door = stack.enter_context(Door(site, doors[name]))
            threading.Thread(target=door.serve_forever, daemon=True).start()
            stack.callback(door.shutdown)
        made = Nodes(doors, relay)
        yield SimpleNamespace(nodes=made, sites=sites)


def test_a_late_site_is_left_out_its_epsilon_counted_and_found_again_under_another_number(grid, tmp_path):
    from lalora_kit.runs.sites.flower import OverFlower

    settings, told = replace(FAST, seed=None, clients=2, rounds=4), list[str]()
    terms, nodes = terms_for(linear_task(), settings, quorum=1, timeout=4.0), grid.nodes
    walk = serve(linear_task(), terms, tmp_path / "server", OverFlower(nodes, told.append), told.append)
    records = [next(walk)]
    nodes.lost = {"south"}  # it computes, and its answer is lost on the way
    began = time.monotonic()
    records.append(next(walk))
    assert time.monotonic() - began >= terms.timeout and "round 2 goes on without south; their ε stays counted" in told
    nodes.lost = set()
    nodes.node = {1: "north", 7: "south"}  # its node came back, with another number
    records.append(next(walk))
    nodes.late = {"south"}  # nothing reaches it at all
    records += walk
    assert [r.participants for r in records] == [(0, 1), (0,), (0, 1), (0,)]
    for place, site in enumerate(grid.sites.values()):
        assert records[-1].epsilons[place] >= site.account.ledger.epsilon(settings.delta) > 0
    assert [len(read(tmp_path / name / "ledger.jsonl")) for name in NAMES[:2]] == [8, 6]


def test_a_node_that_was_gone_for_a_moment_is_greeted_as_soon_as_it_is_back(grid):
    from lalora_kit.runs.sites.flower import OverFlower

    terms, nodes = terms_for(linear_task(), replace(FAST, seed=None, clients=2)), grid.nodes
    told, all_ = list[str](), nodes.node
    over = OverFlower(nodes, told.append)
    nodes.node = {1: "north"}
    threading.Timer(3.0, setattr, (nodes, "node", all_)).start()
    assert set(over.hello(terms, wait=True)) == {"north", "south"}
    assert [line for line in told if "waiting" in line] == ["waiting for north, south", "waiting for south"]
    nodes.node = {1: "north"}
    for here in ({"north"}, {"north", "south"}):
        over.looked, before = 0.0, len(nodes.sent)
        over.look(terms)
        assert set(over.node) == here and len(nodes.sent) == before + len(here) - 1
        nodes.node = all_


def test_a_site_that_was_away_is_asked_again_and_one_that_refuses_is_not(grid, tmp_path):
    from lalora_kit.runs.sites.flower import OverFlower

    settings, told = replace(FAST, seed=None, clients=2, rounds=2), list[str]()
    terms, nodes = terms_for(linear_task(), settings), grid.nodes
    over = OverFlower(nodes, told.append)
    walk = serve(linear_task(), terms, tmp_path / "server", over, told.append)
    nodes.away = {"south"}
    threading.Timer(2.0, nodes.away.clear).start()
    assert next(walk).participants == (0, 1)
    assert any("round 1: south has not answered" in line and "is not there" in line for line in told)
    grid.sites["north"].agreed.clear()
    grid.sites["north"].only = "other terms"  # its administrator has changed their mind
    asked = len(nodes.sent)
    with pytest.raises(ValueError, match="round 2 has 1 uploads, and the quorum is 2; missing are north"):
        next(walk)
    assert nodes.sent[asked:].count(("north", "train")) == 1
    assert any("round 2: north has not answered" in line and "alone, and these are" in line for line in told)
