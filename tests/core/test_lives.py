"""Runs that die at random instants, inside writes too, or on a full disk: resumed, they end as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import lives

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20


class Nursery:
    """The process of `tests.lives`, and a run of it that nobody disturbed."""

    def __init__(self, whole: Path) -> None:
        self.whole = whole
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.lives", str(whole)],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.read() == "ready"
        started = time.perf_counter()
        assert self.live(whole.parent / "timed") == 0
        self.seconds = time.perf_counter() - started

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def live(self, directory: Path, **death: float) -> int:
        """How one life in `directory` ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"directory": str(directory), **death}) + "\n")
        self.process.stdin.flush()
        return int(self.read())

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    made = Nursery(tmp_path_factory.mktemp("lives") / "whole")
    yield made
    made.close()


def without_seconds(path: Path) -> list[dict]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def check_same(directory: Path, whole: Path) -> None:
    """Ledger, records and adapter are those of the run that nobody disturbed; nothing unfinished lies about."""
    assert (directory / "ledger.jsonl").read_bytes() == (whole / "ledger.jsonl").read_bytes()
    assert without_seconds(directory / "rounds.jsonl") == without_seconds(whole / "rounds.jsonl")
    for path in (whole / "adapter").iterdir():
        assert (directory / "adapter" / path.name).read_bytes() == path.read_bytes(), path.name
    assert not (directory / "adapter.new").exists()


@pytest.mark.parametrize("seed", [20260219])
def test_killed_at_twenty_random_instants_a_run_ends_as_if_nothing_had_been(nursery, tmp_path, seed):
    """Chains of lives, until twenty of them were cut off; each chain ends like the undisturbed run, byte for byte."""
    draw, deaths = random.Random(seed), Counter()
    for number in range(100):
        directory = tmp_path / f"chain {number}"
        while True:
            kind = draw.choice(["clock", "call", "bytes"])
            ledger = directory / "ledger.jsonl"
            size = ledger.stat().st_size if ledger.exists() else 0
            death = {
                "clock": {"after": draw.uniform(0, 0.7 * nursery.seconds)},
                "call": {"call": draw.randint(1, 300)},
                "bytes": {"bytes": size + draw.randint(1, 12_000)},
            }[kind]
            code = nursery.live(directory, **death)
            assert code in (0, -signal.SIGKILL, -signal.SIGXFSZ), f"seed {seed}, chain {number}: {death} ended {code}"
            if code == 0:
                break
            deaths[kind] += 1
            if sum(deaths.values()) == KILLS:
                assert nursery.live(directory) == 0
                break
        check_same(directory, nursery.whole)
        if sum(deaths.values()) == KILLS:
            break
    print(f"seed {seed}: {dict(deaths)} deaths in {number + 1} chains")
    assert sum(deaths.values()) == KILLS and min(deaths[kind] for kind in ("clock", "call", "bytes")) >= 3, deaths


@pytest.mark.parametrize("limit", [1, 300, 1500, 5000, 9000, 11_000, 20_000, 30_000])
def test_a_file_that_cannot_grow_costs_nothing_that_was_finished(nursery, tmp_path, limit):
    """EFBIG, from the kernel, wherever the limit happens to fall; with room again, the run goes on."""
    assert nursery.live(tmp_path, full=limit) == lives.FULL
    done = without_seconds(tmp_path / "rounds.jsonl") if (tmp_path / "rounds.jsonl").exists() else []
    assert done == without_seconds(nursery.whole / "rounds.jsonl")[: len(done)]
    assert nursery.live(tmp_path, full=limit) == lives.FULL  # once more: it does no harm to try again
    assert nursery.live(tmp_path) == 0
    check_same(tmp_path, nursery.whole)


@pytest.mark.parametrize("kib", [8, 24, 40, 64])
def test_a_full_disk_keeps_the_last_good_checkpoint(nursery, tmp_path, kib):
    """ENOSPC on a real file system of few pages."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(disk)]
    mount = subprocess.run(["mount", *options], capture_output=True) if shutil.which("mount") else None
    if mount is None or mount.returncode:
        pytest.skip("no right to mount a small disk: only the limit on a file's size was tried")
    try:
        assert nursery.live(disk / "run") == lives.FULL
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        assert nursery.live(disk / "run") == 0
        check_same(disk / "run", nursery.whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
