"""Slides: pictures, questions and answers of an executed notebook, one offline file each; the notebook stays."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lalora_kit.book import slides as book
from lalora_kit.book.pages import PLOTLY_MIME
from lalora_kit.book.sweep import Job, ran
from lalora_kit.lessons import lesson
from lalora_kit.panels import questions

FIGURE = {
    "data": [{"x": [1], "y": [2]}],
    "layout": {"title": {"text": "Noise </script> wins<br><sub>with a < b</sub>"}, "width": 500},
}
QUESTION = {"question": "How much < half?", "options": ["little", "much"]}


def cell(*outputs):
    return new_code_cell("secret = 'code'", outputs=[new_output("display_data", data=data) for data in outputs])


@pytest.fixture
def executed(tmp_path):
    place = tmp_path / "ran" / "01_it.ipynb"
    place.parent.mkdir()
    cells = [
        new_markdown_cell("# It\n\nA line."),
        new_markdown_cell("## 1. First\n\nProse that no slide holds."),
        cell({book.QUESTION_MIME: QUESTION, "text/plain": "Predict: ..."}),
        new_code_cell("train()", outputs=[new_output("stream", name="stdout", text="a wall of numbers")]),
        cell({book.ANSWER_MIME: {"question": QUESTION["question"], "answer": "much"}}, {PLOTLY_MIME: FIGURE}),
        cell({"image/svg+xml": '<svg xmlns="http://www.w3.org/2000/svg"><circle r="4"/></svg>'}),
        cell({book.RESULT_MIME: {"result": "It came to this."}, "text/plain": "It came to this."}),
    ]
    nbformat.write(new_notebook(cells=cells), place)
    return place


def test_a_deck_shows_the_question_then_the_answer_then_the_picture(executed, tmp_path):
    before = executed.read_bytes()
    [deck] = book.slides([executed], tmp_path / "out")
    text = deck.read_text("utf-8")
    body = text[text.index("<body>") :]
    slides = re.findall(r"<section><section>(.*?)</section>\s*</section>", body, re.DOTALL)
    assert len(slides) == 5 and executed.read_bytes() == before
    title, question, picture, drawing, result = slides
    assert "A line." in title and "It came to this." in result and "<svg" in drawing
    shown, fragment = question.split('<div class="fragment">')
    assert "How much &lt; half?" in shown and "little" in shown and "It came out: much." in fragment
    assert "It came out" not in picture and re.search(r"<h2[^>]*>Noise +wins</h2>", picture)
    assert "with a &lt; b" in picture
    drawn = json.loads(re.search(r'<script type="application/json">(.*?)</script>', picture, re.DOTALL)[1])
    assert drawn["data"] == FIGURE["data"]
    assert not any(word in body for word in ("secret", "wall of numbers", "Prose that no slide holds"))


def test_a_deck_is_one_file_without_addresses(executed, tmp_path):
    [deck] = book.slides([executed], tmp_path / "out")
    text = deck.read_text("utf-8")
    ours = re.sub(
        r"<script>.*?</script>", "", text, flags=re.DOTALL
    )  # plotly's own speaks of addresses; none is called
    assert not re.search(r'<(script|link|img|iframe)[^>]*(src|href)="', ours) and "sourceMappingURL" not in text
    assert "MIT licensed" in text, "reveal.js says whose it is"
    index = (tmp_path / "out" / book.INDEX).read_text("utf-8")
    assert 'href="01_it.html"' in index and "5 slides" in index


def test_a_notebook_that_was_not_run_is_refused_before_anything_is_written(tmp_path):
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Bare")]), tmp_path / "bare.ipynb")
    with pytest.raises(ValueError, match="no picture and no question in its outputs"):
        book.slides([tmp_path / "bare.ipynb"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_executed_notebooks_are_taken_as_they_are(executed):
    assert ran([Job(executed, {}, "01_it")], executed.parent) == [executed]
    with pytest.raises(ValueError, match=r"holds no 01_it\.ipynb"):
        ran([Job(executed, {}, "01_it")], executed.parent / "nowhere")
    with pytest.raises(ValueError, match="parameters change nothing"):
        ran([Job(executed, {"rank": 8}, "01_it")], executed.parent)


def test_questions_leave_what_slides_read(monkeypatch):
    left = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: left.append(data))
    asked = questions.predict("How much?", ["little", "much"], "much", mode="headless")
    questions.reveal(asked, "little")
    assert left[0][book.QUESTION_MIME] == {"question": "How much?", "options": ["little", "much"]}
    assert left[1][book.ANSWER_MIME] == {"question": "How much?", "answer": "little"}
    assert (lesson.QUESTION_MIME, lesson.ANSWER_MIME) == (book.QUESTION_MIME, book.ANSWER_MIME)
