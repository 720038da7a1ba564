"""Rows of `tests.benchmarks.gpu` in words: a line as each is measured, the table for RESULTS.md, and the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.benchmarks.cards import SOURCE, data_sheet

Row = dict[str, Any]
#: The targets: what a step may cost over PEFT's in bf16, how much faster 8 clients are together, the share of the rate.
MOST_OVER_PEFT, LEAST_TOGETHER, LEAST_SHARE = 1.15, 5.0, 0.5
NAMES = {"swin-b": "Swin-B", "swin-t": "Swin-T", "roberta-base": "RoBERTa-base", "swin-pico": "Swin-pico",
         "roberta-pico": "RoBERTa-pico"}  # fmt: skip
FACTORS = {"B": "B", "AB": "A and B"}
HEADER = (
    *("model, rank", "precision", "trains", "samples, clients", "private / PEFT", "private, ms", "PEFT, ms", "pairs"),
    *("samples at once", "of the measured bf16 rate: private, PEFT", "of the data sheet's: private"),
)
#: What the columns mean.
LEGEND = (
    "Shares: floating-point operations as torch counts them, of the private or of PEFT's step, whichever has fewer, a "
    "second, over the rate. B is trained as la-lora does, A and B as dp-lora. Peak memory is that of making a step and "
    "taking it once, its copy of the weights included."
)


def missing(row: Row) -> str:
    """Why a row holds no figure; empty if it holds one."""
    if "failed" in row:
        return f"failed: {row['failed']}"
    return f"not measured: {row['not_measured']}" if "not_measured" in row else ""


def subject(row: Row) -> str:
    """What a row is about."""
    part, model = row["part"], NAMES.get(row.get("model", ""), "")
    if part == "rate":
        return "the device's own rate, a large square product"
    if part == "noise":
        return f"noise of a step, {row['clients']} clients × {row['numbers']:,} numbers"
    size = f"{model}, rank {row['rank']}, {row['samples']} samples of {row['clients']} clients"
    if part == "waits":
        chunk = row["chunk"]
        taken = "as the kit takes them" if chunk == "kit" else f"{chunk or 'all'} at once"
        return f"host waits a step, {size}, {taken}"
    if part == "together":
        return f"one client after another / together, {size}, {row['precision']}"
    if part == "memory":
        return f"peak memory, {size}, {row['precision']}, trains {FACTORS[row['trains']]}: {row['way']}"
    return f"private / PEFT, {size}, {row['precision']}, trains {FACTORS[row['trains']]}"


def figure(row: Row, rows: Sequence[Row] = ()) -> str:
    """What was found, or why nothing was."""
    if missing(row):
        return missing(row)
    part = row["part"]
    if part == "rate":
        return f"{row['tflops']:.3g} TFLOP/s, {row['precision']}"
    if part == "waits":
        return f"{row['waits']}"
    if part == "memory":
        over = next((r for r in rows if {**r, **MEASURED} == {**row, **MEASURED, "way": "PEFT's"}), row)
        more = "" if over is row or not over.get("MiB") else f", {row['MiB'] / over['MiB']:.2f} of PEFT's"
        chunk = "" if row["way"] != "private" else f", the kit takes {at_once(row)} at once"
        return f"{row['MiB']:,.0f} MiB{more}{chunk}"
    if part == "noise":
        return f"{1e3 * row['seconds']:.1f} ms{noise_share(row, rows)}"
    both = ("turns_seconds", "seconds") if part == "together" else ("seconds", "peft_seconds")
    pair = ", ".join(f"{1e3 * row[name]:.1f} ms" for name in both)
    return f"{row['ratio']:.2f} ({pair}; pairs: {row['pairs']})"


#: Fields that differ between two rows on the same thing.
MEASURED = {"MiB": 0, "took": 0, "chunk": 0, "not_measured": "", "failed": ""}


def noise_share(row: Row, rows: Sequence[Row]) -> str:
    """The noise over the first step on both factors that was measured: on a card, Swin-B's in bf16."""
    steps = [r for r in rows if r["part"] == "step" and r["trains"] == "AB" and not missing(r)]
    if not steps:
        return ""
    first = steps[0]
    return (
        f", {row['seconds'] / first['seconds']:.0%} of {NAMES[first['model']]}'s private step in {first['precision']}"
    )


def at_once(row: Row) -> str:
    """How many samples the kit takes at once: its chunk, or all."""
    return "all" if (row["chunk"] or row["samples"]) >= row["samples"] else str(row["chunk"])


def told(row: Row) -> str:
    """A line for whoever waits."""
    return f"  {subject(row)}: {figure(row)} [{row.get('took', 0):.0f} s]"


def rates(rows: Sequence[Row], card: str) -> tuple[float | None, float | None]:
    """The card's bf16 rate in TFLOP/s, as measured and as its data sheet says; None where it is not known."""
    measured = next((r["tflops"] for r in rows if r["part"] == "rate" and r.get("precision") == "bf16"), None)
    sheet = data_sheet(card)
    return measured, sheet[0] if sheet is not None and sheet[1] == "bf16" else None


def shares(row: Row, rows: Sequence[Row], card: str) -> tuple[str, str]:
    """Operations a second over the measured bf16 rate, of the private step and of PEFT's, and over the data sheet's."""
    if "operations" not in row:
        return "", ""
    measured, sheet = rates(rows, card)
    own = [row["operations"] / row[name] / 1e12 for name in ("seconds", "peft_seconds")]
    told = "" if measured is None else ", ".join(f"{value / measured:.0%}" for value in own)
    return told, "" if sheet is None else f"{own[0] / sheet:.0%}"


def step_cells(row: Row, rows: Sequence[Row], card: str) -> list[str]:
    """A step's line of the first table."""
    about = [f"{NAMES[row['model']]}, {row['rank']}", row["precision"], FACTORS[row["trains"]]]
    about.append(f"{row['samples']}, {row['clients']}")
    if missing(row):
        return [*about, missing(row), *[""] * (len(HEADER) - len(about) - 1)]
    times = [f"{1e3 * row[name]:.1f}" for name in ("seconds", "peft_seconds")]
    return [*about, f"{row['ratio']:.2f}", *times, str(row["pairs"]), at_once(row), *shares(row, rows, card)]


def line(cells: Sequence[str]) -> str:
    """A line of a markdown table."""
    return "| " + " | ".join(cells) + " |"


def table(said: Row) -> str:
    """Two tables, what they were made with, and the verdicts, as markdown."""
    rows, card, made = said["rows"], said["card"], said["made_with"]
    sheet = data_sheet(card["card"])
    facts = [
        card["card"],
        *(f"{name} {value}" for name, value in card.items() if name not in ("card", "torch", "device")),
        "no data-sheet rate is known" if sheet is None else f"{sheet[0]} {sheet[1]} TFLOP/s ({SOURCE})",
        made["Machine"],
        *(f"{name} {made[name]}" for name in ("torch", "peft", "timm", "transformers") if name in made),
        made["Date"],
        f"{said['seconds']:.0f} s in all",
    ]
    lines = [
        f"{'; '.join(facts)}.",
        "",
        line(HEADER),
        line(["---"] * len(HEADER)),
        *(line(step_cells(row, rows, card["card"])) for row in rows if row["part"] == "step"),
        "",
        line(["measure", "figure"]),
        line(["---"] * 2),
        *(line([subject(row), figure(row, rows)]) for row in rows if row["part"] != "step"),
        "",
        LEGEND,
        "",
    ]
    if said["small"]:
        lines += ["The small form, on a CPU: it shows that the script works, and says nothing of a card.", ""]
    return "\n".join([*lines, *(f"- {verdict}" for verdict in said["verdicts"])])


def verdicts(rows: Sequence[Row], card: str) -> list[str]:
    """Each target, whether it was met, and the figures that say so."""
    steps = [row for row in rows if row["part"] == "step" and row["precision"] == "bf16"]
    eight = [row for row in rows if row["part"] == "together" and row["clients"] == 8]
    large = [share(row, rows, card) for row in steps if row["model"] == "swin-b"]
    said = (
        (f"private ≤ {MOST_OVER_PEFT} of PEFT's bf16 step", steps, lambda x: x <= MOST_OVER_PEFT, ".2f"),
        (f"8 pico clients ≥ {LEAST_TOGETHER:g} times faster together", eight, lambda x: x >= LEAST_TOGETHER, ".2f"),
        (f"≥ {LEAST_SHARE:.0%} of the card's bf16 rate at Swin-B", large, lambda x: x >= LEAST_SHARE, ".0%"),
    )
    return [verdict(*each) for each in said]


def share(row: Row, rows: Sequence[Row], card: str) -> Row:
    """A step's share of the measured rate in the ratio's place, and of the data sheet's beside it."""
    if missing(row):
        return row
    measured, sheet = rates(rows, card)
    if measured is None:
        return {**row, "not_measured": "no bf16 rate"}
    done = row["operations"] / row["seconds"] / 1e12
    beside = "of the measured rate" + (f", {done / sheet:.0%} of the data sheet's" if sheet else "")
    return {**row, "ratio": done / measured, "beside": f" {beside}"}


def verdict(target: str, rows: Sequence[Row], holds: Callable[[float], bool], form: str) -> str:
    """Met only if every row was measured and holds."""
    if not rows:
        return f"{target}: not measured here"
    held = [holds(row["ratio"]) for row in rows if not missing(row)]
    word = "missed" if not all(held) else "met" if len(held) == len(rows) else "not settled"
    cells = [
        f"{NAMES[row['model']]}, {FACTORS[row['trains']]}: "
        f"{missing(row) or format(row['ratio'], form) + row.get('beside', '')}"
        for row in rows
    ]
    return f"{target}: **{word}** ({'; '.join(cells)})"
