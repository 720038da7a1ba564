"""The explorer: a page that holds what the grid holds, and moves without network."""

import json
import os
import re

import pytest

from lalora_kit.base.files import append_line
from lalora_kit.book.explorer import explorer, said
from lalora_kit.runs.standing import NOTHING
from lalora_kit.trial import grid, rivals
from lalora_kit.trial.designs import DIGITS
from tests.book.test_book import CHROMIUM, Loads
from tests.cli.test_cli import lalora

FILE = grid.file_of("digits")


def embedded(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(found[1])


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("explorer") / "made" / "explorer.html"
    assert explorer(out, FILE) == len(grid.load(FILE))
    return out


def test_it_holds_every_curve_of_the_shipped_grid_and_loads_nothing(page):
    runs, data = grid.load(FILE), embedded(page)
    assert next(iter(data["axes"])) == grid.RATE
    for axis, told in data["axes"].items():
        assert (
            told["labels"][told["start"]] == {"learning_rate": "0.5", "epsilon": "3", "rank": "4", "clients": "8"}[axis]
        )
        for name, places in told["series"].items():
            if name in rivals.NAMES:
                continue
            for value, curves in zip(DIGITS.axes[axis], places, strict=True):
                cells = (grid.cell(name, axis, value, seed, DIGITS) for seed in DIGITS.drawn)
                assert curves == [runs[cell] for cell in cells if cell in runs]
    drawn = {name for told in data["axes"].values() for name in told["series"]}
    assert drawn <= {*grid.SERIES, *rivals.NAMES} and "la-lora" in drawn and drawn == data["looks"].keys()
    loads = Loads()
    loads.feed(page.read_text())
    assert not loads.addresses and [path.name for path in page.parent.iterdir()] == ["explorer.html"]


def test_baselines_lie_beside_every_method_and_are_said_to_be_ahead(page):
    """On digits a private linear model on the inputs is far ahead of every adapter; the page says so at each value."""
    runs, data = grid.load(FILE), embedded(page)
    assert {"head-only", "linear", "linear-hog"} <= set(data["rivals"]) <= set(data["shown"])
    assert all("head-only" in told["series"] for told in data["axes"].values())
    for axis, told in data["axes"].items():
        for at, value in enumerate(DIGITS.axes[axis]):
            place = (value if axis == "epsilon" else 3.0, value if axis == "clients" else 8)
            own = rivals.rival(runs, "linear", *place, DIGITS)
            assert told["series"]["linear"][at] == [list(curve) for curve in own.curves], (axis, value)
            assert any(line.startswith("linear (") and "ahead of" in line for line in told["said"][at])
    assert "Accuracy on the test set of digits;" in page.read_text()


def test_what_is_said_of_a_baseline_is_right_both_ways():
    curves = {m: [[[x] for x in (0.50, 0.52, 0.51, 0.49, 0.505)]] for m in ("la-lora", "dp-lora")}
    curves["dp-lora"] = [[[x + 0.2] for [x] in curves["dp-lora"][0]]]

    def told(*accuracies):
        return said(curves, {"linear": [[[x] for x in accuracies]]}, 0, DIGITS)

    assert told(0.2, 0.21, 0.22, 0.2, 0.2) == [f"{NOTHING}."]
    [level] = told(0.51, 0.51, 0.50, 0.50, 0.50)
    assert "is level with la-lora (50.5%), and behind dp-lora (70.5%): la-lora is not shown to pay over it; 5" in level
    [ahead] = told(0.9, 0.91, 0.9, 0.92, 0.9)
    assert "is ahead of la-lora (50.5%) and dp-lora (70.5%): no adapter pays over it" in ahead
    [guess] = said(curves, {"untrained": [[[0.6]]]}, 0, DIGITS)
    assert "untrained (60.0%) is ahead of la-lora (50.5%), and behind dp-lora (70.5%)" in guess
    fewer = {"la-lora": [curves["la-lora"][0][:4]]}
    assert said(fewer, {"linear": [[[0.9]] * 5]}, 0, DIGITS) == [f"{NOTHING}."], "seeds could not be paired"


def test_a_partial_grid_has_gaps_and_an_empty_one_is_refused(tmp_path):
    part = tmp_path / "part.jsonl"
    append_line(part, {"made": "m", "task": {"task": "digits"}})
    for value in (0.25, 0.5):
        append_line(part, {**grid.cell("la-lora", grid.RATE, value, 0, DIGITS).to_json(), "curve": [0.1, 0.2, value]})
    with part.open("a") as file:
        file.write('{"method": "la-lo')  # cut short by a crash
    assert explorer(tmp_path / "part.html", part) == 2
    told = embedded(tmp_path / "part.html")["axes"]
    assert list(told) == ["learning_rate"], "along the others nothing moves"
    assert told["learning_rate"]["series"] == {"la-lora": [[[0.1, 0.2, 0.25]], [[0.1, 0.2, 0.5]], [], [], [], []]}
    done = lalora("explorer", "--grid", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "none.html"))
    assert done.returncode == 2 and "python -m lalora_kit.trial.grid --out" in done.stderr
    assert not (tmp_path / "none.html").exists()


@pytest.mark.browser
def test_sliders_move_the_figures_without_network(page):
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing; CI must see the page in a browser")
        pytest.skip(f"{CHROMIUM} is missing: the explorer was not seen in a browser")
    from playwright.sync_api import sync_playwright

    shown = "(id) => document.getElementById(id).data.map((trace) => Array.from(trace.y))"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            tab, errors = browser.new_context(offline=True, viewport={"width": 1280, "height": 800}).new_page(), []
            tab.set_default_timeout(120_000)
            tab.on("pageerror", lambda error: errors.append(str(error)))
            tab.goto(page.as_uri())
            tab.wait_for_selector("#by-value .scatterlayer .points path")
            before, said = [tab.evaluate(shown, id) for id in ("by-round", "by-value")], tab.inner_text("#finding")
            tab.focus("#value")
            tab.keyboard.press("ArrowRight")
            assert tab.evaluate(shown, "by-round") != before[0] and tab.evaluate(shown, "by-value") == before[1]
            assert tab.inner_text("#finding") != said and "1" in tab.inner_text("#value-name")
            data, place = embedded(page)["axes"]["learning_rate"], 2
            mean = [sum(at) / len(at) for at in zip(*data["series"]["la-lora"][place], strict=True)]
            lines = tab.evaluate("document.getElementById('by-round').data.filter((t) => t.name === 'la-lora')[0].y")
            assert list(lines) == pytest.approx(mean)
            tab.focus("#round")
            tab.keyboard.press("ArrowLeft")
            assert tab.evaluate(shown, "by-value") != before[1]
            tab.uncheck("#methods >> text=dp-lora >> nth=0")
            names = tab.evaluate("document.getElementById('by-value').data.map((t) => t.name).filter(Boolean)")
            assert "la-lora" in names and "dp-lora" not in names
            for name in tab.locator("#axes label").all():
                name.click()
                assert tab.evaluate("document.getElementById('by-value').data.length") > 0
            assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth") and not errors
        finally:
            browser.close()
