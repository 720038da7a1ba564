"""What every panel has: a subclass says its controls, what their values show, and the first figure."""

import threading

import plotly.graph_objects as go
import pytest

from lalora_kit.lessons.lesson import odds
from lalora_kit.panels.panel import Panel, Shown
from lalora_kit.panels.text import facts_html
from lalora_kit.panels.widgets import epsilon_slider


class Odds(Panel):
    """The example of the docstring, with a failure on demand."""

    def make_controls(self):
        return {"epsilon": epsilon_slider(self.start["epsilon"])}

    def redraw(self, values):
        if values["epsilon"] == 10:
            raise ValueError("no <ten>")
        bound = odds(values["epsilon"])
        notes = ["at most", "", f"<{bound:.0%}>"]
        layout = {"xaxis": {"title": {"text": f"{values['epsilon']:g}"}}}
        point = {"x": [values["epsilon"]], "y": [bound]}
        return Shown([point], f"{bound:.0%}", "Move.", [("bound", f"{bound:.2f}")], notes, layout)

    def draw(self, values):
        [point] = self.redraw(values).traces
        return go.Figure(go.Scatter(point))


@pytest.fixture
def panel():
    panel = Odds({"epsilon": 1.0}, mode="live")
    yield panel
    panel.keep.cancel()


def test_a_move_changes_traces_title_layout_and_text_and_reset_goes_back(panel):
    assert "0.73" in panel.text.value and panel.figure.data[0].x == (1.0,)
    panel.controls["epsilon"].value = 3.0
    assert panel.figure.data[0].x == (3.0,) and panel.figure.data[0].y == (odds(3.0),)
    assert panel.figure.layout.title.text == "95%" and panel.figure.layout.xaxis.title.text == "3"
    assert "0.95" in panel.text.value and "at most<br>&lt;95%&gt;" in panel.text.value
    panel.buttons["Reset"].click()
    assert panel.controls["epsilon"].value == 1.0 and panel.figure.data[0].x == (1.0,)


def test_a_failure_is_shown_and_the_next_move_takes_it_away(panel):
    panel.controls["epsilon"].value = 10.0
    assert "ValueError: no &lt;ten&gt;" in panel.error.value and panel.figure.data[0].x == (1.0,)
    panel.controls["epsilon"].value = 2.0
    assert panel.error.value == "" and panel.figure.data[0].x == (2.0,)


def test_plotly_is_handed_only_what_changed_and_everything_after_a_failure(panel, monkeypatch):
    handed, plain = [], type(panel.figure.data[0]).update
    monkeypatch.setattr(
        type(panel.figure.data[0]), "update", lambda self, data: (handed.append(sorted(data)), plain(self, data))
    )
    panel.update()
    panel.controls["epsilon"].value = 2.0
    monkeypatch.setattr(panel, "_tell", lambda shown: 1 / 0)
    panel.controls["epsilon"].value = 3.0
    assert "ZeroDivisionError" in panel.error.value
    monkeypatch.undo()
    panel.update()
    assert handed == [[], ["x", "y"], ["x", "y"]] and panel._shown.title == "95%"


def test_the_browser_measures_the_page_again_once_it_has_drawn(panel, monkeypatch):
    sent = []
    monkeypatch.setattr(panel.figure, "_send_relayout_msg", lambda layout, *_: sent.append(layout))
    for _ in range(2):
        panel.figure._js2py_traceDeltas = {"trace_deltas": [], "trace_edit_id": 0}  # what the browser sends by then
    assert sent == [{"autosize": False}, {"autosize": True}]


def test_the_picture_is_kept_for_a_reload_once_a_move_has_rested(panel):
    if not panel.figure.has_trait("_widget_data"):
        pytest.skip("plotly 5, as Colab has it, keeps no picture for a reload; plotly 6 does")
    kept = threading.Event()
    panel.figure.observe(lambda _: kept.set(), "_widget_data")
    panel.controls["epsilon"].value = 3.0
    assert not kept.is_set()
    assert kept.wait(20) and list(panel.figure._widget_data[0]["x"]) == [3.0]


def test_headless_leaves_one_figure_and_text(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("lalora_kit.panels.panel.pio.show", lambda figure, renderer: shown.append((figure, renderer)))
    panel = Odds({"epsilon": 1.0}, mode="headless")
    panel.show()
    [(figure, renderer)] = shown
    assert type(figure) is go.Figure and renderer == "plotly_mimetype" and not hasattr(panel, "controls")
    assert capsys.readouterr().out == "bound: 0.73\nat most\n<73%>\n"


def test_without_notes_there_is_no_empty_line():
    assert "<br>" not in facts_html([], "Ready", ["", "one", ""])
