"""Files that survive a crash, and reading that trusts none of them.

Written beside their place and renamed into it, after they have reached the disk; or a line at a time at the end.
What is read is plain JSON, of bounded size; reading changes no file and executes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

MOST_BYTES = 4 * 2**20  # of one line or one small file: about 50,000 clients in a round's record


def dumps(value: Any) -> str:
    """JSON as it is written here."""
    return json.dumps(value, indent=1)


def digest(value: object) -> str:
    """A short name for JSON-ready data."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def finite_or_null(value: Any) -> Any:
    """Plain JSON: tuples become lists, and a number that is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): finite_or_null(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [finite_or_null(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def parse_object(data: str | bytes, where: str, remedy: str) -> dict[str, Any]:
    """A JSON object, or `ValueError` naming the place: not JSON, no object, NaN, nested without end."""
    try:
        value = json.loads(data, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:  # bad UTF-8 and integers of thousands of digits are ValueErrors too
        raise ValueError(f"{where} is damaged: it is not JSON ({error}); {remedy}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where} is damaged: it holds a {type(value).__name__}, not an object; {remedy}")
    return value


def refuse_constant(name: str) -> None:
    """NaN and infinities are no JSON, and nothing here writes them."""
    raise ValueError(f"{name} is not a JSON number")


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object that is all of a small file; `FileNotFoundError` where there is none."""
    with open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"{path} is longer than {MOST_BYTES} bytes, which nothing here writes; {remedy}")
    return parse_object(data, str(path), remedy)


def whole_lines(path: Path, remedy: str) -> Iterator[tuple[str, bytes]]:
    """Place and content of every line that was written to its end; a last one cut short by a crash is left out."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        position = 0
        while line := file.readline(MOST_BYTES + 1):
            position += 1
            if len(line) > MOST_BYTES:
                raise ValueError(
                    f"{path} line {position} is longer than {MOST_BYTES} bytes, which nothing here writes; {remedy}"
                )
            if line.endswith(b"\n"):
                yield f"{path} line {position}", line


def read_lines(
    path: Path, remedy: str = "restore it from a copy, or move it away and start anew"
) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; `ValueError` naming the first line that is none."""
    return [parse_object(line, where, remedy) for where, line in whole_lines(path, remedy)]


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add one line, and return when it is on disk."""
    append_lines(path, [value])


def append_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """Add lines, and return when they are on disk; if that fails (disk full, ...) the file is as it was.

    A last line that a crash cut short goes first.
    """
    with open(path, "a+b") as file:
        size = whole_size(file)
        file.truncate(size)
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(value) + "\n" for value in values)
            flush_to_disk(file)
    except BaseException:
        os.truncate(path, size)
        raise
    if not size:
        sync(path.parent)


def whole_size(file: IO[bytes]) -> int:
    """Bytes up to the end of the last whole line."""
    size = file.seek(0, os.SEEK_END)
    if size:
        file.seek(size - 1)
    if not size or file.read(1) == b"\n":
        return size
    file.seek(0)
    return file.read().rfind(b"\n") + 1


def beside(path: Path) -> Path:
    """Where a file is written before it takes its place; a crash may leave it there."""
    return path.with_name(f".{path.name}.new")


def write_atomically(path: Path, data: str | bytes, mode: int = 0o644) -> None:
    """Write beside the place, then rename: readers see the old file or the new one, never half of one."""
    fresh = beside(path)
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            flush_to_disk(file)
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_named(path: Path, data: str) -> None:
    """Write a file that somebody named: through a link, and into what is no file (`/dev/stdout`) instead of over it."""
    place = Path(os.path.realpath(path))
    if place.exists() and not place.is_file():
        place.write_text(data, encoding="utf-8")
    else:
        write_atomically(place, data)


def make_folder(path: Path) -> Path:
    """The folder, made if need be with those above it; `ValueError` if a file lies there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"{path} cannot be a folder, for a file lies there or above it; name another place") from error
    return path


def sync(path: Path) -> None:
    """Make a file's content, or a folder's list of names, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_to_disk(file: IO[str] | IO[bytes]) -> None:
    """Return only when what was written is on disk."""
    file.flush()
    os.fsync(file.fileno())
