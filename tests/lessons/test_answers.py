"""Answers: right ones are told from wrong ones in every notebook, and none stands there in the open."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from lalora_kit.lessons.answers import check, plain, sealed

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
#: What is right, and what a learner may well take for it.
ANSWERS = {
    "00_start_here": ([2, "2.0"], [4, 0.5, 1, 16]),
    "01_gradient_coupling": ([0.5, ".5", "0.50"], [0.25, 1, 2]),
    "02_noise_amplification": ([4], [2, 16, 1]),
    "03_sharpness": ([2], [4, 0.5, 1]),
    "04_la_lora": ([2, "2"], [0.5, 1, 4]),
    "05_is_it_private": ([4.5, 4.6, 4.54], [8, 0.99, 5]),
    "07_vision_at_scale": ([6.7, 6.71], [12.5, 3.5, 1]),
    "08_language_at_scale": ([76, "76 %", 76.4], [44, 60]),
    "09_across_sites": ([6, "6.0"], [5, 1, 0]),
    "10_who_averages_what": ([28, "28.0"], [48, 4, 12, 7]),
    "11_reach_and_noise": ([256, "256"], [16, 64, 128]),
    "06_claims_on_trial": ([62, "62 %", 62.3], [95, 5, 0.62]),
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_check_cell_knows_right_from_wrong(path, capsys):
    [cell] = [cell for cell in nbformat.read(path, as_version=4).cells if cell.id == "answer-check"]
    assert "\nanswer = None  # " in cell.source
    exec(cell.source, {})
    assert capsys.readouterr().out.startswith("no answer yet")
    right, wrong = ANSWERS[path.stem]
    for answer in right:
        exec(cell.source.replace("answer = None", f"answer = {answer!r}"), {})
        assert capsys.readouterr().out == f"{plain(answer)}: right\n"
    for answer in wrong:
        exec(cell.source.replace("answer = None", f"answer = {answer!r}"), {})
        assert re.match(rf"{re.escape(plain(answer))}: not yet\. .*[.?]\n$", capsys.readouterr().out)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_card_says_goals_and_the_answer_is_folded_behind_the_check(path):
    cells = nbformat.read(path, as_version=4).cells
    [card] = [cell.source for cell in cells if "| **You will be able to** |" in cell.source]
    assert "| **Time** |" in card
    place = next(i for i, cell in enumerate(cells) if cell.id == "answer-check")
    assert "## Exercise" in cells[place - 1].source and "<details>" not in cells[place - 1].source
    assert cells[place + 1].source.startswith("<details>")


@pytest.mark.parametrize("answer", [True, [2], "  ", {}])
def test_what_is_no_answer_is_refused(answer):
    with pytest.raises(ValueError, match=r"neither a number nor a word; write a number"):
        check("example", answer, sealed("example", 2), hint="think")


def test_words_count_however_they_are_written(capsys):
    check("example", " Head  Only ", sealed("example", "head only"), hint="think")
    assert capsys.readouterr().out == "head only: right\n"
    assert sealed("one", 2) != sealed("other", 2)
