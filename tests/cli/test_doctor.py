"""The doctor, on this machine and on ones that lack something."""

import json
import os
import platform
import socket
import time
from importlib import metadata
from pathlib import Path

import pytest

from lalora_kit.base import machine
from lalora_kit.cli import doctor
from tests.cli.test_cli import lalora


def test_a_machine_that_runs_the_tests_is_healthy_and_json_says_the_same():
    done = lalora("doctor", "--json")
    told = json.loads(done.stdout)
    wrong = [finding for finding in told["findings"] if not finding["ok"]]
    assert (done.returncode == 0) == told["ok"] == (not wrong)
    assert not [finding for finding in wrong if finding["name"] not in ("memory", "disk")], "the rest must be there"
    found = {finding["name"]: finding["found"] for finding in told["findings"]}
    named = {"torch", "timm", "transformers", "peft", "opacus", "jupyterlab", "ipywidgets", "anywidget", "plotly"}
    assert named | {"papermill", "GPU", "bf16", "memory", "network", "disk", "writing here"} <= found.keys()
    assert found["torch"] == metadata.version("torch") and found["python"].startswith(platform.python_version())


def test_every_fault_has_a_remedy_and_is_counted():
    findings = [doctor.python(), doctor.memory(800_000_000), doctor.disk(Path(), 1_000)]
    assert [finding.ok for finding in findings] == [True, False, False]
    assert all(finding.remedy for finding in findings[1:]) and not findings[0].remedy
    said = doctor.report(findings)
    assert "MEND  memory  0.8 GB available" in said and "shut other kernels" in said and said.endswith("remedy above")
    assert "2 to mend" in said and not doctor.healthy(findings)
    assert doctor.report(findings[:1]).endswith("all that is needed is there")


@pytest.mark.parametrize(
    ("name", "needs", "found"),
    [("no-such-package-here", ">=1", "not installed"), ("typer", ">=999", "needed is >=999"), ("numpy", "<1", "<1")],
)
def test_a_missing_or_old_package_is_named_with_the_command_that_mends_it(name, needs, found):
    finding = doctor.package(name, needs)
    assert not finding.ok and found in finding.found and f'pip install "{name}{needs}"' in finding.remedy


def test_the_packages_looked_at_are_those_that_the_kit_asks_for():
    asked = {line.split(">=")[0] for line in metadata.requires("lalora-kit") or [] if "extra" not in line}
    assert {finding.name for finding in doctor.packages()} == {"lalora-kit", *asked}


def test_offline_is_no_fault_and_waits_for_no_one():
    with socket.socket() as taken:  # bound, but nobody listens: refused at once
        taken.bind(("127.0.0.1", 0))
        finding = doctor.network(taken.getsockname())
    assert finding.ok and finding.found.startswith("offline") and "need no network" in finding.note
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert doctor.network(server.getsockname()).found == "127.0.0.1 answers"
    start = time.monotonic()
    assert doctor.network(("192.0.2.1", 443), patience=0.2).ok  # an address that belongs to nobody (RFC 5737)
    assert time.monotonic() - start < 5


def test_the_proxy_is_what_is_asked_where_there_is_one(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert doctor.hub_address() == ("127.0.0.1", 3128)


def test_widgets_that_the_browser_cannot_load_are_found(monkeypatch, tmp_path):
    assert doctor.lab_extension("anywidget", "anywidget").ok
    assert "stay blank" in doctor.lab_extension("no-such-extension", "anywidget").found
    older = tmp_path / "labextensions" / "anywidget" / "package.json"
    older.parent.mkdir(parents=True)
    older.write_text('{"version": "0.0.1"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    finding = doctor.lab_extension("anywidget", "anywidget")
    assert not finding.ok and "0.0.1 in" in finding.found and "--force-reinstall" in finding.remedy


def test_a_folder_that_cannot_be_written_is_found(tmp_path):
    assert doctor.writable(tmp_path).ok and not list(tmp_path.iterdir())
    finding = doctor.writable(tmp_path / "nowhere")
    assert not finding.ok and "lalora notebooks" in finding.remedy


@pytest.mark.skipif(os.name == "nt", reason="reads Linux's files")
def test_a_containers_limit_counts(monkeypatch, tmp_path):
    (tmp_path / "max").write_text("2000000000\n")
    (tmp_path / "current").write_text("1900000000\n")
    free = machine.available_memory()
    monkeypatch.setattr(machine, "CGROUPS", ((tmp_path / "max", tmp_path / "current"),))
    assert machine.available_memory() == min(100_000_000, free) or free < 100_000_000
    (tmp_path / "max").write_text("max\n")
    assert machine.available_memory() > 100_000_000 or free < 200_000_000
