"""The seconds of the table of notebooks in RESULTS.md, quiet and beside a busy process on each core, in one run.

    python -m tests.benchmarks.walkthrough                # all twelve; nothing else may run meanwhile
    python -m tests.benchmarks.walkthrough --write        # and put the figures into RESULTS.md, the paper and the cards
    python -m tests.benchmarks.walkthrough 05 --out DIR   # some of them

Each notebook runs as `lalora walkthrough` runs it, first quiet, then busy, and is kept as a line of `seconds.jsonl` in
`--out`; a second call goes on where the first stopped. `table.md` beside it holds what RESULTS.md needs. A line says
what load the machine had when the notebook began, so that a figure that was not taken quiet can be told from one that
was.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lalora_kit.base.files import append_line, make_folder, read_lines, write_atomically
from lalora_kit.base.threads import usable_cores
from lalora_kit.book.notebooks import made_with, walkthrough
from lalora_kit.book.sweep import choose

WAYS = ("quiet", "busy")
ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAPER = ROOT / "notebooks" / "RESULTS.md", ROOT / "paper" / "paper.md"
CARD = re.compile(r"(\d+) s on two quiet CPU cores, (\d+) s on busy ones")


@contextlib.contextmanager
def beside(way: str) -> Iterator[None]:
    """Nothing, or a process on each core that computes without end."""
    count = usable_cores() if way == "busy" else 0
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def measured(notebook: Path, way: str) -> dict[str, Any]:
    """One notebook run once, as a line to keep."""
    load, about = os.getloadavg()[0], made_with()
    with beside(way), tempfile.TemporaryDirectory() as scratch:
        [run] = walkthrough(Path(scratch), [notebook], lambda line: print(f"{way}: {line}", flush=True))
    if not run.ok:
        raise SystemExit(f"{notebook.stem} failed, {way}: {run.error}")
    machine = {"machine": about["Machine"], "cores": usable_cores(), "torch": about["torch"]}
    return {"notebook": notebook.stem, "way": way, "seconds": round(run.seconds, 1), "load_before": load, **machine}


def missing(notebooks: Sequence[Path], lines: Sequence[dict[str, Any]]) -> list[tuple[Path, str]]:
    """What is still to be run: every notebook quiet, then every one busy."""
    done = {(line["notebook"], line["way"]) for line in lines}
    return [(path, way) for way in WAYS for path in notebooks if (path.stem, way) not in done]


def table(lines: Sequence[dict[str, Any]]) -> str:
    """A row a notebook for RESULTS.md, the sums of those with both figures, and the machines; as markdown."""
    seconds = {(line["notebook"], line["way"]): line["seconds"] for line in lines}
    names = sorted({line["notebook"] for line in lines})
    both = [name for name in names if all((name, way) in seconds for way in WAYS)]
    rows = ["| | quiet, s | busy, s |", "|---|---|---|"]
    rows += [f"| {name} | " + " | ".join(f"{seconds[name, way]:.0f}" for way in WAYS) + " |" for name in both]
    total = {way: sum(seconds[name, way] for name in both) for way in WAYS}
    if both:
        rows.append(
            f"| together | {total['quiet']:.0f} | {total['busy']:.0f} (× {total['busy'] / total['quiet']:.2f}) |"
        )
    machines = sorted({f"{line['machine']}, {line['cores']} granted, torch {line['torch']}" for line in lines})
    quiet = [line["load_before"] for line in lines if line["way"] == "quiet"]
    rows += ["", "; ".join(machines), f"load before a quiet notebook: at most {max(quiet, default=0.0):.1f}"]
    return "\n".join(rows) + "\n"


def about(lines: Sequence[dict[str, Any]]) -> str:
    """The sentence of RESULTS.md that states the load and the machine of all figures.

    Raises:
        ValueError: if they are of several machines, and would not compare.
    """
    machines = {(line["machine"], line["cores"], line["torch"]) for line in lines}
    if len(machines) != 1:
        raise ValueError(f"{len(machines)} machines made these figures; take them on one, into an --out of their own")
    [(machine, cores, torch)] = machines
    spent = {way: sum(line["seconds"] for line in lines if line["way"] == way) for way in WAYS}
    return (
        f"Seconds of one run as in `lalora walkthrough`: quiet, with nothing else running ({spent['quiet']:.0f} s in "
        f"all), and\nbusy, beside a process on each core that computes without end ({spent['busy']:.0f} s; × "
        f"{spent['busy'] / spent['quiet']:.2f}). {machine},\n{cores} granted, torch {torch}; "
        "`python -m tests.benchmarks.walkthrough` takes them again."
    )


def in_results(text: str, lines: Sequence[dict[str, Any]]) -> str:
    """RESULTS.md with the figures in the last two columns of the notebooks' table, and the sentence below it."""
    for name, found in by_notebook(lines).items():
        cells = "".join(f" {found[way]:.0f} |" for way in WAYS)
        text = replaced(text, rf"\| \[[^\]]*\]\({re.escape(name)}\.ipynb\) \|", 2, cells)
    below = r"(<!-- seconds -->\n).*?(\n<!-- /seconds -->)"
    return re.sub(below, lambda match: f"{match[1]}{about(lines)}{match[2]}", text, flags=re.DOTALL)


def in_paper(text: str, lines: Sequence[dict[str, Any]]) -> str:
    """The paper with the quiet seconds in the last column of its table."""
    for name, found in by_notebook(lines).items():
        text = replaced(text, rf"\| {name[:2]} [^|]*\|[^|]*\|", 1, f" {found['quiet']:.0f} s |")
    return text


def on_card(name: str, text: str, lines: Sequence[dict[str, Any]]) -> str:
    """A lesson with its own seconds on its card."""
    found = by_notebook(lines)[name]
    text, count = CARD.subn(f"{found['quiet']:.0f} s on two quiet CPU cores, {found['busy']:.0f} s on busy ones", text)
    if count != 1:
        raise ValueError(f"{count} cards in {name}, not one")
    return text


def by_notebook(lines: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Seconds by notebook and way."""
    found: dict[str, dict[str, float]] = {}
    for line in lines:
        found.setdefault(line["notebook"], {})[line["way"]] = line["seconds"]
    return found


def replaced(text: str, row: str, columns: int, cells: str) -> str:
    """A table in whose one row that begins with the pattern `row` the last `columns` are `cells`."""
    pattern = rf"^({row})(?:[^|\n]*\|){{{columns}}}$"
    text, count = re.subn(pattern, lambda match: match[1] + cells, text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{count} rows begin with {row}, not one")
    return text


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", help="numbers or names; all by default")
    parser.add_argument("--out", type=Path, default=Path("build/walkthrough-seconds"))
    parser.add_argument("--write", action="store_true", help="put the figures into RESULTS.md, the paper and the cards")
    given = parser.parse_args()
    kept = make_folder(given.out) / "seconds.jsonl"
    notebooks = choose(given.notebooks)
    for path, way in missing(notebooks, read_lines(kept)):
        append_line(kept, measured(path, way))
    written = table(read_lines(kept))
    write_atomically(given.out / "table.md", written)
    print(written)
    if given.write:
        for place, fill in (
            (RESULTS, in_results),
            (PAPER, in_paper),
            *((path, partial(on_card, path.stem)) for path in choose([])),
        ):
            write_atomically(place, fill(place.read_text("utf-8"), read_lines(kept)))


if __name__ == "__main__":
    main()
