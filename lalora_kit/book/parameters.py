"""A notebook's parameters: which there are, whether values fit them, and how they are written into its copy.

They stand in the cell tagged `parameters`, as papermill has it, and are read from its syntax: a default may be anything
that Python can write.
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Mapping
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from papermill.translators import PythonTranslator, papermill_translators

from lalora_kit.base.checks import shown

TAG = "parameters"
KINDS = "a number, a text, true, false, None, or a list or mapping of these"


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """The notebook; ValueError naming it where there is none, or it is none, or of another language than Python."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; name a notebook by its path.")
    try:
        notebook = nbformat.read(path, as_version=4)
        tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
        spec, info = (notebook.metadata.get(name, {}) for name in ("kernelspec", "language_info"))
        language = str(spec.get("language") or info.get("name") or "python")
    except OSError:
        raise
    except Exception as error:  # nbformat meets what is no notebook with errors of many kinds
        first = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(
            f"{path} is no notebook that can be read ({type(error).__name__}: {first}); name another"
        ) from error
    assert len(tags) == len(notebook.cells)
    if "python" not in language.lower():
        raise ValueError(f"{path} is written in {language}, and a Python kernel runs notebooks here; name another")
    return notebook


def parameters_of(notebook: Path) -> dict[str, str]:
    """A notebook's parameters in its own order: name, and default as it is written (empty where there is none).

    A notebook needs no kernelspec: it is run by this Python's kernel in any case.

    Raises:
        ValueError: if there is no such notebook, or its parameters are no Python.
    """
    cells = [cell for cell in read_notebook(notebook).cells if TAG in cell.metadata.get("tags", [])]
    if not cells or cells[0].cell_type != "code":
        return {}
    try:
        return assigned(TransformerManager().transform_cell(cells[0].source))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{notebook}: the cell tagged `{TAG}` is no Python ({error}), so none can be set; mend the cell"
        ) from error


def assigned(code: str) -> dict[str, str]:
    """Names that the lines of `code` assign, with what is assigned.

    >>> assigned("name: str = 'a=b'  # with a sign\\nsizes = [1,\\n  2]\\nlow, high = 0, 1")
    {'name': "'a=b'", 'sizes': '[1,\\n  2]', 'low': '', 'high': ''}
    """
    found: dict[str, str] = {}
    for line in ast.parse(code).body:
        if not isinstance(line, ast.Assign | ast.AnnAssign):
            continue
        whole = line.targets if isinstance(line, ast.Assign) else [line.target]
        value = "" if line.value is None else ast.get_source_segment(code, line.value) or ""
        for target in whole:
            names = [
                node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            ]
            found |= {name: value if isinstance(target, ast.Name) else "" for name in names}
    return found


def check_parameters(notebook: Path, parameters: Mapping[str, object]) -> None:
    """Refuse parameters that `notebook` does not have, of another type than its default, or that no cell can hold.

    An integer may stand for a float. Raises ValueError that names the value, the rule and the remedy.
    """
    known = parameters_of(notebook)
    for name, value in parameters.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            has = ", ".join(known) or f"none, for no cell is tagged `{TAG}`"
            raise ValueError(f"{name} is not a parameter of {notebook.name}; {hint}It has: {has}.")
        if not is_plain(value):
            raise ValueError(f"{name}={shown(value)} cannot be given to a notebook; pass {KINDS}.")
        try:
            default = ast.literal_eval(known[name])
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue  # a default that is not a literal says nothing of its type; the notebook checks itself
        if default is not None and not same_kind(value, default):
            raise ValueError(
                f"{name}={shown(value)} is of type {type(value).__name__}, but {notebook.name} has "
                f"{name} = {known[name]}; pass a value of type {type(default).__name__}."
            )


def same_kind(value: object, default: object) -> bool:
    """Whether a value may stand in a default's place."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, list | tuple):
        return isinstance(value, list | tuple)
    return isinstance(value, type(default))


def is_plain(value: object) -> bool:
    """Whether a value can be written into a cell and into a report: what JSON knows, with numbers as keys too."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(not isinstance(key, tuple) and is_plain(key) and is_plain(part) for key, part in value.items())
    if isinstance(value, str):  # half a pair of UTF-16, as from a file's name in another encoding, is no text
        return value.encode(errors="ignore").decode() == value
    return value is None or isinstance(value, bool | int | float)


def literal(value: object) -> str:
    """Python that makes the value again; papermill's own makes texts of tuples and of a mapping's keys.

    >>> literal({1: (2.5, float("inf")), "a": []})
    "{1: (2.5, float('inf'),), 'a': []}"
    """
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        return f"({''.join(f'{literal(part)}, ' for part in value).strip()})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(key)}: {literal(part)}' for key, part in value.items())}}}"
    return repr(value)


class Literal(PythonTranslator):
    """Papermill's writer of the cell that holds the values of a run."""

    @classmethod
    def translate(cls, val: object) -> str:
        """`literal`."""
        return literal(val)


LANGUAGE = "lalora-python"
"""The name that papermill finds `Literal` under."""
papermill_translators.register(LANGUAGE, Literal)
