"""Handouts: single files that need no network, for several parameters, and a table of contents that leads to them."""

import os
import re

import nbformat
import pytest

from lalora_kit.book.handout import handout
from lalora_kit.book.pages import markdown_html
from lalora_kit.book.sweep import plan
from tests.book.test_book import CHROMIUM, FIGURE, RESULT, Loads, write

SAYS = (
    "Go on with [the next](02_next.ipynb#top), or [one that was not chosen](03_other.ipynb), or [out](https://a.org)."
)


@pytest.fixture(scope="module")
def handed(tmp_path_factory):
    """Two notebooks at two ε each; the second fails at the larger one."""
    folder, out = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("handout")
    first = write(folder, "01_first.ipynb", FIGURE, "secret = 'code'", RESULT, title=f"# The first\n\n{SAYS}")
    second = write(
        folder, "02_next.ipynb", "assert epsilon < 2, 'ε is too large'", RESULT, title="# The next\n\nA line."
    )
    said = []
    runs = handout(plan([str(first), str(second), "--epsilon", "0.5", "3", "--rank", "8"]), out, said.append)
    return runs, out, said


def test_every_combination_has_a_page_that_is_one_file(handed):
    runs, out, said = handed
    names = [f"{stem}_epsilon-{e}" for stem in ("01_first", "02_next") for e in ("0.5", "3")]
    assert [run.name for run in runs] == names and [run.ok for run in runs] == [True, True, True, False]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*(f"{name}.html" for name in names), "GLOSSARY.html", "index.html"]
    )
    for lines in (said[::2], said[1::2]):  # one as each starts, one as it ends
        assert [re.search(r"\d_\w+_epsilon-[\d.]+", line)[0] for line in lines] == [name[1:] for name in names]
    for path in out.iterdir():
        loads = Loads()
        loads.feed(path.read_text())
        assert loads.addresses == [], path.name


def test_a_page_shows_its_own_run(handed):
    page = (handed[1] / "01_first_epsilon-0.5.html").read_text()
    assert "rank 8 at ε = 0.5" in page and "Parameters of this run" in page and len(page) > 1e6
    failed = (handed[1] / "02_next_epsilon-3.html").read_text()
    assert "This notebook failed" in failed and "ε is too large" in failed


def test_links_lead_to_the_page_of_the_same_parameters_or_to_the_index(handed):
    page = (handed[1] / "01_first_epsilon-3.html").read_text()
    assert '<a href="02_next_epsilon-3.html#top">the next</a>' in page
    assert '<a href="index.html">one that was not chosen</a>' in page and '<a href="https://a.org">out</a>' in page


def test_words_lead_to_the_glossary_beside_the_pages(handed):
    words = (handed[1] / "GLOSSARY.html").read_text()
    assert '<h3 id="local-step">' in words and ".md" not in words
    assert markdown_html("[a](GLOSSARY.md#local-step)") == '<p><a href="GLOSSARY.html#local-step">a</a></p>\n'


def test_the_index_is_a_table_of_contents(handed):
    index = (handed[1] / "index.html").read_text()
    targets = re.findall(r'<a href="([^"]+)">epsilon = [\d.]+, rank = 8</a>', index)
    assert len(targets) == 4 and all((handed[1] / target).exists() for target in targets)
    assert index.count("<h2>The first</h2>") == index.count("<h2>The next</h2>") == 1
    assert "rank 8 at ε = 3" in index and "failed: In [3]: AssertionError: ε is too large" in index
    assert len(re.findall(r"\d+ s</td>\n<td class=\"number\">\d+ MB", index)) == 4, "time and memory of each page"
    assert "1 of 4 pages show a run that failed" in index


@pytest.mark.parametrize(("code", "shown", "opened"), [("hidden", 0, 2), ("open", 1, 5), ("folded", 1, 4)])
def test_code_is_hidden_open_or_as_the_notebook_folds_it(tmp_path, code, shown, opened):
    path = write(tmp_path, "n.ipynb", "named_by_nobody_else = 'code'", "on_view = 'code'", RESULT)
    notebook = nbformat.read(path, as_version=4)
    next(cell for cell in notebook.cells if "named_by" in cell.source).metadata["jupyter"] = {"source_hidden": True}
    nbformat.write(notebook, path)
    handout(plan([str(path), "--rank", "2"]), tmp_path / "out", print, code=code)
    page = (tmp_path / "out" / "n.html").read_text()
    assert page.count("named_by_nobody_else") == shown and len(re.findall(r"<details\b[^>]* open\b", page)) == opened
    assert "Parameters of this run" in page and "Result." in page


def test_code_is_nothing_else(tmp_path):
    path = write(tmp_path, "n.ipynb", RESULT)
    with pytest.raises(ValueError, match="code='unfolded' is unknown; it is folded, open, hidden"):
        handout(plan([str(path)]), tmp_path / "out", print, code="unfolded")


@pytest.mark.browser
def test_a_reader_without_network_finds_the_figure_from_the_index(handed):
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing; CI must see the pages in a browser")
        pytest.skip(f"{CHROMIUM} is missing: the handout was not seen in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            page, errors = browser.new_context(offline=True).new_page(), []
            page.set_default_timeout(120_000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto((handed[1] / "index.html").as_uri())
            page.click("text=epsilon = 0.5, rank = 8 >> nth=0")
            page.wait_for_selector(".main-svg .scatterlayer path")
            assert page.url.endswith("01_first_epsilon-0.5.html") and not errors
            page.click("text=the next")
            assert page.url.endswith("02_next_epsilon-0.5.html#top")
        finally:
            browser.close()
