"""Threads: what a container grants, what a user has set, and what a run takes."""

import os
import subprocess
import sys

import pytest
import torch

from lalora_kit.base import threads


@pytest.fixture
def unset(monkeypatch):
    """As the kit finds a machine on which nobody has set anything."""
    for name in (threads.VARIABLE, threads.OURS, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count())
    yield monkeypatch
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_a_containers_quota_bounds_the_cores(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.usable_cores(tmp_path) == cores


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "max 100000\n"},
        {"cpu.max": "nonsense"},
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
    ],
)
def test_without_a_quota_the_affinity_is_left(tmp_path, monkeypatch, files):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.usable_cores(tmp_path) == 3


def test_a_small_backbone_takes_one_thread_and_a_large_one_what_is_granted(unset):
    assert threads.threads_for(threads.SMALL - 1) == 1
    assert threads.threads_for(threads.SMALL) == threads.usable_cores()


def test_what_a_user_has_set_wins_in_its_order(unset):
    torch.set_num_threads(3)
    assert threads.threads_for(1) == threads.threads_for(10**9) == 3
    unset.setenv("OMP_NUM_THREADS", "3")
    assert threads.threads_for(1) == 3
    unset.setenv(threads.VARIABLE, "5")
    assert threads.threads_for(1) == 5
    assert threads.threads_for(1, asked=7) == 7


@pytest.mark.parametrize("value", ["", "0", "two", "-1", "1.5"])
def test_a_variable_that_is_no_number_is_refused(unset, value):
    unset.setenv(threads.VARIABLE, value)
    with pytest.raises(ValueError, match=r"LALORA_THREADS=.*whole number from 1"):
        threads.threads_for(1)


def test_within_a_run_the_users_choice_is_still_seen_and_comes_back(unset):
    before = torch.get_num_threads()
    with threads.torch_threads(1):
        assert torch.get_num_threads() == 1
        assert threads.threads_for(10**9) == threads.usable_cores(), "the run's own count is nobody's wish"
        with threads.torch_threads(2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with pytest.raises(KeyError), threads.torch_threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before


SAID = (
    "import os, {first}; import torch; from lalora_kit.base import threads; "
    "print(torch.get_num_threads(), os.environ.get('OMP_WAIT_POLICY'), "
    "threads.threads_for(1), threads.threads_for(10**9))"
)


def said(first="lalora_kit", **variables):
    """Threads of a fresh process, its way of waiting, and what a small and a large run would take there."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "LALORA_", "MKL_"))}
    command = [sys.executable, "-c", SAID.format(first=first)]
    done = subprocess.run(command, env={**kept, **variables}, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.slow
def test_importing_the_kit_first_lets_torch_begin_with_the_cores_that_are_granted():
    cores = str(threads.usable_cores())
    assert said()[1:] == ["PASSIVE", "1", cores] and int(said()[0]) <= int(cores)
    assert said(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="ACTIVE") == ["1", "ACTIVE", "1", "1"]
    child_of_ours = {"OMP_NUM_THREADS": cores, threads.OURS: cores}
    assert said(**child_of_ours)[1:] == ["PASSIVE", "1", cores]
    assert said(first="torch, lalora_kit")[1:] == ["None", "1", cores], "torch came first and is as it would be"


def test_a_lesson_settles_on_one_thread_and_a_large_run_still_takes_what_is_granted(unset):
    unset.setattr(threads, "_SETTLED", [])
    torch.set_num_threads(threads.usable_cores())
    threads.settle()
    assert torch.get_num_threads() == 1
    assert threads.threads_for(10**9) == threads.usable_cores()
    torch.set_num_threads(3)
    threads.settle()
    assert torch.get_num_threads() == 3, "a user's"


def test_a_run_computes_with_its_threads_and_tells_them_to_the_ledger(monkeypatch):
    """The count is part of the machine; afterwards torch is as it was."""
    from lalora_kit import Settings, federated_rounds
    from lalora_kit.methods import METHODS
    from tests.tiny import linear_task

    task, seen = linear_task(), []
    monkeypatch.setattr(type(task.backbone), "forward", counted(type(task.backbone).forward, seen))
    before = torch.get_num_threads()
    for count in (1, 2):
        seen.clear()
        settings = Settings(clients=2, rounds=2, seed=0, rank=2, threads=count, delta=1e-3)
        for r in federated_rounds(task, METHODS["dp-lora"], settings):
            assert r.state.machine["threads"] == str(count)
            assert torch.get_num_threads() == before
        assert set(seen) == {count}


def counted(forward, seen):
    """A forward that notes torch's threads."""

    def noting(self, *inputs, **named):
        seen.append(torch.get_num_threads())
        return forward(self, *inputs, **named)

    return noting
