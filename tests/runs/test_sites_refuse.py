"""What a site, and a server, refuse; who has which ε on record; and what a stranger beside a site can reach."""

from __future__ import annotations

import contextlib
import grp
import json
import math
import os
import pwd
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from lalora_kit.federated import Side
from lalora_kit.privacy.release import read
from lalora_kit.runs.sites.door import HIDDEN, Door, ask
from lalora_kit.runs.sites.places import Limit, Refused
from lalora_kit.runs.sites.serving import serve
from lalora_kit.runs.sites.site import Site
from lalora_kit.runs.sites.terms import Terms
from lalora_kit.runs.sites.wire import SPARE, pack
from lalora_kit.runs.spent import spent
from lalora_kit.runs.statement import statement
from tests.federation import NAMES, SETTINGS, Near, dealt, sites_in, terms_for
from tests.runs.test_sites import in_a_fork
from tests.tiny import linear_task, roberta_task, swin_task

TASK = linear_task()
TERMS = terms_for(TASK)
NORTH = dealt(TASK, 4)[0]
TEXT = TERMS.text()


def north(directory: Path, epsilon: float = 10.0, task=NORTH, **more) -> Site:
    return Site(directory / "north", "north", task, Limit(epsilon, 1e-3), **more)


def start_of(site: Site, terms: Terms = TERMS):
    site.hello(terms.text())
    return site.agreed[terms.name].side.run.plan.start


def demand_of(site: Site, terms: Terms = TERMS, moved: float = 0.0) -> bytes:
    start = start_of(site, terms)
    return pack(start.map(lambda value: value + moved), sorted(start.tensors), {})


def lines(directory: Path, name: str = "north") -> int:
    return len(read(directory / name / "ledger.jsonl"))


# ---- replay ---------------------------------------------------------------------------------------------------------


def test_one_noise_under_two_adapters_would_tell_the_gradient_so_it_is_refused(tmp_path):
    """The naive site: the difference of two answers is that of two un-noised sums, to rounding in float64."""
    site = north(tmp_path)
    start = start_of(site)
    other = start.map(lambda value: value + 0.5)
    plain = site.agreed[TERMS.name].side.run
    seen: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for noised, heard in seen.items():
        plan = plain.plan if noised else replace(plain.plan, sigmas=(0.0,))
        naive = Side(replace(plain, plan=plan, observe=lambda c, t, k, value, heard=heard: heard.append(value)))
        for adapter in (start, other):
            naive.local_round(adapter, 1)
    told, true = (heard[0] - heard[2] for heard in (seen[True], seen[False]))  # the first step of each answer
    assert float(true.norm()) > 0.01 and float((told - true).abs().max()) < 1e-14

    first = site.answer(TEXT, 0, 1, demand_of(site))
    assert site.answer(TEXT, 0, 1, demand_of(site)) == first and lines(tmp_path) == 2
    for moved in (0.5, 1e-6):
        with pytest.raises(Refused, match="two answers with one noise would tell the data"):
            site.answer(TEXT, 0, 1, demand_of(site, moved=moved))
    assert lines(tmp_path) == 2


def test_the_same_round_at_another_place_or_under_other_terms_is_refused(tmp_path):
    site = north(tmp_path)
    demand = demand_of(site)
    site.answer(TEXT, 0, 1, demand)
    for place in (1, -4, 4, True, "0", None):
        with pytest.raises(Refused, match=r"client .* of these terms|of client"):
            site.answer(TEXT, place, 1, demand)  # type: ignore[arg-type]
    others = [replace(TERMS, settings=replace(TERMS.settings, **changed)) for changed in
              ({"clip_norm": 2.0}, {"learning_rate": 0.1}, {"epsilon": 2.0}, {"rounds": 4})]  # fmt: skip
    others += [replace(TERMS, sites=("north", "a", "b", "c")), replace(TERMS, key=bytes(16)), replace(TERMS, quorum=1)]
    for terms in others:
        with pytest.raises(Refused, match="agreed to other terms under the title"):
            site.answer(terms.text(), 0, 1, demand)
    for t in (0, -1, 4, 1.0, True, "1", None):
        with pytest.raises(Refused):
            site.answer(TEXT, 0, t, demand)  # type: ignore[arg-type]
    assert lines(tmp_path) == 2


def test_a_round_that_is_past_is_refused(tmp_path):
    site = north(tmp_path)
    site.answer(TEXT, 0, 2, demand_of(site))
    with pytest.raises(Refused, match="round 1 is past"):
        site.answer(TEXT, 0, 1, demand_of(site))
    assert lines(tmp_path) == 2


def test_after_its_last_round_a_sites_secret_is_gone_and_its_replies_stay(tmp_path):
    site = north(tmp_path)
    secret = tmp_path / "north/runs/001/secret.json"
    replies = [site.answer(TEXT, 0, t, demand_of(site)) for t in (1, 2)]
    assert secret.exists()
    replies.append(site.answer(TEXT, 0, 3, demand_of(site)))
    assert not secret.exists()
    site.close()
    again = north(tmp_path)
    assert [again.answer(TEXT, 0, t, demand_of(again)) for t in (1, 2, 3)] == replies and lines(tmp_path) == 6
    said = statement(tmp_path / "north")
    assert said.epsilon == again.spent() <= 3.0 and said.releases == 6 and not said.seeded and said.clients == 1


def test_other_data_under_the_same_agreement_are_refused_in_words_that_tell_nothing(tmp_path):
    site = north(tmp_path)
    demand = demand_of(site)
    site.close()
    moved = replace(NORTH, train=dealt(TASK, 4)[1].train)
    told: list[str] = []
    site = north(tmp_path, task=moved, told=told.append)
    with door(site, tmp_path) as path, pytest.raises(ValueError, match=HIDDEN):
        ask(path, {"ask": "round", "terms": TEXT, "client": 0, "round": 1}, demand)
    assert "belongs to another run" in told[-1] and not (tmp_path / "north/ledger.jsonl").exists()


# ---- limits and ledgers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_a_second_federation_composes_whatever_number_the_site_has_there(turned, tmp_path):
    site = north(tmp_path, epsilon=5.0)
    for t in (1, 2, 3):
        site.answer(TEXT, 0, t, demand_of(site))
    first = site.spent()
    names = NAMES[::-1] if turned else NAMES
    second = terms_for(TASK, replace(SETTINGS, epsilon=5.0), title="second", sites=names)
    place = names.index("north")
    for t in (1, 2, 3):
        site.answer(second.text(), place, t, demand_of(site, second))
    assert 2.9 < first <= 3.0 and 4.9 < site.spent() <= 5.0
    assert {release.client for release in read(tmp_path / "north/ledger.jsonl")} == {0} and lines(tmp_path) == 12
    third = terms_for(TASK, replace(SETTINGS, epsilon=5.0), title="third")
    with pytest.raises(Refused, match="is spent: earlier runs on the same data"):
        site.hello(third.text())
    assert statement(tmp_path / "north").epsilon == pytest.approx(site.spent())


def test_two_federations_at_once_stop_at_the_sites_limit(tmp_path):
    """Each is calibrated while the other has released nothing: the ledger, asked before each round, stops them."""
    site = north(tmp_path, epsilon=3.0)
    second = terms_for(TASK, title="second")
    demands = [(terms, demand_of(site, terms)) for terms in (TERMS, second)]
    with pytest.raises(Refused, match="past the target epsilon=3"):
        for t in (1, 2, 3):
            for terms, demand in demands:
                site.answer(terms.text(), 0, t, demand)
    assert 1.5 < site.spent() <= 3.0


def test_a_site_follows_the_tighter_of_its_own_limit_and_the_terms(tmp_path):
    mine, theirs = north(tmp_path, epsilon=1.0), north(tmp_path / "other")
    loose, strict = (site.hello(TEXT) for site in (theirs, mine))
    assert strict["sigma"] > 1.5 * loose["sigma"] and strict["limit"] == 1.0
    for t in (1, 2, 3):
        mine.answer(TEXT, 0, t, demand_of(mine))
    assert 0.97 < mine.spent() <= 1.0


def test_terms_that_would_not_protect_are_refused(tmp_path):
    site = north(tmp_path)
    given = TERMS.to_json()
    for changed, said in (
        ({"seed": 3}, "whoever knows the seed knows the noise"),
        ({"epsilon": None}, "without noise an upload tells the data"),
        ({"dirichlet_beta": 1.0}, "sites hold what they hold"),
    ):
        text = json.dumps({**given, "settings": {**given["settings"], **changed}})
        with pytest.raises(Refused, match=said):
            site.hello(text)
    for changed, said in (
        ({"method": "/tmp/mine.py:METHOD"}, "none of this kit's"),
        ({"method": "la_lora"}, "did you mean 'la-lora'"),
        ({"sites": ["a", "b", "c", "d"]}, "north is none of the terms' sites"),
        (
            {"about": {**given["about"], "backbone": "0" * 16}},
            "another model or other classes",
        ),
        ({"about": {**given["about"], "classes": '["x"]'}}, "another model or other classes"),
        ({"key": "00"}, "no 32 hexadecimal digits"),
        ({"quorum": 5}, "quorum"),
        ({"title": "\x1b[2J"}, "printable"),
        ({"more": 1}, "names differ"),
    ):
        with pytest.raises(Refused, match=said):
            site.hello(json.dumps({**given, **changed}))
    for text in ("", "[]", "{}", "x" * 300_000, '{"a": ' * 5000, '{"title": NaN}'):
        with pytest.raises(Refused):
            site.hello(text)
    assert not (tmp_path / "north/runs").exists()


def test_a_site_may_answer_one_text_of_terms_alone(tmp_path):
    site = north(tmp_path, only=TERMS.name)
    site.hello(TEXT)
    with pytest.raises(Refused, match="alone, and these are"):
        site.hello(terms_for(TASK, title="another").text())


# ---- the server's mirror --------------------------------------------------------------------------------------------


def test_the_server_never_tells_less_than_a_site_has_spent(tmp_path):
    """Replies lost, sites late, a resume, and an earlier federation that the server did not see."""
    sites = sites_in(tmp_path, TASK)
    before = terms_for(TASK, replace(SETTINGS, epsilon=1.0, rounds=1), title="before", sites=NAMES[::-1])
    sites["east"].answer(before.text(), 1, 1, demand_of(sites["east"], before))
    terms = terms_for(TASK, replace(SETTINGS, rounds=4), quorum=2)
    near = Near(sites)
    near.lost = {"south"}
    walk = serve(TASK, terms, tmp_path / "server", near)
    records = [next(walk)]
    near.late = {"west"}
    records.append(next(walk))
    walk.close()
    near.late, near.lost = set(), {"north"}
    records += serve(TASK, terms, tmp_path / "server", near)
    assert [r.participants for r in records] == [(0, 2, 3), (0, 2), (1, 2, 3), (1, 2, 3)]
    for client, name in enumerate(NAMES):
        own = sites[name].account.ledger.epsilon(terms.settings.delta)
        assert records[-1].epsilons[client] >= own > 0, name
    west = sites["west"].account.ledger.epsilon(terms.settings.delta)
    assert records[-1].epsilons[3] > west, "asked and not answered: counted all the same"
    assert (
        records[-1].epsilons[2] == sites["east"].account.ledger.epsilon(terms.settings.delta) > records[-1].epsilons[1]
    )
    assert records[-1].epsilon <= 3.0 and spent(tmp_path / "server", 1e-3).epsilon <= 3.0


def test_a_server_resumed_from_any_round_costs_no_site_any_epsilon(tmp_path):
    sites = sites_in(tmp_path, TASK)
    near = Near(sites)
    walk = serve(TASK, TERMS, tmp_path / "server", near)
    next(walk)
    second = next(walk)
    walk.close()
    before = {name: site.spent() for name, site in sites.items()}
    newest = sorted((tmp_path / "server/state").glob("*"))[-1]
    newest.unlink()  # the state of round 2 is lost: round 2 is asked for again
    said = len(near.said)
    walk = serve(TASK, TERMS, tmp_path / "server", near)
    again = next(walk)
    assert again.round == 2 and again.epsilons == second.epsilons
    assert all(torch.equal(again.adapter.tensors[key], value) for key, value in second.adapter.tensors.items())
    assert {name: site.spent() for name, site in sites.items()} == before
    assert [(name, t, demand, reply) for name, t, demand, reply in near.said[said:]] == near.said[said - 4 : said]


def test_without_a_quorum_a_round_stops_and_goes_on_later_at_no_cost(tmp_path):
    sites = sites_in(tmp_path, TASK)
    near = Near(sites)
    near.lost = {"east", "west"}
    with pytest.raises(ValueError, match="round 1 has 2 uploads, and the quorum is 3; missing are east, west"):
        next(serve(TASK, terms_for(TASK, quorum=3), tmp_path / "server", near))
    before = {name: site.spent() for name, site in sites.items()}
    near.lost = set()
    next(serve(TASK, terms_for(TASK, quorum=3), tmp_path / "server", near))
    assert {name: site.spent() for name, site in sites.items()} == before


def test_a_server_goes_on_with_its_own_terms_alone(tmp_path):
    sites = sites_in(tmp_path, TASK)
    next(serve(TASK, TERMS, tmp_path / "server", Near(sites)))
    other = terms_for(TASK, title="another")
    with pytest.raises(ValueError, match="belongs to another run: its terms is"):
        next(serve(TASK, other, tmp_path / "server", Near(sites_in(tmp_path / "more", TASK))))
    with pytest.raises(ValueError, match="the federation's backbone is"):
        serve(linear_task(seed=3), TERMS, tmp_path / "elsewhere", Near(sites))


# ---- what travels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [swin_task, roberta_task])
@pytest.mark.parametrize("method", ["la-lora", "dp-lora", "ffa-lora", "head-only"])
def test_an_upload_is_what_trained_and_at_most_2_kB_more(make, method, tmp_path):
    task = make()
    terms = terms_for(task, replace(SETTINGS, local_steps=8, epsilon=8.0), method)
    site = north(tmp_path, task=dealt(task, 4)[0])
    reply = site.answer(terms.text(), 0, 1, demand_of(site, terms))
    start = start_of(site, terms)
    assert 4 * start.size(terms.method.trained_in(1, 8)) < len(reply) <= 4 * start.size(
        terms.method.trained_in(1, 8)) + 2000  # fmt: skip


def test_a_reply_holds_noised_values_and_public_numbers_alone(tmp_path):
    site = north(tmp_path)
    reply = site.answer(TEXT, 0, 1, demand_of(site))
    facts = json.loads(json.loads(reply[8 : 8 + int.from_bytes(reply[:8], "little")])["__metadata__"]["about"])
    assert set(facts) == {"site", "round", "size", "rate", "sigma", "others", "epsilon", "layout"}
    assert set(safetensors.torch.load(reply)) == {"values", "norms"}
    hello = site.hello(TEXT)
    assert set(hello) == {"site", "terms", "limit", "size", "rate", "sigma", "others", "epsilon"}
    plan = site.agreed[TERMS.name].side.run.plan
    hidden = [plan.secret.hex(), plan.identity["data"], plan.identity["shards"], plan.run]
    assert not any(word in reply.decode("latin1") + json.dumps(hello) for word in hidden)


def hostile(site: Site, terms: Terms = TERMS) -> dict[str, bytes]:
    """Demands that are none."""
    start = start_of(site, terms)
    keys, good = sorted(start.tensors), demand_of(site, terms)
    values = safetensors.torch.load(good)["values"]
    about = {"about": json.dumps({"layout": json.loads(json.loads(
        good[8 : 8 + int.from_bytes(good[:8], "little")])["__metadata__"]["about"])["layout"]})}  # fmt: skip
    none = torch.empty(0)

    def made(found: torch.Tensor, **more: torch.Tensor) -> bytes:
        return safetensors.torch.save({"values": found, "norms": none, **more}, about)

    nan = values.clone()
    nan[3] = math.nan
    return {
        "nothing": b"", "noise": os.urandom(200), "cut": good[:-1], "longer": good + b"\0",
        "head of 2^60": (2**60).to_bytes(8, "little") + good[8:], "head of 0": bytes(8) + good[8:],
        "NaN": made(nan), "infinite": made(values * math.inf), "short": made(values[:-1]),
        "other type": made(values.double()), "other shape": made(values[None]), "more": made(values, extra=none),
        "no facts": safetensors.torch.save({"values": values, "norms": none}),
        "other order": pack(start, keys[::-1], {}), "some": pack(start, keys[:-1], {}),
        "huge": b"\0" * (4 * len(values) + SPARE + 1),
    }  # fmt: skip


def test_demands_that_are_none_are_refused_without_a_charge_and_the_site_goes_on(tmp_path):
    site = north(tmp_path)
    with door(site, tmp_path) as path:
        for name, demand in hostile(site).items():
            with pytest.raises(Refused):
                site.answer(TEXT, 0, 1, demand)
            with pytest.raises(ValueError, match=r"demand|message"):
                ask(path, {"ask": "round", "terms": TEXT, "client": 0, "round": 1}, demand)
            assert not (tmp_path / "north/runs/001/asked.jsonl").exists(), name
        said, reply = ask(path, {"ask": "round", "terms": TEXT, "client": 0, "round": 1}, demand_of(site))
        assert said == {} and reply == site.answer(TEXT, 0, 1, demand_of(site)) and lines(tmp_path) == 2


def test_requests_that_are_none_do_not_end_the_site(tmp_path):
    site = north(tmp_path)
    long, deep = b'{"ask": "hello", "terms": "' + b"x" * 2_000_000 + b'"}\n', b"[" * 100_000 + b"\n"
    bad = [b"\n", b"\xff\xfe\n", b"[]\n", b"7\n", b'{"ask": "secret", "terms": ""}\n', b'{"ask": "hello"}\n', deep,
           long,
           json.dumps({"ask": "round", "terms": TEXT, "bytes": 10**12}).encode() + b"\n",
           json.dumps({"ask": "round", "terms": TEXT, "bytes": -1}).encode() + b"\n",
           json.dumps({"ask": "round", "terms": TEXT, "bytes": True}).encode() + b"\n"]  # fmt: skip
    with door(site, tmp_path) as path:
        for words in bad:
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(str(path))
                try:
                    link.sendall(words)
                    link.shutdown(socket.SHUT_WR)
                    found = link.makefile("rb").readline()
                except (BrokenPipeError, ConnectionResetError):  # it stopped reading, which is an answer too
                    continue
                assert b"refused" in found, words[:40]
        with socket.socket(socket.AF_UNIX) as silent:  # one that says nothing keeps nobody else waiting
            silent.connect(str(path))
            assert ask(path, {"ask": "hello", "terms": TEXT})[0]["site"] == "north"


def test_replies_that_are_none_count_as_missing(tmp_path):
    sites = sites_in(tmp_path, TASK)
    told: list[str] = []

    class Lying(Near):
        def ask(self, terms: Terms, t: int, names: Mapping[str, int], demand: bytes) -> Iterator[tuple[str, bytes]]:
            for name, reply in super().ask(terms, t, names, demand):
                yield name, self.turned(name, t, reply)

        def turned(self, name: str, t: int, reply: bytes) -> bytes:
            if name != "south":
                return reply
            other = {
                1: reply[:-4],
                2: safetensors.torch.save({"values": torch.full((40,), math.nan)}),
                3: b"\0" * 10**6,
            }
            return other[t]

    records = list(serve(TASK, terms_for(TASK, quorum=3), tmp_path / "server", Lying(sites), told.append))
    assert [r.participants for r in records] == [(0, 2, 3)] * 3
    assert sum("south sent what cannot be used" in line for line in told) == 3
    assert all(bool(torch.isfinite(value).all()) for value in records[-1].adapter.tensors.values())


@pytest.mark.parametrize(
    "turn", [{"site": "east"}, {"round": 2}, {"others": [[2.0, 1.0, 1]]}, {"others": 3}, {"others": None}]
)
def test_a_reply_of_another_site_or_round_or_with_odd_facts_counts_as_missing(turn, tmp_path, monkeypatch):
    from lalora_kit.runs.sites import site as site_file

    sites = sites_in(tmp_path, TASK)
    plain = site_file.pack
    monkeypatch.setattr(site_file, "pack", lambda adapter, keys, facts, *more: plain(
        adapter, keys, {**facts, **(turn if facts["site"] == "south" else {})}, *more))  # fmt: skip
    r = next(serve(TASK, terms_for(TASK, quorum=3), tmp_path / "server", Near(sites)))
    assert r.participants == (0, 2, 3)


# ---- who can reach what ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def door(site: Site, tmp_path: Path, group: str | None = None) -> Iterator[Path]:
    path = tmp_path / "door" / "socket"
    with Door(site, path, group) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield path
        listening.shutdown()


def test_a_site_s_directory_is_its_own_users_alone(tmp_path):
    before = os.umask(0)
    try:
        site = north(tmp_path)
        site.answer(TEXT, 0, 1, demand_of(site))
        with door(site, tmp_path) as path:
            assert path.parent.stat().st_mode & 0o777 == 0o700 and path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)
    assert (tmp_path / "north").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "north/runs/001/secret.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_hostile_app_under_the_relays_user_reads_nothing_and_can_ask_like_any_server(tmp_path):
    """Two real accounts: the site is root's, the app is `nobody`'s."""
    if os.geteuid() != 0:
        pytest.skip("not root: two real accounts could not be tried, only the modes of files")
    nobody = pwd.getpwnam("nobody")
    group = grp.getgrgid(nobody.pw_gid).gr_name
    home = Path("/tmp") / f"lalora-two-accounts-{os.getpid()}"
    home.mkdir(mode=0o755)
    try:
        site = north(home)
        moved = demand_of(site, moved=0.5)
        site.answer(TEXT, 0, 1, demand_of(site))
        (home / "north/data.csv").write_text("text,label\n")
        secrets = [home / "north", *sorted(path for path in (home / "north").rglob("*"))]
        assert {"data.csv", "secret.json", "ledger.jsonl"} <= {path.name for path in secrets}
        with door(site, home, group) as path:

            def app() -> None:
                os.setgroups([])
                os.setgid(nobody.pw_gid)
                os.setuid(nobody.pw_uid)
                for place in secrets:
                    ways = (os.listdir,) if place == secrets[0] else (Path.read_bytes, os.unlink, os.listdir)
                    for way in ways:
                        with contextlib.suppress(PermissionError):
                            way(place)
                            os._exit(5)
                with contextlib.suppress(PermissionError):
                    (path.parent / "another").write_text("")
                    os._exit(6)
                assert ask(path, {"ask": "hello", "terms": TEXT})[0]["site"] == "north"
                try:
                    ask(path, {"ask": "round", "terms": TEXT, "client": 0, "round": 1}, moved)
                    os._exit(7)
                except ValueError as error:
                    assert "another adapter" in str(error)

            assert in_a_fork(app) == 0
        site.close()
    finally:
        shutil.rmtree(home)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_site_that_is_not_root_gives_its_door_to_a_group_that_it_is_not_in():
    if os.geteuid() != 0:
        pytest.skip("not root: two real accounts could not be tried")
    owner, group = pwd.getpwnam("daemon"), grp.getgrgid(pwd.getpwnam("nobody").pw_gid)
    home = Path("/tmp") / f"lalora-door-{os.getpid()}"
    home.mkdir(mode=0o755)
    made, mine = home / "made", home / "mine"
    try:
        made.mkdir()
        os.chown(made, owner.pw_uid, group.gr_gid)
        made.chmod(0o2750)
        mine.mkdir()
        os.chown(mine, owner.pw_uid, owner.pw_gid)

        def live() -> None:
            os.setgroups([])
            os.setgid(owner.pw_gid)
            os.setuid(owner.pw_uid)
            with Door(None, made / "socket", group.gr_name):  # type: ignore[arg-type]
                found = (made / "socket").stat()
                assert (found.st_gid, found.st_mode & 0o777) == (group.gr_gid, 0o660)
            with pytest.raises(ValueError, match=r"install -d -o .* -m 2750"):
                Door(None, mine / "socket", group.gr_name)  # type: ignore[arg-type]

        assert in_a_fork(live) == 0
    finally:
        shutil.rmtree(home)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_site_on_another_machine_gets_fresh_noise_and_is_charged(tmp_path, monkeypatch):
    """What was charged and not kept is another release there: with the same noise, the two would tell rounding."""
    site = north(tmp_path)
    demand = demand_of(site)
    monkeypatch.setattr(Side, "local_round", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        site.answer(TEXT, 0, 1, demand)
    site.close()
    monkeypatch.undo()
    shutil.copytree(tmp_path / "north", tmp_path / "same/north")
    here = north(tmp_path / "same").answer(TEXT, 0, 1, demand)
    monkeypatch.setattr("lalora_kit.plan.machine_of", lambda *given: {"device": "another"})
    there = north(tmp_path)
    reply = there.answer(TEXT, 0, 1, demand)
    assert lines(tmp_path / "same") == 2 and lines(tmp_path) == 4 and reply != here
    for t in (2, 3):
        there.answer(TEXT, 0, t, demand)
    assert there.spent() <= 3.0


@pytest.mark.parametrize(
    "turn",
    [{"size": "9"}, {"size": 0}, {"rate": 2}, {"rate": None}, {"sigma": 0}, {"sigma": "1"}, {"others": 1}, {"terms": 3},
     {"epsilon": "x"}, {"site": None}],
)  # fmt: skip
def test_a_hello_that_is_none_does_not_begin_a_run(turn, tmp_path):
    class Lying(Near):
        def hello(self, terms: Terms, wait: bool) -> dict:
            found = super().hello(terms, wait)
            return {**found, "south": {**found["south"], **turn}}

    with pytest.raises(ValueError, match="site south has not agreed to the terms"):
        serve(TASK, TERMS, tmp_path / "server", Lying(sites_in(tmp_path, TASK)))
    assert not (tmp_path / "server/ledger.jsonl").exists() and not (tmp_path / "server/settings.json").exists()
