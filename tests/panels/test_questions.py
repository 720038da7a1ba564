"""Questions: asked before the run, shut until answered, folded where nobody can answer."""

import json

import plotly.graph_objects as go
import pytest

from lalora_kit.figures.pictures.frame import Picture, table
from lalora_kit.lessons import lesson
from lalora_kit.panels import questions

FIGURE = go.Figure(go.Scatter(y=[1.0]), {"title": {"text": "Much <b>more</b>"}})


@pytest.fixture
def page(monkeypatch, tmp_path):
    """What a live cell displays, in its order, and what it puts in place of that later, by its place."""
    shown, later = [], {}
    monkeypatch.setattr(questions, "display", lambda thing, **about: shown.append(thing))
    monkeypatch.setattr(questions, "update_display", lambda thing, **about: later.update({about["display_id"]: thing}))
    monkeypatch.setattr(lesson, "PREDICTIONS", tmp_path / "predictions.json")
    return shown, later


def asked(mode="live"):
    return questions.predict("how much?", ["little", "much"], "much", mode=mode)


def test_headless_nobody_is_asked_and_the_answer_is_a_record_of_its_own(monkeypatch):
    left, shown = [], []
    monkeypatch.setattr(lesson, "leave", lambda mime, record, text: left.append((mime, record)))
    monkeypatch.setattr(questions, "display", lambda thing, **about: shown.append(thing))
    questions.reveal(asked("headless"), "little", FIGURE, says="For it *is*.")
    assert left == [
        (lesson.QUESTION_MIME, {"question": "how much?", "options": ["little", "much"]}),
        (lesson.ANSWER_MIME, {"question": "how much?", "answer": "little"}),
    ]
    assert "application/vnd.plotly.v1+json" in shown[0] and shown[1]["text/markdown"] == "For it *is*."
    with pytest.raises(ValueError, match="is not an option"):
        questions.predict("how much?", ["little"], "none", mode="headless")


def test_live_nothing_of_the_answer_is_there_before_a_choice(page):
    shown, later = page
    questions.reveal(asked(), "seven", FIGURE, says="Seven, for seven are seven.")
    text = "".join(str(thing) for thing in shown[1].children[0].keys) + shown[1].children[0].value + str(shown[2:])
    assert "seven" not in text.casefold() and not later, "shut"
    shown[0].children[1].value = "much"
    assert shown[1].children[0].value.startswith("<b>You chose: much. It came out: seven.</b>")
    figure, words = later.values()
    assert figure["text/plain"] == "Much more" and words["text/markdown"] == "Seven, for seven are seven."
    assert json.loads(lesson.PREDICTIONS.read_text())["how much?"] == {"choice": "much", "answer": "seven"}


def test_show_me_opens_it_without_a_choice_and_keeps_none(page):
    shown, later = page
    questions.reveal(asked(), "little", FIGURE)
    line, button = shown[1].children
    button.click()
    assert "You made no choice yet. It came out: little." in line.value and len(later) == 1
    assert button.layout.display == "none" and not lesson.PREDICTIONS.exists()


def test_a_choice_made_before_the_answer_was_computed_opens_it_at_once(page):
    shown, later = page
    prediction = asked()
    shown[0].children[1].value = "little"
    questions.reveal(prediction, "little", FIGURE)
    assert "You chose: little" in shown[1].children[0].value and len(later) == 1


def test_where_predictions_cannot_be_kept_the_lesson_goes_on_and_says_so(page, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(lesson, "PREDICTIONS", tmp_path / "file" / "predictions.json")
    shown, _ = page
    questions.reveal(asked(), "little")
    shown[0].children[1].value = "much"
    line = shown[1].children[0].value
    assert "cannot be written here (Not a directory)" in line and "lalora notebooks DIR" in line


def test_a_table_marks_its_row_and_a_picture_says_its_words():
    html = questions.bundle(table([{"ε": 1.0, "who": "a"}, {"ε": 3.0, "who": "b"}], marked=[1], caption="a < b"))[
        "text/html"
    ]
    assert "a &lt; b" in html and html.count("row1_col") >= 2 and "#fdf0d5" in html
    drawn = questions.bundle(Picture("Title", "It's a line", 10, 5, "<line/>"))["text/html"]
    assert "aria-label='It&#x27;s a line'" in drawn and "<line/>" in drawn and "prefers-reduced-motion" in drawn
