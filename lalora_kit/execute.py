"""Run one notebook headlessly: parameters checked before anything starts, nothing left behind after.

Papermill alone only *warns* about a misspelled parameter and waits for ever for a cell that never ends.
Here a wrong parameter is an error and every cell has a time limit.
"""

from __future__ import annotations

import ast
import difflib
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill

from lalora_kit.kernel import watched_kernel

RESULT_MIME = "application/vnd.lalora.result+json"
"""Mimetype of the one JSON result that a notebook's last cell displays."""

CELL_TIMEOUT = 900
"""Seconds that a single cell may take: all notebooks together are meant to need no more."""

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_BANNER_TAG = "papermill-error-cell-tag"


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


def parameters_of(notebook: Path) -> list[str]:
    """Names of a notebook's parameters, in its own order; ValueError where there is no such notebook."""
    if not notebook.is_file():
        raise ValueError(f"{notebook} does not exist; name a notebook by its path.")
    return list(papermill.inspect_notebook(str(notebook)))


def check_parameters(notebook: Path, parameters: Mapping[str, object]) -> None:
    """Refuse parameters that `notebook` does not have, or of another type than its default.

    An integer may stand for a float. Raises ValueError that names the value, the rule and the remedy.
    """
    if not notebook.is_file():
        raise ValueError(f"{notebook} does not exist; name a notebook by its path.")
    known = papermill.inspect_notebook(str(notebook))
    for name, value in parameters.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            has = ", ".join(known) or "none, for no cell is tagged `parameters`"
            raise ValueError(f"{name} is not a parameter of {notebook.name}; {hint}It has: {has}.")
        try:
            default = ast.literal_eval(known[name]["default"])
        except (ValueError, SyntaxError):
            continue  # a default that is not a literal says nothing of its type; the notebook checks itself
        if default is not None and not _same_kind(value, default):
            raise ValueError(
                f"{name}={value!r} is of type {type(value).__name__}, but {notebook.name} has "
                f"{name} = {known[name]['default']}; pass a value of type {type(default).__name__}."
            )


def run_notebook(
    path: Path,
    out_path: Path,
    parameters: Mapping[str, object] | None = None,
    *,
    timeout: int = CELL_TIMEOUT,
    on_cell: Callable[[], object] | None = None,
) -> NotebookRun:
    """Run `path` in a fresh kernel of this interpreter, in its own folder; outputs go to `out_path`.

    `timeout` is in seconds per cell; `on_cell` is called as each code cell starts. A failure inside the
    notebook is reported in the returned run, not raised; wrong parameters raise ValueError.
    """
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # all that it would say is in the run's `error`
    if parameters:
        check_parameters(path, parameters)
    out_path.parent.mkdir(parents=True, exist_ok=True)
    out_path.unlink(missing_ok=True)  # so that a run that fails early does not show an older run's outputs
    start = time.perf_counter()
    peak, error = _execute(path.resolve(), out_path.resolve(), dict(parameters or {}), timeout, on_cell)
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
                str(path),
                str(out_path),
                parameters=parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                cwd=str(path.parent),
                execution_timeout=timeout,
                coalesce_streams=True,
                kernel_manager_class=manager_class,
                on_cell_execute=count,
            )
        except Exception as failure:  # whatever breaks in one notebook must not stop the others
            return watch.peak_bytes, _short(failure, started, timeout)
    return watch.peak_bytes, None


def _same_kind(value: object, default: object) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, list | tuple):
        return isinstance(value, list | tuple)
    return isinstance(value, type(default))


def _short(failure: Exception, cell: int, timeout: int) -> str:
    """One line: which cell (numbered as JupyterLab numbers it after Run All) and what went wrong."""
    if isinstance(failure, papermill.PapermillExecutionError):
        text = f"{failure.ename}: {failure.evalue}"
    elif isinstance(failure, TimeoutError):
        text = f"took longer than {timeout} s and was stopped"
    else:
        text = f"{type(failure).__name__}: {failure}"
    first = _ANSI.sub("", text).strip().splitlines()[0]
    return f"In [{cell}]: {first[:300]}"


def _clean_and_read(path: Path) -> tuple[str, Mapping[str, Any] | None]:
    """Strip widget state and papermill's banners from an executed notebook; return its result."""
    notebook = nbformat.read(path, as_version=4)
    # The saved state of a FigureWidget is 5 MB and shows the first figure, not the last.
    notebook.metadata.pop("widgets", None)
    notebook.cells = [cell for cell in notebook.cells if _BANNER_TAG not in cell.metadata.get("tags", [])]
    nbformat.write(notebook, path)
    text, record = "", None
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        record = data.get(RESULT_MIME, record)
        lines = (output.get("text") or data.get("text/plain") or "").strip().splitlines()
        text = lines[-1] if lines and output.get("name") != "stderr" else text
    return (str(record["result"]) if record and "result" in record else text), record
