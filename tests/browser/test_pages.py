"""The pages of a walkthrough as a reader meets them: nothing cut at a desk's and at a phone's width, answers folded.

`LALORA_PAGES` names the folder that a walkthrough has written; without it one is run first, which takes minutes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lalora_kit.book.notebooks import notebooks_dir, walkthrough
from tests.browser.test_in_lab import SHOTS

pytestmark = [
    pytest.mark.pages,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
LESSONS = [path.stem for path in sorted(notebooks_dir().glob("*.ipynb"))]
WIDTHS = (1280, 390)

# What lies outside its figure, or lies over another text of it, by more than two pixels.
CUT = """() => [...document.querySelectorAll("figure.plotly, svg.picture")].flatMap((figure, place) => {
  const box = figure.getBoundingClientRect();
  if (!box.width || figure.scrollWidth > figure.clientWidth + 2) return [];
  const texts = [...figure.querySelectorAll("svg text, text")].filter((text) => text.textContent.trim()
    && getComputedStyle(text).visibility !== "hidden" && getComputedStyle(text).fontSize !== "1px");
  return texts.map((text) => [text.textContent, text.getBoundingClientRect()])
    .filter(([, at]) => at.width && (at.left < box.left - 2 || at.right > box.right + 2))
    .map(([text]) => `figure ${place}: ${text}`);
})"""
WIDER = "() => document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages."""
    given = os.environ.get("LALORA_PAGES")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("pages")
    assert all(run.ok for run in walkthrough(folder))
    return folder


@pytest.fixture(scope="module")
def opened(pages: Path, chromium: Any) -> Any:
    """Opens a lesson's page at a width."""

    def at(name: str, width: int) -> Any:
        page = chromium.new_page(viewport={"width": width, "height": 800})
        page.goto((pages / f"{name}.html").resolve().as_uri())
        page.wait_for_timeout(1500)
        return page

    return at


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", LESSONS)
def test_nothing_is_cut_and_answers_are_folded(opened: Any, name: str, width: int) -> None:
    page = opened(name, width)
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}-page-{width}.png")
    answers = page.locator("details.answer")
    assert answers.count() and not page.evaluate("() => document.querySelector('details.answer[open]')")
    assert "It came out" not in page.locator("main").inner_text(), "what is folded is not in the text"
    page.evaluate("() => document.querySelectorAll('details.answer').forEach((shut) => { shut.open = true; })")
    page.wait_for_timeout(2500)
    assert page.locator("main").inner_text().count("It came out") == answers.count()
    page.screenshot(path=SHOTS / f"{name}-page-{width}-open.png", full_page=True)
    assert page.evaluate(CUT) == []
    assert page.evaluate(WIDER) <= 0, "the page is wider than the screen"
    page.close()


def test_what_is_cut_is_seen(chromium: Any) -> None:
    """The measure itself: a text that leaves its figure is named."""
    page = chromium.new_page(viewport={"width": 390, "height": 800})
    page.set_content(
        "<svg class='picture' width='300' height='50' viewBox='0 0 300 50'>"
        "<text x='10' y='20'>whole</text><text x='250' y='40'>cut at its right end</text></svg>"
    )
    assert page.evaluate(CUT) == ["figure 0: cut at its right end"]
    page.close()
