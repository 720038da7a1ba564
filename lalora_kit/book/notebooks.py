"""The notebooks as a book: run them all, make their pages, say what came out.

This is the main job of a fresh installation (`lalora walkthrough`), and it opens the same notebooks for
reading and playing (`lalora lab`).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lalora_kit.base.files import make_folder, write_atomically
from lalora_kit.book.execute import NotebookRun, run_notebook
from lalora_kit.book.pages import WORDS, glossary, page, write_index
from lalora_kit.book.parameters import check_parameters, read_notebook
from lalora_kit.book.progress import FILE, Part, Progress
from lalora_kit.book.templates import readable_size

__all__ = [
    "NotebookRun",
    "check_parameters",
    "copy_notebooks",
    "lab",
    "notebooks_dir",
    "page",
    "run_notebook",
    "table",
    "walkthrough",
]

COPIES = "lalora-notebooks"
"""Folder, in the one that a command was called in, for copies of an installed package's notebooks."""

PACKAGES_TOLD = ("lalora-kit", "torch", "timm", "transformers", "peft", "opacus", "plotly", "papermill")
"""Packages whose versions the index names: those that numbers and figures depend on."""


def notebooks_dir() -> Path:
    """The folder of the notebooks: inside an installed package, else `notebooks/` beside it, as in a clone.

    Raises ValueError where there is neither.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if any(folder.glob("*.ipynb")):
            return folder
    raise ValueError(
        f"{package} came without its notebooks: a wheel carries them inside, a clone beside the package; "
        "install the wheel again, or clone the repository and run `python -m pip install -e .` there."
    )


def copy_notebooks(out_dir: Path, *, keep: bool = False) -> list[Path]:
    """Copy the notebooks, and the glossary that they link to, into `out_dir`; return the notebooks' places, in order.

    A file that lies there and differs is the reader's work. It is never overwritten: with `keep` it stays as it is,
    else ValueError, before anything is written.
    """
    sources = sorted(notebooks_dir().glob("*.ipynb"))
    places = [out_dir / source.name for source in sources]
    pairs = [(source.read_bytes(), place) for source, place in zip(sources, places, strict=True)]
    changed = [place for data, place in pairs if place.exists() and place.read_bytes() != data]
    if changed and not keep:
        raise ValueError(
            f"{', '.join(map(str, changed))} would be overwritten and differ from the kit's, perhaps by your work; "
            "name another folder, or move them away"
        )
    make_folder(out_dir)
    words = f"{WORDS}.md"
    for data, place in [*pairs, ((notebooks_dir() / words).read_bytes(), out_dir / words)]:
        if not place.exists():
            write_atomically(place, data)
    return places


def first_notebook() -> Path:
    """What `lab` opens: the first notebook of a clone; of an installed package, in a copy that a reader may change."""
    if notebooks_dir().parent != Path(__file__).resolve().parents[1]:
        return min(notebooks_dir().glob("*.ipynb"))
    return copy_notebooks(Path(COPIES), keep=True)[0]


def walkthrough(
    out_dir: Path, notebooks: Sequence[Path] | None = None, echo: Callable[[str], object] = print
) -> list[NotebookRun]:
    """Run every notebook at its defaults, in the order of their names, and write `index.html` and the pages.

    A notebook that fails does not stop the others: look at `ok` of each run returned. The executed notebooks
    lie beside the pages, and what each took, by which the next call estimates (see `progress`).
    """
    chosen = sorted(notebooks_dir().glob("*.ipynb")) if notebooks is None else list(notebooks)
    if not chosen:
        raise ValueError("there is no notebook to run; the folder of notebooks is empty.")
    make_folder(out_dir)
    runs: list[NotebookRun] = []
    parts = [Part(path.stem, code_cells(path), {}) for path in chosen]
    with contextlib.closing(Progress(parts, echo, out_dir / FILE)) as progress:
        for place, path in enumerate(chosen):
            with progress.running(place) as on_cell:
                run = run_notebook(path, out_dir / path.name, on_cell=on_cell)
            page(run, out_dir / f"{run.name}.html", index="index.html")
            runs.append(run)
            word = "passed" if run.ok else "failed"
            progress.ended(run.seconds, run.ok, f"{word}, {run.seconds:.0f} s", always=False)
    write_index(runs, made_with(), out_dir / "index.html")
    glossary(notebooks_dir(), out_dir)
    return runs


def table(runs: Sequence[NotebookRun]) -> str:
    """Plain text: a line a notebook with its seconds, peak memory and result or error, and the totals."""
    width = max(len("notebook"), *(len(run.name) for run in runs))
    lines = [f"{'notebook':<{width}}  seconds  peak memory  result"]
    for run in runs:
        result = run.result if run.ok else f"FAILED: {run.error}"
        lines.append(f"{run.name:<{width}}  {run.seconds:7.1f}  {readable_size(run.peak_memory_bytes):>11}  {result}")
    seconds, peak = sum(run.seconds for run in runs), max(run.peak_memory_bytes for run in runs)
    passed = sum(run.ok for run in runs)
    lines.append(f"{'all':<{width}}  {seconds:7.1f}  {readable_size(peak):>11}  {passed} of {len(runs)} passed")
    return "\n".join(lines)


def lab(notebook: Path | None = None, arguments: Sequence[str] = ()) -> int:
    """Open JupyterLab of this interpreter on `notebook` (the first one by default); return its exit code."""
    first = notebook or first_notebook()
    process = subprocess.Popen([sys.executable, "-m", "jupyterlab", str(first), *arguments])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # Ctrl-C is JupyterLab's to answer: it asks whether to stop


def made_with() -> dict[str, str]:
    """Date, machine, commit and versions: what a reader needs to compare two walkthroughs."""
    told = {
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "Python": platform.python_version(),
    }
    for name in PACKAGES_TOLD:
        try:
            told[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            told[name] = "not installed"
    commit = _commit()
    return {**told, "Commit": commit} if commit else told


def _processor() -> str:
    try:
        models = [
            line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line
        ]
        return models[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def _commit() -> str:
    """Short hash of the checkout, `-dirty` with changes; empty outside a repository or without git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def code_cells(path: Path) -> int:
    """How many cells there are to run; 0 for what is no notebook, which its run will report."""
    try:
        cells = read_notebook(path).cells
    except (OSError, ValueError):
        return 0
    return sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in cells)
