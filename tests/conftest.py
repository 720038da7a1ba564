"""Shared by all tests: one thread a worker, Hypothesis without deadlines and from a fixed seed, and which are quick."""

import os
import re
from pathlib import Path
from typing import Any

# Before torch is imported, and for every process that a test starts: two threads a worker would only wait in turns.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

from lalora_kit.base import steps

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

steps.LONG = 1e6  # what a busy machine takes long for is no part of what a command says in a test of something else

# A busy machine is no reason to fail, and a failure must come back on the next run: no deadline, fixed seed.
settings.register_profile("lalora", deadline=None, derandomize=True, database=None)
settings.load_profile("lalora")

HERE = Path(__file__).resolve().parent
LESSON = re.compile(r"\[(\d\d_[a-z_]+)")  # the first parameter of a test that is run for each lesson
QUICK = {"base", "core", "engine", "methods", "privacy", "house"}  # rooms; what is marked `slow` there is not quick


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu = torch.cuda.is_available()
    for item in items:
        # By its markers: keywords also hold the names of folders, that of the checkout among them.
        if item.path.relative_to(HERE).parts[0] in QUICK and item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.quick)
        if item.get_closest_marker("gpu") is not None and not gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device: the core was not repeated on a GPU"))


@pytest.hookimpl(optionalhook=True)  # pytest-xdist may be switched off
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker gets a file's tests whole, so that no fixture is made on two; where each is of a lesson, that lesson's.

    The mark `xdist_group` would say the same, but under pytest 9.2 pytest-xdist 3.8 passes over it in silence.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Whole(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path, _, test = nodeid.partition("::")
            lesson = LESSON.search(test)
            return path if lesson is None else f"{path} {lesson[1]}"

    return Whole(config, log)


def pytest_report_header() -> str:
    from tests.house.test_layout import MOST_CORE, core_lines

    counted = core_lines()
    return f"the core: {sum(counted.values())} lines of at most {MOST_CORE}: {counted}"
