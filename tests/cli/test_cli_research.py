"""The researcher's commands, as a shell would call them."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from lalora_kit.cli import research as cli_research
from lalora_kit.cli import trust
from lalora_kit.privacy import noise_multiplier
from lalora_kit.settings import Settings
from lalora_kit.trial import beside, claim_runs, tables
from lalora_kit.trial.claims import CLAIMS
from lalora_kit.trial.designs import DIGITS
from lalora_kit.trial.effects import together
from lalora_kit.trial.verdicts import judge
from tests.cli.test_cli import lalora


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["compare", "a", "b", "--epsilon", "1", "3", "--seeds", "5"],
         ["compare", "a", "b", "--epsilon", "1", "--epsilon", "3", "--seeds", "5"]),
        (["compare", "--epsilon", "1", "--json", "a"], ["compare", "--epsilon", "1", "--json", "a"]),
        (["claims", "--rates", "1", "2", "--json"], ["claims", "--rates", "1", "--rates", "2", "--json"]),
        (["train", "--epsilon", "1", "3"], ["train", "--epsilon", "1", "3"]),
        ([], []),
    ],
)  # fmt: skip
def test_several_values_in_one_go(given, read):
    assert cli_research.spread(given) == read


def test_an_audit_takes_what_a_run_claims_and_says_why_its_delta_is_what_it_is(tmp_path):
    run = {"task": "digits", "method": "rolora", "settings": Settings(epsilon=2.0, clip_head_share=0.5).to_json()}
    (tmp_path / "settings.json").write_text(json.dumps(run))
    nothing = dict.fromkeys(("method", "epsilon", "delta", "clip_head_share"))
    usual = trust.claim(nothing, None)
    assert usual == {"method": "la-lora", "epsilon": 3.0, "delta": 1e-3, "clip_head_share": 0.0}
    assert trust.claim(nothing, tmp_path) == {
        "method": "rolora", "epsilon": 2.0, "delta": 1e-5, "clip_head_share": 0.5,
    }  # fmt: skip
    assert trust.claim({**nothing, "delta": 1e-4}, None)["delta"] == 1e-4
    with pytest.raises(ValueError, match="and delta are given together"):
        trust.claim({**nothing, "delta": 1e-4}, tmp_path)
    assert "training's usual 1e-5" in trust.about_delta(1e-3, None) and "of the run" in trust.about_delta(
        1e-5, tmp_path
    )


def test_at_a_larger_delta_the_same_epsilon_asks_for_less_noise():
    assert noise_multiplier(3.0, 1e-3, 1.0, 4) < noise_multiplier(3.0, 1e-5, 1.0, 4)


def test_reported_seeds_chose_no_rate():
    assert cli_research.designed("digits", None, None) == DIGITS
    nine = cli_research.designed("digits", 9, [2.0, 1.0])
    assert nine.seeds == (0, 1, 2, 3, 4, 8, 9, 10, 11) and nine.rates == (1.0, 2.0), "5 to 7 chose"
    assert cli_research.designed("mnist", None, None).seeds == tuple(range(10))


def test_each_task_has_its_own_folder(monkeypatch, tmp_path):
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claim_runs, "run_claims", lambda out, made, **_: asked.append((str(out), made.task)) or [])
    monkeypatch.setattr(beside, "run_beside", lambda out, *with_, **__: asked.append((str(out), with_[-1].task)) or [])
    monkeypatch.setattr(tables, "write_tables", lambda out, *_: (out, out))
    monkeypatch.setattr(cli_research, "finish", lambda *_: None)
    runner = CliRunner()
    for arguments in (["claims"], ["compare", "la-lora", "dp-lora"], ["claims", "--out", "mine"]):
        for task in ("digits", "stdlib-docs"):
            done = runner.invoke(cli_research.app, [*arguments, "--task", task])
            assert done.exit_code == 0, done.output
    folders = ["runs/claims-digits", "runs/claims-stdlib-docs"]
    folders += ["runs/compare-digits", "runs/compare-stdlib-docs", "mine", "mine"]
    assert asked[::2] == asked[1::2] == list(zip(folders, ["digits", "stdlib-docs"] * 3, strict=True))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "la-lora"], "two or more"),
        (["compare", "la-lora", "lo-lora"], "la-lora"),
        (["compare", "la-lora", "nowhere.py:MINE"], "nowhere.py"),
        (["claims", "--task", "digit"], "digits"),
        (["claims", "--seeds", "1"], "2"),
        (["claims", "--rates", "0.5", "0"], "a grid to choose from"),
        (["compare", "la-lora", "dp-lora", "--rates", "0.5"], "a grid to choose from"),
    ],
)
def test_bad_input_is_one_sentence(arguments, words, tmp_path):
    done = lalora(*arguments, "--out", str(tmp_path))
    assert done.returncode == 2 and done.stdout == "" and words in done.stderr and "Traceback" not in done.stderr


def test_a_table_is_printed_and_as_json(monkeypatch, tmp_path, capsys):
    rows, design = judge({}, CLAIMS[:2], DIGITS), replace(DIGITS, rates=(0.5, 1.0))
    files = tables.write_tables(tmp_path, rows, [], design)
    cli_research.finish(rows, [], files, design, as_json=False)
    printed = capsys.readouterr().out
    assert CLAIMS[0].text in printed and "too few seeds to say" in printed and str(files[0]) in printed
    assert "rates 0.5, 1; best rate at an end of them: none" in printed
    bare = beside.Baseline("linear", 3.0, 0.9, 1.0, {"la-lora": together([[-1.0, -1.2, -1.1]])[0]})
    cli_research.finish(rows, [], files, design, False, [bare])
    said = "linear at ε=3 (90.0%) is ahead of la-lora (88.9%): the adapter does not pay over it"
    assert said in capsys.readouterr().out
    cli_research.finish(rows, [], files, design, True, [bare])
    assert json.loads(capsys.readouterr().out)[-1]["verdict"] == "la-lora behind"
    cli_research.finish(rows, [], files, design, as_json=True)
    assert [row["key"] for row in json.loads(capsys.readouterr().out)] == [c.key for c in CLAIMS[:2]]
