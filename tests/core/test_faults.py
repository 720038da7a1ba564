"""Each planted fault is noticed, and the kit as it is passes the very check that notices it."""

from __future__ import annotations

import pytest

from tests.faults import CHECKS, FAULTS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_kit_as_it_is_passes(check):
    check()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.name} - {fault.caught_by.__name__}")
def test_a_fault_is_caught(fault, monkeypatch):
    fault.plant(monkeypatch)
    with pytest.raises(AssertionError, match=fault.says):
        fault.caught_by()
