"""What the README shows can be typed in."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from lalora_kit.federated import federated_rounds
from lalora_kit.trial.study import find
from tests.tiny import FAST, linear_task

TEXT = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")


def test_the_core_in_a_few_lines(capsys):
    code = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[0]
    assert "rounds=10" in code and len(code.splitlines()) <= 10
    exec(code.replace("rounds=10", "rounds=1"), {})
    assert capsys.readouterr().out.startswith("1 0.")


def test_a_method_of_ones_own_in_a_file(tmp_path, monkeypatch):
    code = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    assert code.startswith("# mine.py") and len(code.splitlines()) <= 20
    (tmp_path / "mine.py").write_text(code, "utf-8")
    monkeypatch.chdir(tmp_path)
    settings = replace(FAST, local_steps=3, rounds=1)
    [r] = federated_rounds(linear_task(), find("mine.py:MINE"), settings)
    assert set(r.update_norms) == {"A", "B", "head"}
