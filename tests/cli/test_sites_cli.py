"""`lalora site` and `lalora serve`, as a shell would call them, on data of one's own and without Flower."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import pytest

from lalora_kit.cli.app import main
from lalora_kit.engine.adapters import create
from lalora_kit.privacy.mechanism import generator_of
from lalora_kit.runs.sites import app as apps
from lalora_kit.runs.sites import setup
from lalora_kit.runs.sites.door import ask
from lalora_kit.runs.sites.wire import pack
from lalora_kit.runs.statement import statement
from tests.own_data import write_csv

ROOT = Path(__file__).resolve().parents[2]
WORDS = {"calm": "a quiet day at the lake", "storm": "thunder and rain all night", "fog": "nothing to be seen ahead"}


def notes(path: Path, classes: tuple[str, ...], rows: int = 40) -> Path:
    return write_csv(path, [
        {"note": f"{WORDS[classes[i % len(classes)]]}, number {i}", "kind": classes[i % len(classes)]}
        for i in range(rows)
    ])  # fmt: skip


def lalora(*words: object) -> tuple[int, str, str]:
    """A command line in this process: exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", ["lalora", *map(str, words)]))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        ended = stack.enter_context(pytest.raises(SystemExit))
        main()
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


CSV = ("--text", "note", "--label", "kind", "--unit", "row", "--backbone", "roberta-pico")


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """A site without fog, and an app whose model knows it; the server has no test data."""
    tmp_path = tmp_path_factory.mktemp("federation")
    place = notes(tmp_path / "north.csv", ("calm", "storm"))
    code, said, wrong = lalora("site", "init", tmp_path / "north", "--name", "north", "--csv", place, *CSV,
                  "--classes", "calm,fog,storm", "--epsilon", 2, "--delta", 1e-3)  # fmt: skip
    assert code == 0, wrong
    assert "32 training samples, classes calm, fog, storm; ε at most 2 at δ 0.001" in said
    code, said, wrong = lalora("serve", "app", tmp_path / "trial", "--sites", "north", "--kind", "text", "--backbone",
                  "roberta-pico", "--classes",
                  "calm,fog,storm", "--rounds", 1, "--local-steps", 2, "--delta", 1e-3, "--set", "rank=2")  # fmt: skip
    assert code == 0, wrong
    assert f"flwr run {tmp_path / 'trial'} here --stream" in said
    return tmp_path


def test_what_is_not_as_it_should_be_is_told_with_its_remedy(federation):
    code, said, _ = lalora("site", "check", federation / "north")
    assert code == 1 and "relay and site are one user" in said and "--terms FILE" in said
    (federation / "north").chmod(0o755)
    assert f"chmod 700 {federation / 'north'}" in lalora("site", "check", federation / "north")[1]
    (federation / "north").chmod(0o700)
    code, said, _ = lalora("serve", "check", federation / "trial")
    assert code == 1
    for fault in ("is not encrypted", "FLWR_TELEMETRY_ENABLED is not 0", "FLWR_DISABLE_UPDATE_CHECK", "no public test"):
        assert fault in said, fault
    assert (federation / "trial-run").stat().st_mode & 0o777 == 0o700


def test_a_site_runs_alone_answers_its_door_and_ends_on_request(federation):
    terms = apps.read_server(federation / "trial").terms
    words = ["site", "run", str(federation / "north"), "--terms", str(federation / "trial/terms.json")]
    process = subprocess.Popen([sys.executable, "-m", "lalora_kit", *words], cwd=ROOT, text=True,
                               env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE)  # fmt: skip
    path = setup.door_of(federation / "north") / "socket"
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"answering federation ({terms.name}) alone: la-lora, ε 3 ")
        assert "answers at" in process.stdout.readline()
        relay = process.stdout.readline()
        assert "FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 flower-supernode" in relay
        server = apps.read_server(federation / "trial").task()
        facts, _ = ask(path, {"ask": "hello", "terms": terms.text()})
        assert facts["size"] == 32 and facts["limit"] == 2.0
        start = create(server.backbone, server.targets, server.head, 2, 1.0, generator_of(terms.first))
        demand = pack(start, sorted(start.tensors), {})
        _, reply = ask(path, {"ask": "round", "terms": terms.text(), "client": 0, "round": 1}, demand)
        assert len(reply) > 4 * start.size("B")
        written = (federation / "north" / setup.ABOUT).read_bytes()
        (federation / "later.json").write_text(replace(terms, title="later").text())
        code, _, wrong = lalora("site", "run", federation / "north", "--terms", federation / "later.json")
        assert code == 2 and "is in use by another run" in wrong
        assert (federation / "north" / setup.ABOUT).read_bytes() == written, "a site that runs keeps its terms"
        with pytest.raises(ValueError, match="none of these terms"):
            ask(path, {"ask": "round", "terms": terms.text(), "client": 0, "round": 2}, demand)
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 0 and "ε at most 2 at δ 0.001" in said
    assert "refused: round 2 of client 0 is none of these terms" in said and "ε spent on these data 1.9" in said
    assert 1.9 < statement(federation / "north").epsilon <= 2.0
    assert "ε = 1.9" in lalora("statement", federation / "north")[1]


@pytest.mark.skipif(find_spec("flwr") is not None, reason="Flower is installed")
def test_without_flower_the_commands_say_what_to_install(federation):
    assert "pip install 'lalora-kit[flower]'" in lalora("serve", "check", federation / "trial")[1]
    code, _, wrong = lalora("site", "run", federation / "north", "--connect", "127.0.0.1:9", "--insecure")
    assert code == 2 and "pip install 'lalora-kit[flower]'" in wrong


def test_what_cannot_be_is_refused_in_a_sentence(federation):
    site, app, new, data = (federation / name for name in ("north", "trial", "new", "north.csv"))
    terms = apps.read_server(app).terms
    (federation / "others.json").write_text(replace(terms, sites=("east",)).text())
    made = ("site", "init", new, "--name", "x", "--epsilon", 1, "--task", "digits")
    served = ("serve", "app", new, "--sites", "a,b", "--task", "digits")
    for words, said in (
        (("site", "init", site, *made[3:]), "is a site already"),
        ((*made, "--epsilon", "inf"), "finite number"),
        ((*made, "--share", "3/2"), "share"),
        ((*made, "--relay-group", "no such group"), "is not known on this machine"),
        ((*made[:-2], "--csv", data, *CSV, "--classes", "calm,fog"), "name them all"),
        (("site", "run", federation / "nowhere"), "is no site"),
        (("site", "run", site, "--terms", federation / "nowhere.json"), "the terms cannot be read from"),
        (("site", "run", site, "--terms", federation / "trial/server.json"), "these are no terms of this kit's"),
        (("site", "run", site, "--terms", federation / "others.json"), "site north is none of the terms' sites (east)"),
        (("serve", "app", app, *served[3:]), "is not empty"),
        ((*served, "--sites", "a,a"), "each site has a name of its own"),
        ((*served, "--set", "seed=3"), "leave the seed out"),
        ((*served, "--epsilon", "inf"), "without noise"),
        (served[:-2], "the model must be named"),
        ((*served, "--set", "rank"), "NAME=VALUE"),
        ((*served, "--quorum", 3), "quorum"),
        (("serve", "check", federation), "holds no app"),
    ):  # fmt: skip
        code, _, wrong = lalora(*words)
        assert code == 2 and said in wrong, (words, wrong)
    assert not new.exists()


def test_the_app_is_a_standard_one_and_names_no_path_of_the_sites(federation):
    app = tomllib.loads((federation / "trial/pyproject.toml").read_text())["tool"]["flwr"]["app"]
    assert set(app["components"]) == {"serverapp", "clientapp"} and set(app["config"]) == {"home"}
    for file in (federation / "trial/lalora_app").glob("*.py"):
        compile(file.read_text(), str(file), "exec")
    said = json.loads((federation / "trial/terms.json").read_text())
    assert said["settings"]["seed"] is None and said["sites"] == ["north"]
