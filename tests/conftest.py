"""Shared by all tests: Hypothesis without deadlines and from a fixed seed; GPU tests skip aloud without a GPU."""

import pytest
import torch
from hypothesis import settings

# A busy machine is no reason to fail, and a failure must come back on the next run: no deadline, fixed seed.
settings.register_profile("lalora", deadline=None, derandomize=True, database=None)
settings.load_profile("lalora")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device: the core was not repeated on a GPU"))
