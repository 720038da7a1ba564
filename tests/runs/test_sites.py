"""Sites elsewhere: the simulator's rounds bit for bit; what a site answers, refuses, and has on record."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lalora_kit.federated import Side
from lalora_kit.methods import EVERY, METHODS, find_method
from lalora_kit.privacy import Ledger
from lalora_kit.privacy.release import read
from lalora_kit.runs.sites import site as site_file
from lalora_kit.runs.sites.app import write_app
from lalora_kit.runs.sites.places import Limit, Refused
from lalora_kit.runs.sites.serving import serve
from lalora_kit.runs.sites.site import Site
from lalora_kit.runs.sites.terms import Terms
from lalora_kit.runs.sites.travels import travelling
from lalora_kit.runs.sites.wire import pack
from lalora_kit.runs.statefile import read_secret
from tests.federation import NAMES, SETTINGS, Near, dealt, simulated, sites_in, terms_for, told_of
from tests.lives import die_at_call
from tests.tiny import identical, linear_task, swin_task

TASK = linear_task()
TERMS = terms_for(TASK)
NORTH = dealt(TASK, 4)[0]


def north(directory: Path, epsilon: float = 10.0, task=NORTH, **more) -> Site:
    return Site(directory, "north", task, Limit(epsilon, 1e-3), **more)


def demand_of(site: Site, terms: Terms = TERMS, moved: float = 0.0) -> bytes:
    site.hello(terms.text())
    start = site.agreed[terms.name].sent
    return pack(start.map(lambda value: value + moved), sorted(start.tensors), {})


def releases(directory: Path) -> list:
    return read(directory / "ledger.jsonl")


# ---- the same rounds ------------------------------------------------------------------------------------------------


#: On Swin with about fifteen images a step: at one or two rows a product takes other kernels, and rounds otherwise.
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("la-lora", SETTINGS),
        ("dp-lora", replace(SETTINGS, participation=0.5, sample_rate=None, batch_size=15.0)),
        ("head-only", replace(SETTINGS, optimizer="adamw", learning_rate=0.01, clip_head_share=0.3)),
    ],
)
def test_sites_elsewhere_are_the_simulator_bit_for_bit(method, settings, tmp_path):
    task = swin_task(samples=200)
    terms, sites = terms_for(task, settings, method), sites_in(tmp_path, task)
    walk = serve(task, terms, tmp_path / "server", Near(sites))
    ledger = Ledger()
    expected = simulated(task, terms, sites, ledger)
    for one, other in zip(walk, expected, strict=True):
        assert identical(one.adapter, other.adapter)
        assert told_of(one) == told_of(other)
    lines = [len(releases(tmp_path / name)) for name in sites]
    mirror = releases(tmp_path / "server")
    assert sum(lines) == len(mirror) == len(ledger) == settings.participants * settings.rounds * settings.local_steps
    assert all(release.client == 0 for name in sites for release in releases(tmp_path / name))


@pytest.mark.parametrize("method", sorted(travelling().keys() - METHODS.keys()))
def test_a_method_of_the_gallery_over_sites_is_the_simulators(method, tmp_path):
    task = swin_task(samples=200)
    settings = replace(SETTINGS, rank=4, rounds=2, sample_rate=None, batch_size=15.0)
    terms, sites = terms_for(task, settings, method), sites_in(tmp_path, task)
    walk = serve(task, terms, tmp_path / "server", Near(sites))
    secret = read_secret(tmp_path / "server", settings, ended=False)
    rounds = list(walk)
    for one, other in zip(rounds, simulated(task, terms, sites, Ledger(), secret), strict=True):
        assert identical(one.adapter, other.adapter)
        assert told_of(one) == told_of(other)
    again = Site(tmp_path / "again", "north", dealt(task, 4)[0], Limit(10.0, 1e-3))
    demand = demand_of(again, terms)
    again.answer(terms.text(), 0, 1, demand)
    again.close()
    assert Site(tmp_path / "again", "north", again.task, again.limit).answer(terms.text(), 0, 1, demand)


@pytest.mark.parametrize("method", sorted(EVERY.keys() - travelling().keys()))
def test_a_method_that_stays_in_one_process_is_refused_before_anything_is_written(method, tmp_path):
    why = r"does not run over sites: .*train it in one process"
    with pytest.raises(ValueError, match=why):
        terms_for(TASK, replace(SETTINGS, local_steps=8, epsilon=8.0), method)
    with pytest.raises(ValueError, match=why):
        write_app(tmp_path / "app", {"source": {"task": "digits"}}, NAMES[:2], EVERY[method], SETTINGS, "trial", None,
                  60.0, "127.0.0.1:8000", None)  # fmt: skip
    with pytest.raises(Refused, match=why):
        north(tmp_path / "site").hello(json.dumps({**TERMS.to_json(), "method": method}))
    assert not (tmp_path / "app").exists() and not (tmp_path / "app-run").exists()
    assert not (tmp_path / "site/runs").exists()


def test_methods_of_ones_own_and_options_stay_in_one_process():
    for method in (find_method("la-lora+flat"), replace(METHODS["la-lora"], source={"file": "mine.py"})):
        with pytest.raises(ValueError, match="no code travels"):
            replace(TERMS, method=method)
    assert sorted(EVERY.keys() - travelling().keys()) == [
        "deer",
        "dense-mean",
        "fed-sb",
        "fedsa",
        "fedsa-head",
        "galore-mean",
    ]


def test_small_batches_differ_from_the_simulator_by_rounding_only(tmp_path):
    sites = sites_in(tmp_path, TASK)
    walk = list(serve(TASK, TERMS, tmp_path / "server", Near(sites)))
    for one, other in zip(walk, simulated(TASK, TERMS, sites, Ledger()), strict=True):
        for key, value in other.adapter.tensors.items():
            torch.testing.assert_close(one.adapter.tensors[key], value, rtol=1e-5, atol=1e-6)
        assert one.epsilons == other.epsilons and one.participants == other.participants


# ---- deaths of a site -----------------------------------------------------------------------------------------------


def dying(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """SIGKILL this process right after a place of the way of a demand."""

    def then_die(of: object, name: str, only: Callable[..., bool] = lambda *given: True) -> None:
        plain = getattr(of, name)

        def work(*given, **named):
            found = plain(*given, **named)
            if only(*given):
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        monkeypatch.setattr(of, name, work)

    where = {"asked": (site_file, "append_line"), "charged": (site_file, "charge"), "computed": (Side, "local_round"),
             "kept": (site_file, "write_atomically"), "sent": (Site, "answer")}  # fmt: skip
    then_die(*where[place])


def in_a_fork(work: Callable[[], object]) -> int:
    """How a child that does `work` ended; a signal is a negative number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(4)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("place", ["asked", "charged", "computed", "kept", "sent"])
def test_a_site_killed_anywhere_sends_the_same_bytes_and_charges_once(place, tmp_path):
    site = north(tmp_path / "site")
    demand = demand_of(site)
    site.close()
    shutil.copytree(tmp_path / "site", tmp_path / "whole")
    whole = north(tmp_path / "whole")
    expected = whole.answer(TERMS.text(), 0, 1, demand)

    def live() -> None:
        with pytest.MonkeyPatch.context() as patch:
            one = north(tmp_path / "site")
            dying(patch, place)
            one.answer(TERMS.text(), 0, 1, demand)

    assert in_a_fork(live) == -signal.SIGKILL
    lines = len(releases(tmp_path / "site"))
    assert lines == (0 if place == "asked" else 2)
    again = north(tmp_path / "site")
    assert again.answer(TERMS.text(), 0, 1, demand) == expected
    assert len(releases(tmp_path / "site")) == 2
    assert again.answer(TERMS.text(), 0, 1, demand) == expected
    assert (tmp_path / "site" / "ledger.jsonl").read_bytes() == (tmp_path / "whole" / "ledger.jsonl").read_bytes()
    with pytest.raises(Refused, match="was asked for before with another adapter"):
        again.answer(TERMS.text(), 0, 1, demand_of(again, moved=0.5))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("seed", [20260219])
def test_killed_at_twenty_random_instants_a_federation_ends_as_if_nothing_had_been(seed, tmp_path):
    """Server, or a site within a round, dies before a random call that touches a file; records, ledgers, adapter."""
    start = tmp_path / "start"
    sites = sites_in(start, TASK)
    for site in sites.values():
        site.hello(TERMS.text())
        site.close()
    # A server's own randomness is drawn when it begins, and decides nothing; all else is fixed now.

    def federation(home: Path, mortal: str = "", call: int = 0) -> None:
        sites = sites_in(home, TASK)
        near = Near(sites)
        if mortal == "site":
            name = random.Random(call).choice(NAMES)
            plain = sites[name].answer

            def answer(*given) -> bytes:
                die_at_call(call)
                return plain(*given)

            sites[name].answer = answer  # type: ignore[method-assign]
        elif mortal:
            die_at_call(call)
        list(serve(TASK, TERMS, home / "server", near))
        for site in sites.values():
            site.close()

    whole = tmp_path / "whole"
    shutil.copytree(start, whole)
    assert in_a_fork(lambda: federation(whole)) == 0
    draw, deaths, chain = random.Random(seed), {"site": 0, "server": 0}, 0
    while sum(deaths.values()) < 20:
        chain += 1
        home = tmp_path / f"chain {chain}"
        shutil.copytree(start, home)
        while True:
            mortal = draw.choice(["site", "server"])
            call = draw.randint(1, 60 if mortal == "site" else 400)
            code = in_a_fork(lambda m=mortal, c=call, h=home: federation(h, m, c))  # type: ignore[misc]
            assert code in (0, -signal.SIGKILL), f"seed {seed}, chain {chain}: {mortal} at {call} ended {code}"
            if code == 0:
                break
            deaths[mortal] += 1
            if sum(deaths.values()) == 20:
                assert in_a_fork(lambda h=home: federation(h)) == 0  # type: ignore[misc]
                break
        records = [
            [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in path.read_text().splitlines()]
            for path in (home / "server/rounds.jsonl", whole / "server/rounds.jsonl")
        ]
        assert records[0] == records[1]
        for name in [*(f"{site}/ledger.jsonl" for site in NAMES), "server/ledger.jsonl"]:
            assert (home / name).read_bytes() == (whole / name).read_bytes(), name
        weights = "server/adapter/adapter_model.safetensors"
        assert (home / weights).read_bytes() == (whole / weights).read_bytes()
    print(f"seed {seed}: {deaths} in {chain} chains")
    assert min(deaths.values()) >= 3
