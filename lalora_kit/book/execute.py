"""Run one notebook headlessly: parameters checked before anything starts, nothing left behind after.

Papermill alone only *warns* about a misspelled parameter and waits for ever for a cell that never ends.
Here a wrong parameter is an error and every cell has a time limit.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill

from lalora_kit.base.files import make_folder
from lalora_kit.book.kernel import watched_kernel
from lalora_kit.book.parameters import LANGUAGE, check_parameters

RESULT_MIME = "application/vnd.lalora.result+json"
"""Mimetype of the one JSON result that a notebook's last cell displays."""

QUESTION_MIME, ANSWER_MIME = "application/vnd.lalora.question+json", "application/vnd.lalora.answer+json"
"""Mimetypes of a question, and of its answer, which stays folded."""

CELL_TIMEOUT = 900
"""Seconds that a single cell may take: all notebooks together are meant to need no more."""

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_BANNER_TAG = "papermill-error-cell-tag"
MAY_RAISE = "raises-exception"
"""Jupyter's tag of a cell that is meant to raise."""


@dataclass(frozen=True)
class NotebookRun:
    """What one headless run of a notebook left.

    `seconds` is wall time, kernel start included. `result` is one line for people, `record` the JSON result
    behind it (None where the notebook displayed none). `peak_memory_bytes` is the largest resident memory of
    the kernel and its children. `path` is the executed notebook, there even when the run failed.
    """

    name: str
    path: Path
    seconds: float
    ok: bool
    result: str
    record: Mapping[str, Any] | None
    error: str | None
    peak_memory_bytes: int
    size_bytes: int


def run_notebook(
    path: Path,
    out_path: Path,
    parameters: Mapping[str, object] | None = None,
    *,
    timeout: int = CELL_TIMEOUT,
    on_cell: Callable[[], object] | None = None,
) -> NotebookRun:
    """Run `path` in a fresh kernel of this interpreter, in its own folder; outputs go to `out_path`.

    `timeout` is in seconds per cell, and once more for what it printed to be read; `on_cell` is called as each code
    cell starts. A failure inside the notebook is reported in the returned run, not raised; wrong parameters raise
    ValueError.
    """
    if parameters:
        check_parameters(path, parameters)
    make_folder(out_path.parent)
    out_path.unlink(missing_ok=True)  # so that a run that fails early does not show an older run's outputs
    start = time.perf_counter()
    with _quiet("papermill", "asyncio"):
        peak, error = _execute(
            path.resolve(), Path(os.path.realpath(out_path)), dict(parameters or {}), timeout, on_cell
        )
    seconds = time.perf_counter() - start
    result, record = _clean_and_read(out_path) if out_path.exists() else ("", None)
    return NotebookRun(
        name=path.stem,
        path=out_path,
        seconds=seconds,
        ok=error is None,
        result=result,
        record=record,
        error=error,
        peak_memory_bytes=peak,
        size_bytes=out_path.stat().st_size if out_path.exists() else 0,
    )


@contextmanager
def _quiet(*loggers: str) -> Iterator[None]:
    """Keep libraries from telling a failure besides: all that they would say is in the run's `error`."""
    found = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in found]
    for logger in found:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        gc.collect()  # asyncio tells of a task that was left behind when it goes
        for logger, level in zip(found, levels, strict=True):
            logger.setLevel(level)


def _execute(
    path: Path, out_path: Path, parameters: dict[str, object], timeout: int, on_cell: Callable | None
) -> tuple[int, str | None]:
    """Return the kernel's peak memory in bytes and, if the run failed, why."""
    started = 0

    def count(**_: Any) -> None:
        nonlocal started
        started += 1
        if on_cell is not None:
            on_cell()

    with watched_kernel() as (watch, manager_class):
        try:
            papermill.execute_notebook(
                _unformatted(path),
                _unformatted(out_path),
                parameters=parameters,
                kernel_name="python3",
                language=LANGUAGE,
                progress_bar=False,
                cwd=str(path.parent),
                execution_timeout=timeout,
                iopub_timeout=timeout,
                kernel_manager_class=manager_class,
                shutdown_kernel="immediate",  # its own way out takes seconds and keeps nothing
                on_cell_execute=count,
            )
        except Exception as failure:  # whatever breaks in one notebook must not stop the others
            if not _allowed(failure, out_path):
                return watch.peak_bytes, _short(failure, started, timeout)
    return watch.peak_bytes, None


def _unformatted(path: Path) -> str:
    """A path as papermill takes it, which fills what stands in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _allowed(failure: Exception, out_path: Path) -> bool:
    """Whether a failure is one that its cell announces by the tag `raises-exception`.

    Papermill names the last cell with an error. One without the tag stops the run, so none comes after it.
    """
    if not isinstance(failure, papermill.PapermillExecutionError):
        return False
    cells = _without_banners(nbformat.read(out_path, as_version=4))
    return MAY_RAISE in cells[failure.cell_index].metadata.get("tags", [])


def _short(failure: Exception, cell: int, timeout: int) -> str:
    """One line: which cell (numbered as JupyterLab numbers it after Run All) and what went wrong."""
    if isinstance(failure, papermill.PapermillExecutionError):
        text = f"{failure.ename}: {failure.evalue}"
    elif isinstance(failure, TimeoutError):
        text = f"took longer than {timeout} s and was stopped"
    else:
        text = f"{type(failure).__name__}: {failure}"
    first = (_ANSI.sub("", text).strip().splitlines() or [type(failure).__name__])[0]
    return f"In [{cell}]: {first[:300]}"


def _without_banners(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells but for those in which papermill points at an error."""
    return [cell for cell in notebook.cells if _BANNER_TAG not in cell.metadata.get("tags", [])]


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """A cell's outputs with each stream in one piece, as a terminal shows it, and what is printed before warnings.

    In time that is linear in the text: nbclient's own way takes minutes over a line of some 100,000 characters, and
    takes them where no time limit holds.
    """
    pieces: dict[str, list[str]] = {}
    kept = []
    for output in outputs:
        if output.output_type == "stream" and output.name in pieces:
            pieces[output.name].append(output.text)
            continue
        if output.output_type == "stream":
            pieces[output.name] = [output.text]
        kept.append(output)
    for place, output in enumerate(kept):
        if output.output_type == "stream":
            output.text = "\n".join(map(_overwritten, "".join(pieces[output.name]).split("\n")))
            if place and output.name == "stdout" and kept[place - 1].get("name") == "stderr":
                kept[place - 1 : place + 1] = [output, kept[place - 1]]
    return kept


def _overwritten(line: str) -> str:
    """What is left of a line after its carriage returns; one at its end leaves it as it is.

    >>> _overwritten("1 of 3\\r2 of 3\\r3 of 3")
    '3 of 3'
    """
    end = "\r" if line.endswith("\r") else ""
    return line.removesuffix("\r").rpartition("\r")[2] + end


def _clean_and_read(path: Path) -> tuple[str, Mapping[str, Any] | None]:
    """Strip widget state and banners from an executed notebook, join streams, fold answers; return its result."""
    notebook = nbformat.read(path, as_version=4)
    # The saved state of a FigureWidget is 5 MB and shows the first figure, not the last.
    notebook.metadata.pop("widgets", None)
    notebook.cells = _without_banners(notebook)
    for cell in notebook.cells:
        if cell.get("outputs"):
            cell.outputs = _joined(cell.outputs)
        if any(ANSWER_MIME in output.get("data", {}) for output in cell.get("outputs", [])):
            cell.metadata["jupyter"] = {**cell.metadata.get("jupyter", {}), "outputs_hidden": True}
    nbformat.write(notebook, path)
    text, record = "", None
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        record = data.get(RESULT_MIME, record)
        lines = (output.get("text") or data.get("text/plain") or "").strip().splitlines()
        text = lines[-1] if lines and output.get("name") != "stderr" else text
    return (str(record["result"]) if record and "result" in record else text), record
