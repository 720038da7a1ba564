"""Marks: whether the ledgers below a directory are still what its states and adapters say they were."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lalora_kit.base.files import read_object
from lalora_kit.runs.statefile import REMEDY, check_ledger, is_mark, ledger_mark, mark_in

LEDGER, COST, SITES = "ledger.jsonl", "privacy.json", "sites.json"


COST_REMEDY = "restore it from a copy, or delete it if the ledgers are known to be whole; the next round writes it anew"


def files_below(directory: Path) -> Iterator[Path]:
    """Every file at or below `directory`, linked folders too, each folder once.

    Raises:
        ValueError: if a folder cannot be read, for what was released from there would be left out.
    """

    def refuse(error: OSError) -> None:
        if isinstance(
            error, FileNotFoundError | NotADirectoryError
        ):  # not there, or just removed by a run that goes on
            return
        raise ValueError(
            f"{error.filename} cannot be read ({error.strerror}), so what was released from there is unknown; make it "
            "readable, or move it out of the run's directory"
        ) from error

    seen: set[str] = set()
    for folder, names, files in os.walk(directory, onerror=refuse, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:
            names.clear()
            continue
        seen.add(here)
        names.sort()
        yield from (Path(folder) / name for name in sorted(files))


def check_marks(directory: Path, files: list[Path] | None = None) -> None:
    """Refuse ledgers that are not what a state or a `privacy.json` below `directory` says they were.

    A state that cannot be read has no mark; that rounds were finished is then known by the files that they leave.
    """
    left = []
    for path in list(files_below(directory)) if files is None else files:
        folder, home = path.parent.name, home_of(path.parent.parent, directory)
        if folder == "state" and path.match("round-*.safetensors"):
            check_mark(home, mark_in(path), path)
            left += [] if path.match("round-000000.*") else [(path, home)]
        elif folder == "adapter" and path.name == COST:
            mark = read_object(path, COST_REMEDY).get("ledger")
            if not is_mark(mark):
                raise ValueError(f"{path} is damaged: it holds no mark of its ledger; {COST_REMEDY}")
            check_mark(home, mark, path)
        elif path.name == "rounds.jsonl" and b"\n" in path.read_bytes():
            left.append((path, home_of(path.parent, directory)))
    for path, home in left:
        if not ledger_mark(home)["bytes"]:
            raise ValueError(
                f"{home} holds no release, yet rounds were finished ({path}); the ε spent is unknown; {REMEDY}"
            )


def check_mark(ledger: Path, mark: Mapping[str, Any] | None, path: Path) -> None:
    """The ledger of the mark in `path`, and those below it, hold what the mark says."""
    if mark is None:
        return
    what = f"this state ({path})"
    check_ledger(ledger, mark, what)
    for place, one in mark.get("below", {}).items():
        check_ledger(ledger.parent / place / LEDGER, one, what)


def home_of(place: Path, directory: Path) -> Path:
    """The ledger of the run that lies in `place`: beside it, or, of a run that was set aside, two folders up."""
    set_aside = place != directory and place.parent.name == "runs" and place.name.isdecimal()
    if set_aside and not (place / LEDGER).exists():
        return place.parent.parent / LEDGER
    return place / LEDGER
