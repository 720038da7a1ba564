"""Sites elsewhere: the simulator's rounds bit for bit; what a site answers, refuses, and has on record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lalora_kit.privacy import Ledger
from lalora_kit.runs.sites.serving import serve
from tests.federation import SETTINGS, Near, simulated, sites_in, terms_for, told_of
from tests.tiny import identical, linear_task, swin_task

TASK = linear_task()


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("la-lora", SETTINGS),
        ("dp-lora", replace(SETTINGS, participation=0.5, sample_rate=None, batch_size=2.0)),
        ("head-only", replace(SETTINGS, optimizer="adamw", clip_head_share=0.3)),
        ("ffa-lora", SETTINGS),
    ],
)
@pytest.mark.parametrize("make", [linear_task, swin_task])
def test_sites_elsewhere_are_the_simulator_bit_for_bit(make, method, settings, tmp_path):
    task = make()
    terms, sites = terms_for(task, settings, method), sites_in(tmp_path, task)
    walk = serve(task, terms, tmp_path / "server", Near(sites))
    ledger = Ledger()
    expected = simulated(task, terms, sites, ledger)
    found = list(walk)
    for one, other in zip(found, expected, strict=True):
        assert identical(one.adapter, other.adapter)
        assert told_of(one) == told_of(other)
    lines = [line for site in sites.values() for line in site.account.ledger._keys]
    assert len(lines) == len(ledger) == settings.participants * settings.rounds * settings.local_steps
