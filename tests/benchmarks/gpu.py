"""What a private step costs on one CUDA card, in at most 6 minutes and without network: the table of RESULTS.md.

    python -m tests.benchmarks.gpu            # on a machine with a card
    python -m tests.benchmarks.gpu --small    # the small form, about a minute on a CPU: that the script works

The kit's private step (draw, gradients per sample, clip, sum, noise, the method's update) over PEFT's own ordinary
step on the same samples, in bf16 autocast and float32; pico clients together over one after another; the share of the
card's bf16 rate; how often a step makes the host wait; peak memory; what the noise takes. Each figure is a median of
interleaved pairs after a warm-up. A part whose time is up takes fewer pairs, or says that it was not measured; so does
one that runs out of memory. Writes gpu.json (machine, versions, card, seconds, every row) and gpu.md (the table).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lalora_kit.base.machine import ran_out
from lalora_kit.book.notebooks import made_with
from tests.benchmarks.cards import TimeUp, about, limit, tidy
from tests.benchmarks.cases import NotHere, Row
from tests.benchmarks.gpu_parts import CARD, SMALL, Form, parts
from tests.benchmarks.gpu_table import table, told, verdicts

STARTED = time.perf_counter()
NO_CARD = (
    "no CUDA card: torch {torch} finds none here, and this table is about one; run it where `nvidia-smi` names a card "
    "and torch is a CUDA build, or add --small for the small form on the CPU"
)


def bounded(asked: Row, work: Callable[[], Row], seconds: float) -> Row:
    """The row: what was asked, with what was found, or why nothing was."""
    started = time.perf_counter()
    try:
        with limit(seconds):
            found = work()
    except (NotHere, TimeUp) as error:
        found = {"not_measured": str(error)}
    except subprocess.TimeoutExpired:
        found = {"not_measured": f"more than its {seconds:.0f} s"}
    except Exception as error:
        # Whatever one part cannot do, the others go on.
        if ran_out(error):
            found = {"not_measured": "out of memory"}
        else:
            traceback.print_exc()
            found = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}
    tidy()
    return {**asked, **found, "took": round(time.perf_counter() - started, 2)}


def measured(form: Form, started: float, say: Callable[[str], Any]) -> list[Row]:
    """Every row, each told as it comes; none begins once all the time is over."""
    rows = []
    for asked, work in parts(form):
        left = form.total - (time.perf_counter() - started)
        if left < 1:
            row = {**asked, "not_measured": f"the {form.total:.0f} s of all parts were over"}
        else:
            row = bounded(asked, work, min(form.most, left))
        rows.append(row)
        say(told(row))
    return rows


def result(form: Form, started: float, say: Callable[[str], Any]) -> dict[str, Any]:
    """All that is written: card, machine, rows, verdicts, and the table as markdown."""
    card = about(form.device)
    say(f"{card['card']}, torch {card['torch']}: at most {form.total:.0f} s")
    rows = measured(form, started, say)
    said = {"card": card, "made_with": made_with(), "small": form.device == "cpu", "rows": rows}
    said |= {"verdicts": verdicts(rows, card["card"]), "seconds": round(time.perf_counter() - started, 1)}
    return {**said, "table": table(said)}


def main() -> int:
    """Measure, print, write; 1 if a part failed otherwise than by time or memory, 2 if there is no card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="the small form, on the CPU")
    parser.add_argument("--out", type=Path, default=Path("build"), help="the folder to write to (build)")
    options = parser.parse_args()
    if not options.small and not torch.cuda.is_available():
        print(NO_CARD.format(torch=torch.__version__), file=sys.stderr)
        return 2
    form = SMALL if options.small else CARD
    found = result(form, STARTED, lambda line: print(line, file=sys.stderr, flush=True))
    name = "gpu-small" if options.small else "gpu"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (options.out / f"{name}.md").write_text(found["table"] + "\n", encoding="utf-8")
    print(found["table"])
    return int(any("failed" in row for row in found["rows"]))


if __name__ == "__main__":
    sys.exit(main())
