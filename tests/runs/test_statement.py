"""The statement: what it says of real runs, against the ledger; and that it speaks only for what is on record."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from importlib.metadata import version

import pytest

from lalora_kit.cli import app as cli
from lalora_kit.methods import METHODS
from lalora_kit.privacy import Ledger, composed_epsilon, merged
from lalora_kit.privacy.ledger import read
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.statement import HARDENING, NOT_PRIVATE, SEEDED, TUNING, UNSEEDED, statement
from tests.tiny import FAST, linear_task

TASK = linear_task()
WHOLE = replace(FAST, sample_rate=1.0, epsilon=1.0)  # everybody: the accountant is quickest there


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """A run with a seed, then one without, in one directory, by two methods."""
    directory = tmp_path_factory.mktemp("statement") / "run"
    list(save_rounds(TASK, METHODS["dp-lora"], WHOLE, directory))
    [*_, last] = save_rounds(TASK, METHODS["la-lora"], replace(WHOLE, epsilon=3.0, seed=None, clip_norm=0.5), directory)
    return directory, last


def run_cli(capsys, monkeypatch, *arguments: str) -> tuple[str, str, int]:
    monkeypatch.setattr("sys.argv", ["lalora", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return out, err, ended.value.code


def test_epsilon_is_the_ledgers_over_both_runs(two_runs):
    directory, last = two_runs
    said = statement(directory)
    assert said.epsilon == Ledger(directory / "ledger.jsonl").epsilon(WHOLE.delta) >= last.epsilon
    # By hand: the runs split the data differently, so a sample may have been anyone's, and all release alike.
    sigmas = {release.run: release.noise_multiplier for release in read(directory / "ledger.jsonl")}
    rows = [(1.0, sigma, 4) for sigma in sigmas.values()]
    assert said.epsilon == composed_epsilon(merged(rows), WHOLE.delta)
    assert 0.98 * 3.0 <= said.epsilon <= 3.0
    assert (said.runs, said.releases, said.steps, said.delta) == (2, 2 * 4 * 4, 4, 1e-3)
    assert said.noise_multipliers == (min(sigmas.values()), max(sigmas.values()))
    assert (said.clip_norms, said.sample_rates) == ((0.5, 1.0), (1.0, 1.0))


def test_the_paragraph_says_everything_that_limits_the_promise(two_runs):
    said = statement(two_runs[0])
    for part in (
        f"ε = {said.epsilon:.4g} at δ = 0.001",
        "one training sample of one client",
        "gradient is replaced by zero (zero-out",
        "add-or-remove",
        "the server, who sees every client's update",
        "Poisson",
        "PRV and RDP",
        f"opacus {version('opacus')}",
        f"σ = {said.noise_multipliers[0]:.4g} to {said.noise_multipliers[1]:.4g}",
        "L2 norm 0.5 to 1",
        "4 steps at most",
        "in 2 runs",
        TUNING,
        SEEDED,  # of the earlier run: the later one had none
        HARDENING,
        f"lalora-kit {version('lalora-kit')}",
    ):
        assert part in said.text, part
    assert NOT_PRIVATE not in said.text and UNSEEDED not in said.text


def test_rates_and_noise_that_differ_by_client_are_a_range(tmp_path):
    settings = replace(FAST, sample_rate=None, batch_size=1, dirichlet_beta=0.5, rounds=1, seed=None)
    [last] = save_rounds(TASK, METHODS["la-lora"], settings, tmp_path)
    said = statement(tmp_path)
    assert said.noise_multipliers == (min(last.noise_multipliers), max(last.noise_multipliers))
    assert said.noise_multipliers[0] < said.noise_multipliers[1] and said.sample_rates[0] < said.sample_rates[1]
    assert said.epsilon == last.epsilon and not said.seeded and UNSEEDED in said.text and SEEDED not in said.text


def test_a_run_without_noise_is_said_to_be_not_private(tmp_path):
    list(save_rounds(TASK, METHODS["la-lora"], replace(FAST, epsilon=math.inf, rounds=1), tmp_path))
    said = statement(tmp_path)
    assert not said.private and NOT_PRIVATE in said.text and "ε = " not in said.text
    assert json.loads(json.dumps(said.to_json(), allow_nan=False))["epsilon"] is None


def test_the_command_prints_the_paragraph_or_json(two_runs, capsys, monkeypatch):
    directory, said = two_runs[0], statement(two_runs[0])
    out, err, code = run_cli(capsys, monkeypatch, "statement", str(directory))
    assert (out, err, code) == (said.text + "\n", "", 0)
    out, _, _ = run_cli(capsys, monkeypatch, "statement", str(directory), "--json")
    values = json.loads(out)
    assert (values["epsilon"], values["runs"], values["private"], values["text"]) == (said.epsilon, 2, True, said.text)
    out, err, code = run_cli(capsys, monkeypatch, "statement", str(directory / "nowhere"))
    assert (out, code) == ("", 2) and "holds no run" in err and err.count("\n") == 1


@pytest.mark.parametrize("harm", ["removed", "cut back", "a line changed"])
def test_without_the_whole_ledger_nothing_is_stated(two_runs, tmp_path, harm):
    directory = tmp_path / "run"
    shutil.copytree(two_runs[0], directory)
    path = directory / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    if harm == "removed":
        path.unlink()
    else:
        lines = lines[:5] if harm == "cut back" else [lines[0].replace('"client": 0', '"client": 3'), *lines[1:]]
        path.write_text("".join(lines))
    with pytest.raises(ValueError, match=r"ε spent is unknown|a second time with other numbers"):
        statement(directory)
    shutil.rmtree(directory / "adapter")
    path.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="holds no release, yet rounds were finished"):
        statement(directory)


def test_a_run_that_has_released_nothing_has_nothing_to_state(tmp_path):
    save_rounds(TASK, METHODS["la-lora"], FAST, tmp_path).close()
    with pytest.raises(ValueError, match="there is nothing to state yet"):
        statement(tmp_path)


def test_releases_of_a_round_that_a_crash_cut_off_are_charged(tmp_path):
    """On record before the noise is drawn: what may have left counts, whether or not its round was finished."""
    rounds = save_rounds(TASK, METHODS["la-lora"], replace(WHOLE, rounds=4), tmp_path)
    first = next(rounds)
    rounds.close()
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines(keepends=True)
    with open(tmp_path / "ledger.jsonl", "a") as file:
        file.writelines(line.replace('"round": 1', '"round": 2') for line in lines)
        file.write(lines[0][:30])
    before = (tmp_path / "ledger.jsonl").read_bytes()
    said = statement(tmp_path)
    assert said.epsilon == composed_epsilon(((1.0, first.noise_multiplier, 4),), 1e-3) > first.epsilon
    assert (tmp_path / "ledger.jsonl").read_bytes() == before  # another process may be writing there
