"""Slides: a lesson's pictures, questions and answers as a deck of reveal.js, by nbconvert, for those who show.

A deck is made from an executed notebook, which stays as it is: its title, each question, each answer one key press
later, each picture under what it found, and the result. Code and printed text are left out. A deck is one file that
opens offline.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lalora_kit.base.files import make_folder
from lalora_kit.book.execute import ANSWER_MIME, QUESTION_MIME, RESULT_MIME
from lalora_kit.book.pages import PLOTLY_MIME, markdown_of, title_of
from lalora_kit.book.templates import POLICY, TEMPLATES, css, fill, get_plotlyjs

DECK = TEMPLATES / "slides"
INDEX = "index.html"
SVG = "image/svg+xml"


def slides(notebooks: Sequence[Path], out_dir: Path) -> list[Path]:
    """Write a deck of each executed notebook into `out_dir`, and an index of them; return the decks' paths.

    Raises:
        ValueError: for a notebook without any picture or question in its outputs, which was not run, say.
    """
    decks = [(path, cells(nbformat.read(path, as_version=4))) for path in notebooks]
    for path, found in decks:
        if len(found) < 2:
            raise ValueError(
                f"{path} holds no picture and no question in its outputs; run it first: lalora walkthrough"
            )
    make_folder(out_dir)
    rows, places = [], []
    for path, found in decks:
        place = out_dir / f"{path.stem}.html"
        title = re.sub(r"^#+ ", "", found[0].source.split("\n", 1)[0])
        place.write_text(deck(found, title), encoding="utf-8")
        rows.append({"page": place.name, "title": title, "count": sum(kind(cell) == "slide" for cell in found)})
        places.append(place)
    (out_dir / INDEX).write_text(fill("slides.html.j2", rows=rows), encoding="utf-8")
    return places


def deck(found: Sequence[NotebookNode], title: str) -> str:
    """The HTML of a deck of these cells."""
    exporter = SlidesExporter(
        template_name=DECK.name, extra_template_basedirs=[str(TEMPLATES)], filters={"markdown2html": markdown_of}
    )
    script = (DECK / "reveal.js").read_text(encoding="utf-8").partition("//# sourceMappingURL")[0]
    about = {
        "title": title, "css": css(), "policy": POLICY, "plotly_mime": PLOTLY_MIME, "plotly": get_plotlyjs(),
        "reveal": script, "reveal_css": (DECK / "reveal.css").read_text(encoding="utf-8"),
    }  # fmt: skip
    text, _ = exporter.from_notebook_node(new_notebook(cells=list(found)), {"deck": about, "metadata": {"name": title}})
    return text


def cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The slides of an executed notebook, as cells that carry nbconvert's slide types."""
    title, line = title_of(notebook)
    found, section = [said(f"# {title}\n\n{line}", "slide")], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heads = re.findall(r"^## (.+)$", cell.source, re.MULTILINE)
            section = heads[-1] if heads else section
        else:
            found += of_outputs([output.get("data", {}) for output in cell.get("outputs", [])], section)
    return found


def of_outputs(outputs: Iterable[Mapping[str, Any]], section: str) -> Iterator[NotebookNode]:
    """Slides of one cell's outputs: questions, then pictures, the answers on the first of these."""
    shown = list(outputs)
    for data in shown:
        if QUESTION_MIME in data:
            asked = data[QUESTION_MIME]
            choices = "\n".join(f"- {choice}" for choice in asked["options"])
            yield said(f"###### {section}\n\n## {asked['question']}\n\n{choices}", "slide")
    for data in shown:
        if ANSWER_MIME in data:  # onto the question's slide, which is the one before
            yield said(f"It came out: {data[ANSWER_MIME]['answer']}.", "fragment", "answer")
    for data in shown:
        if PLOTLY_MIME in data:
            first, *rest = re.split(r"<br ?/?>", title_in(data[PLOTLY_MIME]))
            title = plain(first)
            yield said(f"###### {section}\n\n## {title}\n\n{plain(' '.join(rest))}", "slide")
            yield drawn({PLOTLY_MIME: data[PLOTLY_MIME]}, html.unescape(title))
        elif SVG in data or "<svg" in data.get("text/html", ""):
            yield said(f"###### {section}", "slide")
            yield drawn({name: data[name] for name in (SVG, "text/html") if name in data}, section)
        elif RESULT_MIME in data:
            yield said(f"## Result\n\n{data[RESULT_MIME]['result']}", "slide")


def title_in(figure: Mapping[str, Any]) -> str:
    """A plotly figure's title."""
    title = figure.get("layout", {}).get("title", {})
    return str(title.get("text", "")) if isinstance(title, Mapping) else str(title)


def plain(text: str) -> str:
    """Words without plotly's tags, for Markdown."""
    return html.unescape(re.sub(r"</?\w[^>]*>", " ", text)).replace("<", "&lt;")


def said(source: str, slide: str, name: str = "prose") -> NotebookNode:
    """Words on a slide: `slide` begins a new one, `fragment` comes with a key press."""
    return new_markdown_cell(source, metadata={"slideshow": {"slide_type": slide}, "kind": name})


def drawn(data: Mapping[str, Any], title: str) -> NotebookNode:
    """A picture on the slide that was begun."""
    output = nbformat.v4.new_output("display_data", data=dict(data), metadata={"title": title})
    return new_code_cell("", outputs=[output], metadata={"slideshow": {"slide_type": "-"}})


def kind(cell: NotebookNode) -> str:
    """Its slide type."""
    return str(cell.metadata["slideshow"]["slide_type"])
