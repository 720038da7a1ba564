"""The allocator: what glibc is told, and who is left alone."""

import ctypes
import os
import subprocess
import sys

import pytest

from lalora_kit.base import allocator

TOLD = [(-1, allocator.KEPT), (-3, allocator.WHOLE)]


@pytest.fixture
def told(monkeypatch):
    """What a C library like glibc is told in place of this process's own."""
    seen = []

    class Library:
        def __init__(self, name):
            assert name is None

        def mallopt(self, what, value):
            seen.append((what, value))
            return 1

    for name in (*allocator.SET, "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36", raising=False)
    return seen


def test_glibc_is_told_both_thresholds(told):
    assert allocator.keep_freed_memory()
    assert told == TOLD


@pytest.mark.parametrize("name", [*allocator.SET, "GLIBC_TUNABLES"])
def test_what_a_user_has_set_stays(told, monkeypatch, name):
    monkeypatch.setenv(name, "glibc.malloc.trim_threshold=1" if name == "GLIBC_TUNABLES" else "1")
    assert not allocator.keep_freed_memory() and told == []


def test_tunables_of_something_else_are_no_wish(told, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.cpu.x86_shstk=off")
    assert allocator.keep_freed_memory() and told == TOLD


@pytest.mark.parametrize("said", ["musl 1.2", None, ValueError, OSError])
def test_another_library_is_left_alone(told, monkeypatch, said):
    def confstr(name):
        if said in (ValueError, OSError):
            raise said(name)
        return said

    monkeypatch.setattr(os, "confstr", confstr, raising=False)
    assert not allocator.keep_freed_memory() and told == []


def test_another_system_and_a_library_without_it_are_left_alone(told, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not allocator.keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(os, "confstr", raising=False)
    assert not allocator.keep_freed_memory() and told == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no glibc")
def test_this_machines_own_takes_what_it_is_told(monkeypatch):
    for name in (*allocator.SET, "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    assert allocator.keep_freed_memory() is (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")


PAGES = "import os, sys; import lalora_kit; print(os.environ.get('THP_MEM_ALLOC_ENABLE'))"


def asked(code=PAGES, **given):
    """What a fresh process is told of huge pages."""
    kept = {name: value for name, value in os.environ.items() if name != allocator.HUGE}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **given}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no huge pages to ask for")
def test_torch_is_asked_for_huge_pages_unless_a_user_said_so_or_torch_is_there_already():
    assert asked() == "1" and asked(THP_MEM_ALLOC_ENABLE="0") == "0"
    assert asked("import torch; " + PAGES) == "None", "it would not be read any more"
