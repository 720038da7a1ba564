"""Questions: a lesson asks before it shows, and what came out stays shut until the reader has answered.

Live, the answer is not in the page before a choice, or before *show me*. Headless it is folded: pages show it as
`<details>`, and JupyterLab hides that cell's outputs.
"""

from __future__ import annotations

import html
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as W
import plotly.graph_objects as go
import plotly.io as pio
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display, update_display

from lalora_kit.figures.pictures.frame import alt
from lalora_kit.lessons import lesson

SHUT = "The answer is shut until you choose above."


def predict(question: str, options: Sequence[str], default: str, *, mode: str = "auto") -> lesson.Prediction:
    """Ask before the run; headless, take `default` and say so. `reveal` shows the choice beside the answer.

    Raises:
        ValueError: if `default` is not one of the options.
    """
    if default not in options:
        raise ValueError(f"default={default!r} is not an option of {question!r}; choose one of {list(options)}")
    if lesson.mode(mode) == "headless":
        told = f"Predict: {question}\n  {'  |  '.join(options)}"
        lesson.leave(lesson.QUESTION_MIME, {"question": question, "options": list(options)}, told)
        return lesson.Prediction(question, options, default, asked=False)
    prediction = lesson.Prediction(question, options, None, asked=True)
    buttons = W.ToggleButtons(options=list(options), value=None, style={"button_width": "auto"})

    def choose(change: dict[str, Any]) -> None:
        prediction.choose(change["new"])

    buttons.observe(choose, "value")
    display(W.VBox([W.HTML(f"<b>Predict:</b> {html.escape(question)}"), buttons]))
    return prediction


def reveal(prediction: lesson.Prediction, answer: str, *shown: Any, says: str = "") -> None:
    """Show what came out beside what was predicted: live once the reader has chosen, headless folded.

    Call it once for a question, at the end of a cell that shows nothing else.

    Args:
        prediction: what `predict` gave.
        answer: in a few words.
        shown: what would give the answer away: figures, tables, pictures.
        says: the paragraph that explains them, in Markdown.
    """
    prediction.answer = answer
    things: list[Any] = [*shown, *([says] if says else [])]
    if not prediction.asked:
        record = {"question": prediction.question, "answer": answer}
        lesson.leave(lesson.ANSWER_MIME, record, prediction.verdict())
        for thing in things:
            display(bundle(thing), raw=True)
        return
    line = W.HTML(f"<i>{SHUT}</i>")
    button = W.Button(description="show me", icon="eye", tooltip="Open the answer without a choice")
    display(W.HBox([line, button]))
    places = [f"answer-{uuid.uuid4().hex}" for _ in things]
    for place in places:
        display({"text/plain": ""}, raw=True, display_id=place)

    def open_it(_: object = None) -> None:
        button.layout.display = "none"
        line.value = f"<b>{html.escape(prediction.verdict())}</b>{kept(prediction)}"
        for place, thing in zip(places, things, strict=True):
            update_display(bundle(thing), raw=True, display_id=place)

    prediction.on_choice = open_it
    button.on_click(open_it)
    if prediction.choice is not None:
        open_it()


def kept(prediction: lesson.Prediction) -> str:
    """Keep the choice for the last lesson; where that cannot be done, say why, as HTML."""
    if prediction.choice is None:
        return ""
    try:
        prediction.save(lesson.PREDICTIONS)
    except OSError as error:  # a folder of somebody else's: the lesson goes on, and says what it cannot do
        return (
            f" <i>Not kept for the last lesson: {lesson.PREDICTIONS} cannot be written here ({error.strerror}); "
            "work in a copy, which `lalora notebooks DIR` makes.</i>"
        )
    return ""


def bundle(thing: Any) -> Mapping[str, Any]:
    """What a notebook's output holds of a figure, a table, a picture, or a paragraph in Markdown."""
    if isinstance(thing, str):
        return {"text/markdown": thing, "text/plain": thing}
    if isinstance(thing, go.Figure):
        return {**pio.renderers["plotly_mimetype"].to_mimebundle(thing.to_dict()), "text/plain": alt(thing)}
    formatter = InteractiveShell.instance().display_formatter
    assert formatter is not None, "a kernel has one"
    data: Mapping[str, Any] = formatter.format(thing)[0]
    return data
