"""Still pictures of README and RESULTS, from real runs in a real browser.

python -m tests.pictures panel          # lesson 00 is driven by its browser test, whose last picture is kept
python -m tests.pictures lessons DIR    # a picture of each lesson, from a folder that `lalora walkthrough` wrote
python -m tests.pictures gallery        # RESULTS' picture of the gallery's trial, from the runs that ship
"""

from __future__ import annotations

import base64
import html
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "notebooks" / "images"
TAKEN = ROOT / "build/screenshots/00_start_here-3-done.png"
PANEL, LESSONS, GALLERY = (IMAGES / f"{name}.png" for name in ("live_panel", "lessons", "gallery"))
CHROMIUM = {"executable_path": "/usr/bin/chromium", "args": ["--no-sandbox"]}
WIDE, HIGH = 860, 900  # pixels of a slide: narrow, so that its letters are large beside it
#: A figure as tall as its lesson draws it.
OWN_HEIGHT = """() => document.querySelectorAll("section.present figure.plotly").forEach((figure) => {
  const tall = JSON.parse(figure.querySelector("script").textContent).layout.height || 430;
  figure.style.height = `${tall}px`;
  Plotly.Plots.resize(figure.querySelector("div"));
})"""
STYLE = """
body { margin: 0; padding: 8px; width: 1184px; background: #fff; display: grid; gap: 8px;
  grid-template-columns: repeat(3, 1fr); font: bold 19px Arial, Helvetica, sans-serif; color: #222 }
figure { margin: 0; border: 1px solid #bbb; padding: 6px }
img { width: 100%; height: 240px; object-fit: contain; display: block; margin-top: 4px }
"""


def panel() -> None:
    """Let the browser test drive lesson 00, and keep its last picture."""
    subprocess.run([sys.executable, "-m", "pytest", "tests/browser", "-k", "test_live_panel and 00_start"], check=True)
    shutil.copy(TAKEN, PANEL)


def lessons(executed: Path) -> None:
    """The first picture of each lesson's slides, side by side in one PNG of 128 colours."""
    from playwright.sync_api import sync_playwright

    from lalora_kit.book.slides import slides

    notebooks = sorted(executed.glob("[01][0-9]_*.ipynb"))
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as player:
        decks, browser = (
            slides(notebooks, Path(scratch)),
            player.chromium.launch(**CHROMIUM),
        )
        shown = [framed(browser, deck) for deck in decks]
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_content(f"<style>{STYLE}</style>{''.join(shown)}")
        page.screenshot(path=LESSONS, full_page=True)
        browser.close()
    fewer_colours(LESSONS)


def gallery() -> None:
    """Accuracy against numbers sent, as lesson 10 draws it."""
    from playwright.sync_api import sync_playwright

    from lalora_kit.figures.gallery.sent import sent_figure
    from lalora_kit.trial.gallery.said import shipped

    figure = sent_figure(shipped("mnist"), "Accuracy against numbers sent, task mnist")
    with sync_playwright() as player:
        browser = player.chromium.launch(**CHROMIUM)
        page = browser.new_page(viewport={"width": 1000, "height": int(figure.layout.height)})
        page.set_content(figure.to_html(include_plotlyjs=True))
        page.wait_for_selector(".legend .traces")
        page.locator(".js-plotly-plot").screenshot(path=GALLERY)
        browser.close()
    fewer_colours(GALLERY)


def fewer_colours(path: Path) -> None:
    """128 of them, which halves the file."""
    from PIL import Image

    Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def framed(browser, deck: Path) -> str:
    """The first figure of a deck under the lesson's title, as HTML."""
    page = browser.new_page(viewport={"width": WIDE, "height": HIGH})
    page.goto(deck.as_uri())
    title = f"{deck.stem[:2]} {page.locator('h1').first.inner_text()}"
    at = page.evaluate("Reveal.getSlides().findIndex((slide) => slide.querySelector('figure.plotly, .picture'))")
    page.evaluate("(at) => Reveal.slide(at)", at)
    page.wait_for_timeout(1000)
    page.evaluate(OWN_HEIGHT)
    page.wait_for_timeout(1000)
    picture = page.locator("section.present figure.plotly, section.present .picture").first.screenshot()
    page.close()
    return (
        f"<figure>{html.escape(title)}<img src='data:image/png;base64,{base64.b64encode(picture).decode()}'></figure>"
    )


if __name__ == "__main__":
    [what, *of] = sys.argv[1:]
    {"panel": panel, "lessons": lessons, "gallery": gallery}[what](*map(Path, of))
