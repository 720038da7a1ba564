"""Files that survive a crash: written beside their place and renamed into it, after they have reached the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any


def dumps(value: Any) -> str:
    """JSON as it is written here."""
    return json.dumps(value, indent=1)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON-lines file; a last one that was cut short is left out."""
    if not path.exists():
        return []
    text = path.read_text("utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add one line, and return when it is on disk."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(value) + "\n")
        flush_to_disk(file)


def write_atomically(path: Path, data: str | bytes, mode: int = 0o644) -> None:
    """Write beside the place, then rename: readers see the old file or the new one, never half of one."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            flush_to_disk(file)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync(path.parent)


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
