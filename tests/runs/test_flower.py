"""One job over Flower, all the way: two sites behind their sockets, two rounds, equal to the simulator's bit for bit.

Skipped where the extra `flower` is not installed; `.ci/run` installs it into an environment of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from lalora_kit.methods import METHODS
from lalora_kit.privacy import Ledger
from lalora_kit.privacy.release import read
from lalora_kit.runs.saved import load
from lalora_kit.runs.sites.app import QUIET, check, write_app
from lalora_kit.runs.sites.door import Door
from lalora_kit.settings import Settings
from lalora_kit.tasks import load_task
from tests.federation import NAMES, simulated, sites_in
from tests.tiny import identical

pytestmark = pytest.mark.skipif(
    find_spec("flwr") is None, reason="flwr is not installed: no round went over Flower ('.[flower]')"
)
HERE, ROOT = Path(sys.executable).parent, Path(__file__).resolve().parents[2]
PATIENCE = 400  # seconds for the job, which takes half a minute on two quiet cores and minutes on busy ones
SETTINGS = Settings(epsilon=3.0, clients=2, rounds=2, local_steps=2)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextlib.contextmanager
def started(words: list[str], log: Path, env: dict[str, str]) -> Iterator[None]:
    """A process of Flower's, and those that it starts, ended with the block."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [str(HERE / words[0]), *words[1:]], env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def wait_for(port: int, log: Path) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    pytest.fail(f"nobody listens at {port}: {log.read_text()[-1000:]}")


def test_two_sites_over_flower_are_the_simulator_bit_for_bit(tmp_path):
    task, address = load_task("digits"), f"127.0.0.1:{(port := free_port())}"
    server = write_app(
        tmp_path / "app", {"source": {"task": "digits"}}, NAMES[:2], METHODS["la-lora"], SETTINGS, "trial", None, 60.0,
        address, None,
    )  # fmt: skip
    out = Path(server.out)
    path = f"{HERE}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, **QUIET, "FLWR_HOME": str(out / "flwr"), "PATH": path, "PYTHONPATH": str(ROOT)}
    sites = sites_in(tmp_path, task, clients=2)
    doors = Path("/tmp") / f"lalora-doors-{os.getpid()}"  # a socket's path must be short
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, doors, True)
        words = ["flower-superlink", "--insecure", "--disable-runtime-dependency-installation", "--port", str(port)]
        stack.enter_context(started(words, tmp_path / "superlink.log", env))
        wait_for(port, tmp_path / "superlink.log")
        for name, site in sites.items():
            door = stack.enter_context(Door(site, doors / name / "socket"))
            threading.Thread(target=door.serve_forever, daemon=True).start()
            stack.callback(door.shutdown)
            words = ["flower-supernode", "--insecure", "--superlink", address, "--port", str(free_port()),
                     "--node-config", f"socket='{doors / name / 'socket'}'"]  # fmt: skip
            stack.enter_context(started(words, tmp_path / f"{name}.log", env))
        began = time.monotonic()
        job = [str(HERE / "flwr"), "run", str(tmp_path / "app"), "here", "--stream"]
        with (tmp_path / "job.log").open("w") as log:
            done = subprocess.run(job, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=PATIENCE)
        print(f"two rounds over Flower: {time.monotonic() - began:.1f} s")
        assert done.returncode == 0 and f"done; kept in {out}" in (tmp_path / "job.log").read_text()
    *_, last = simulated(task, server.terms, sites, Ledger())
    saved = load(out)
    assert identical(saved.state.adapter, last.adapter)
    for line, record in zip(saved.rounds, simulated(task, server.terms, sites, Ledger()), strict=True):
        expected = json.loads(json.dumps(record.to_json()))
        assert {**line, "seconds": 0} == {**expected, "seconds": 0}
    assert [len(read(tmp_path / name / "ledger.jsonl")) for name in NAMES[:2]] == [4, 4]
    assert not any("Flower is not installed" in line or "was tried with" in line for line in check(tmp_path / "app"))
