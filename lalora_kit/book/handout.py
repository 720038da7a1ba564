"""Pages to hand out: chosen notebooks at chosen parameters, each a single HTML file, and a table of contents."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lalora_kit.base.files import make_folder
from lalora_kit.book.execute import CELL_TIMEOUT, NotebookRun
from lalora_kit.book.notebooks import made_with, notebooks_dir
from lalora_kit.book.pages import WORDS, glossary, page, title_and_line
from lalora_kit.book.sweep import Job, run
from lalora_kit.book.templates import fill, readable_size

INDEX = "index.html"
_LINK = re.compile(r'href="([\w.-]+)\.html(?:#[^"]*)?"')


def handout(
    jobs: Sequence[Job],
    out_dir: Path,
    echo: Callable[[str], object] = print,
    *,
    code: str = "folded",
    timeout: int = CELL_TIMEOUT,
) -> list[NotebookRun]:
    """Run every job and write its page, then `index.html`; what failed has a page too, which says how.

    `code` is one of `pages.CODE`. The pages need no network and no other file; links between them lead to the page
    of the same parameters, or to the index where there is none.
    """
    make_folder(out_dir)
    sections: dict[Path, dict[str, Any]] = {}
    runs: list[NotebookRun] = []
    with tempfile.TemporaryDirectory() as executed:
        for job, done in run(jobs, Path(executed), echo, timeout=timeout):
            made = page(done, out_dir / f"{job.name}.html", self_contained=True, index=INDEX, code=code)
            made.write_text(linked(made.read_text(encoding="utf-8"), job, jobs), encoding="utf-8")
            title, line = title_and_line(done)
            section = sections.setdefault(job.notebook, {"title": title, "line": line, "rows": []})
            section["rows"].append(row(job, done, made))
            runs.append(done)
    glossary(notebooks_dir(), out_dir)
    (out_dir / INDEX).write_text(contents(list(sections.values()), runs, made_with()), encoding="utf-8")
    return runs


def linked(text: str, job: Job, jobs: Sequence[Job]) -> str:
    """A page whose links to other notebooks lead to pages that are there."""
    pages = {INDEX.removesuffix(".html"), WORDS} | {other.name for other in jobs}

    def lead(link: re.Match[str]) -> str:
        near = [other.name for other in jobs if other.notebook.stem == link[1] and agree(job, other)]
        if near:
            return link[0].replace(f"{link[1]}.html", f"{near[0]}.html")
        return link[0] if link[1] in pages else f'href="{INDEX}"'

    return _LINK.sub(lead, text)


def agree(one: Job, other: Job) -> bool:
    """Whether no parameter that both have differs."""
    return all(one.parameters[name] == other.parameters[name] for name in one.parameters.keys() & other.parameters)


def row(job: Job, done: NotebookRun, made: Path) -> dict[str, str]:
    """One line of the table of contents."""
    return {
        "page": made.name,
        "parameters": job.told,
        "result": done.result,
        "error": done.error or "",
        "time": f"{done.seconds:.0f} s",
        "memory": readable_size(done.peak_memory_bytes),
        "size": readable_size(made.stat().st_size),
    }


def contents(sections: Sequence[Mapping[str, Any]], runs: Sequence[NotebookRun], made: Mapping[str, str]) -> str:
    """The HTML of the table of contents: a section a notebook, a line a page, and the totals."""
    return fill(
        "handout.html.j2",
        sections=sections,
        failed=sum(not done.ok for done in runs),
        total=len(runs),
        total_time=f"{sum(done.seconds for done in runs):.0f} s",
        largest_memory=readable_size(max(done.peak_memory_bytes for done in runs)),
        made_with=made,
    )
