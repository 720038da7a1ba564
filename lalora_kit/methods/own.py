"""Methods of one's own: a `Method` in a Python file, named `file.py:NAME`. The file is code, and is run.

A run keeps the file's absolute path, NAME and the SHA-256 of the content (`Method.source`). It is found again by them.
Where the file is gone, or says anything else by now, nothing is run: the same name would be another method. The
module's name carries the hash, so that a run's identity differs wherever the content does, and its noise is then fresh
and charged. What the file imports is not hashed.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

from lalora_kit.methods.method import BOTH, Method

MARK = ".py:"
MODULE = "own_method_"
NAMED = "a method of your own is named file.py:NAME"
FIELDS = {"file", "name", "sha256"}
REMEDY = (
    "restore it, or name where it lies now with --method file.py:NAME; what it says now is another method: "
    "start a new run with it"
)


class Whole(importlib.machinery.SourceFileLoader):
    """Runs the very bytes that were hashed: neither the file as it is a moment later, nor bytecode kept beside it."""

    def __init__(self, name: str, path: str, data: bytes) -> None:
        super().__init__(name, path)
        self.data = data

    def get_code(self, fullname: str) -> CodeType:
        """The bytes, compiled."""
        return self.source_to_code(self.data, self.path)


def load_own(place: str) -> Method:
    """The method at `file.py:NAME`, which knows where it is from (`Method.source`).

    Raises:
        ValueError: if there is no such file, it cannot be run, or holds no `Method` of that name.
    """
    file, name = split(place)
    if not file.is_file():
        raise ValueError(f"{place!r}: there is no file {file}; {NAMED}")
    return run(Path(os.path.realpath(file)), file.read_bytes(), name)


def split(place: str) -> tuple[Path, str]:
    """File and NAME of `file.py:NAME`."""
    stem, _, name = place.rpartition(MARK)
    return Path(f"{stem}.py"), name


@lru_cache(maxsize=64)
def run(file: Path, data: bytes, name: str) -> Method:
    """Run the content `data` of `file`, and take the `Method` called `name` out of it."""
    content = hashlib.sha256(data).hexdigest()
    loader = Whole(f"{MODULE}{content[:16]}", str(file), data)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # dataclasses and pickle look a module up by its name
    guarded(loader.exec_module, file, module)
    found = getattr(module, name, None)
    if not isinstance(found, Method):
        have = [key for key, value in vars(module).items() if isinstance(value, Method)]
        raise ValueError(f"{file} holds no Method named {name!r}; it holds {', '.join(have) or 'none'}; name one")
    for step in (1, 2):
        trained = guarded(found.trains, file, 1, step)
        if not isinstance(trained, Set) or not trained <= {*BOTH, "extra"}:
            raise ValueError(
                f"{file}: {name}.trains(1, {step}) gives {trained!r}; it must be a set of 'A' and 'B', or none; "
                "what a method trains beside them is 'extra'"
            )
    return replace(found, source={"file": str(file), "name": name, "sha256": content})


def guarded(function: Callable[..., Any], file: Path, *given: Any) -> Any:
    """What a function of somebody's file gives, or `ValueError` naming the file, the line and what went wrong."""
    try:
        return function(*given)
    except (Exception, SystemExit) as error:  # anything can go wrong there
        raise ValueError(f"{file} cannot be run{line_of(error, file)}: {said(error)}; mend it; {NAMED}") from error


def blamed(error: Exception) -> str | None:
    """The sentence about an error that came out of a method of one's own; None for one that did not."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)
              if str(frame.f_globals.get("__name__")).startswith(MODULE)]  # fmt: skip
    if not frames:
        return None
    frame, line = frames[-1]
    return (
        f"{frame.f_code.co_filename} at line {line}, your own method: {said(error)}; what was released "
        "before is charged; mend the method, and start a new run"
    )


def said(error: BaseException) -> str:
    """Kind and message of an error in one line."""
    return f"{type(error).__name__}: {error}"


def line_of(error: BaseException, file: Path) -> str:
    """` at line 3`: the last line of the file that an error came through."""
    if isinstance(error, SyntaxError):
        return f" at line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f" at line {lines[-1]}" if lines else ""


def content_of(place: str) -> str | None:
    """SHA-256 of the file in `file.py:NAME` as it is now; None where it cannot be read."""
    try:
        return hashlib.sha256(split(place)[0].read_bytes()).hexdigest()
    except OSError:
        return None


def load_again(source: Mapping[str, str], directory: Path) -> Method:
    """The method that a run of `directory` keeps the `source` of, run again only if it is what was run then.

    Raises:
        ValueError: if the file is gone or has changed, or lies in the directory itself: a directory may come from
            somebody else, and to look at it must run nothing that came with it.
    """
    file, place = Path(source["file"]), f"{source['file']}:{source['name']}"
    if not file.is_file():
        raise ValueError(f"{directory} was trained with {place}, and that file is gone; {REMEDY}")
    if Path(os.path.realpath(file)).is_relative_to(os.path.realpath(directory)):
        raise ValueError(
            f"{directory} was trained with {place}, which lies in the directory itself, and code that comes with a run "
            f"is not run unasked; name it if you trust it: --method {place}"
        )
    data = file.read_bytes()
    check_content(source, hashlib.sha256(data).hexdigest(), directory)
    return run(file, data, source["name"])


def check_content(source: Mapping[str, str], content: str, directory: Path) -> None:
    """Refuse another content than the one that the run of `directory` keeps."""
    if content != source["sha256"]:
        raise ValueError(
            f"{directory} was trained with {source['file']}:{source['name']}, and the file's content is another now "
            f"(SHA-256 {content[:12]}, then {source['sha256'][:12]}); {REMEDY}"
        )
