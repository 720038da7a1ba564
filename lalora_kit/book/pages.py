"""HTML pages of executed notebooks that open anywhere, without network.

A page holds the notebook's prose, its code (open or folded as the notebook has it), its questions with their answers
folded, and its figures as the JSON that plotly left in the notebook, drawn by the `plotly.min.js` of the installed
plotly package. Formulas become MathML, which every browser draws by itself. A policy in each page forbids it to load
anything from elsewhere.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import latex2mathml.converter
import nbformat
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lalora_kit.book.execute import ANSWER_MIME, QUESTION_MIME, RESULT_MIME, NotebookRun
from lalora_kit.book.templates import POLICY, TEMPLATES, css, fill, get_plotlyjs, readable_size

PLOTLY_MIME = "application/vnd.plotly.v1+json"
CODE = ("folded", "open", "hidden")
WORDS = "GLOSSARY"  # the document that lessons link words to; a page of its own beside theirs

_SCRIPT_TAG = '<script src="plotly.min.js"></script>'


def page_name(found: re.Match[str]) -> str:
    """`01_first.ipynb` -> `01_first.html`."""
    return f"{Path(found[0]).stem}.html"


class _PageRenderer(IPythonRenderer):
    """Markdown to HTML with formulas as MathML, and with no picture from the network."""

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return _mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return _mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """A link to a sibling notebook, or to the glossary, becomes one to its page."""
        return super().link(text, re.sub(rf"^([\w.-]+\.ipynb|{WORDS}\.md)(?=$|#)", page_name, url), title)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """A picture on a server (a badge) is replaced by its words."""
        remote = re.match(r"(https?:)?//", url)
        return self.escape_html(text) if remote else super().image(text, url, title)


def page(
    run: NotebookRun,
    out_html: Path,
    *,
    self_contained: bool = False,
    index: str | None = None,
    code: str = "folded",
) -> Path:
    """Write the HTML page of an executed notebook and return its path.

    `self_contained` puts plotly's script (5 MB) into the page, for a handout of one file; otherwise it is
    written once beside the pages. `index` is the address of the page that lists them all, if there is one.
    `code` is one of `CODE`: as the notebook folds it, all of it open, or none; the parameters are always on show.
    """
    if code not in CODE:
        raise ValueError(f"code={code!r} is unknown; it is {', '.join(CODE)}; choose one of them")
    notebook = _read(run)
    exporter = HTMLExporter(
        template_name=TEMPLATES.name,
        extra_template_basedirs=[str(TEMPLATES.parent)],
        filters={"markdown2html": markdown_of},
    )
    about = {
        "title": title_of(notebook, run.name)[0],
        "css": css(),
        "policy": POLICY,
        "plotly_mime": PLOTLY_MIME,
        "result_mime": RESULT_MIME,
        "question_mime": QUESTION_MIME,
        "answer_mime": ANSWER_MIME,
        "error": run.error,
        "index": index,
        "code": code,
        "footer": f"{run.name}: {run.seconds:.0f} s, {readable_size(run.peak_memory_bytes)} at its peak.",
    }
    text, _ = exporter.from_notebook_node(notebook, {"page": about, "metadata": {"name": run.name}})
    if self_contained:
        text = text.replace(_SCRIPT_TAG, f"<script>{get_plotlyjs()}</script>")
    else:
        (out_html.parent / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    out_html.write_text(text, encoding="utf-8")
    return out_html


def write_index(runs: Sequence[NotebookRun], made_with: Mapping[str, str], out_html: Path) -> None:
    """Write the map of a walkthrough: a row a notebook, the totals, and what it was `made_with`."""
    rows = []
    for run in runs:
        title, line = title_and_line(run)
        rows.append(
            {
                "run": run,
                "title": title,
                "line": line,
                "time": f"{run.seconds:.0f} s",
                "memory": readable_size(run.peak_memory_bytes),
                "size": readable_size(run.size_bytes),
            }
        )
    totals = {
        "total_time": f"{sum(run.seconds for run in runs):.0f} s",
        "largest_memory": readable_size(max(run.peak_memory_bytes for run in runs)),
    }
    failed = sum(not run.ok for run in runs)
    text = fill("walkthrough.html.j2", rows=rows, failed=failed, made_with=made_with, **totals)
    out_html.write_text(text, encoding="utf-8")


def glossary(notebooks: Path, out_dir: Path) -> None:
    """Write the glossary, which lies with the notebooks, as a page: each word with its anchor."""
    source = notebooks / f"{WORDS}.md"
    if not source.exists():  # notebooks of one's own have none, and no link to it
        return
    body = re.sub(r"<h3>(.*?)</h3>", lambda word: f'<h3 id="{word[1].replace(" ", "-")}">{word[1]}</h3>',
                  markdown_html(source.read_text(encoding="utf-8")))  # fmt: skip
    other = r'<a href="[^"#]*\.md[^"]*">(.*?)</a>'  # a document that does not lie beside it
    body = re.sub(other, r"\1", body, flags=re.DOTALL)
    (out_dir / f"{WORDS}.html").write_text(fill("words.html.j2", body=body), encoding="utf-8")


def title_and_line(run: NotebookRun) -> tuple[str, str]:
    """A notebook's title, and the HTML of its first paragraph."""
    return title_of(_read(run), run.name)


def _read(run: NotebookRun) -> nbformat.NotebookNode:
    """The executed notebook; an empty one if the run failed before it wrote any."""
    return nbformat.read(run.path, as_version=4) if run.path.exists() else nbformat.v4.new_notebook()


def markdown_html(source: str, attachments: dict[str, dict[str, str]] | None = None) -> str:
    """HTML of one Markdown cell as the pages show it; a formula that cannot be drawn has class `failed`."""
    renderer = _PageRenderer(escape=False, attachments=attachments or {}, exclude_anchor_links=True)
    return MarkdownWithMath(renderer=renderer).render(source)


@jinja2.pass_context
def markdown_of(context: jinja2.runtime.Context, source: str) -> str:
    """A filter of templates: Markdown to HTML, with the attachments of the cell at hand."""
    return markdown_html(source, context.get("cell", {}).get("attachments"))


def _mathml(formula: str, display: str) -> str:
    """MathML of a TeX formula, or its source, marked, where the converter does not know a command."""
    # `aligned` is what MathJax wants inside $$; the converter knows the same thing as `align*`.
    source = re.sub(r"(begin|end)\{aligned\}", r"\1{align*}", formula.strip())
    try:
        mathml = latex2mathml.converter.convert(source, display=display)
    except Exception:  # the converter raises a dozen kinds for malformed TeX
        mathml = ""
    if not mathml or re.search(r"<mi>(\\|&<)", mathml):
        return f'<code class="failed">{html.escape(formula)}</code>'
    return f'<span class="formula">{mathml}</span>' if display == "block" else mathml


def title_of(notebook: nbformat.NotebookNode, name: str = "") -> tuple[str, str]:
    """The heading of the first Markdown cell, or `name`, and the HTML of the first paragraph of prose under it."""
    source = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    blocks = [block.strip() for block in re.split(r"\n(?:#.*\n|\s*\n)", source + "\n") if block.strip()]
    title = re.search(r"^#+ (.+)$", source, re.MULTILINE)
    prose = next((block for block in blocks if block[0] not in "#<![|-"), "")
    return (title[1] if title else name), markdown_html(prose)
