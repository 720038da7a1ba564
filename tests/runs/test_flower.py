"""Over Flower, all the way: equal to the simulator bit for bit, and a SuperLink that is killed in the middle.

Skipped where the extra `flower` is not installed; `.ci/run` installs it into an environment of its own.
"""

from __future__ import annotations

import json
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from lalora_kit.privacy import Ledger
from lalora_kit.privacy.release import read
from lalora_kit.runs.saved import load
from lalora_kit.runs.sites.app import check
from lalora_kit.runs.sites.setup import make_key
from lalora_kit.settings import Settings
from lalora_kit.tasks import load_task
from tests.federation import NAMES, simulated
from tests.flower import Flower, free_port
from tests.tiny import identical

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


#: What a node writes that Flower lets in; the second once its SuperLink is back.
TAKES_PART = ("SuperNode ID", "Connection successful", "[RUN", "Receiving", "Sending")


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
    return {word for word in TAKES_PART if word in flower.said(name)}


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
        assert took_part(flower, "north") == set(TAKES_PART), "these are Flower's words still"
    is_the_simulators(flower, 4)
