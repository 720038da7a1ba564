"""A run's page: its curves, noise, ε over the rounds and privacy statement, one HTML file that opens offline.

Everything on it is read from the run's directory. No method is loaded and nothing is run for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from lalora_kit.base.files import read_lines, write_atomically
from lalora_kit.book.templates import fill, get_plotlyjs
from lalora_kit.figures.run import accuracy_by_round, epsilon_by_round, noise_by_round
from lalora_kit.runs.results import Results
from lalora_kit.runs.results import shown as number
from lalora_kit.runs.saved import read_about
from lalora_kit.runs.statement import statement
from lalora_kit.settings import Settings

FILE = "report.html"
#: settings that the page names first, in this order
TOLD = (
    "epsilon",
    "delta",
    "clients",
    "rank",
    "rounds",
    "local_steps",
    "learning_rate",
    "head_learning_rate",
    "clip_norm",
)


def run_page(directory: Path, results: Results | None = None, beside: Sequence[str] = ()) -> Path:
    """Write `report.html` into a run's directory, and return its path.

    Args:
        directory: what `save_rounds` wrote.
        results: accuracy by site and class, for two tables more.
        beside: lines on what the run was measured against.

    Raises:
        ValueError: if the directory holds no run, no finished round, or a damaged ledger.
        OSError: if the page cannot be written.
    """
    _, method, settings = read_about(directory)
    records = read_lines(directory / "rounds.jsonl") if (directory / "rounds.jsonl").exists() else []
    if not records:
        raise ValueError(f"{directory} holds no finished round, so there is nothing to draw; --resume it first")
    said = statement(directory)
    page = fill(
        "run.html.j2",
        title=f"{said.task}: {method.name}",
        figures=[
            {"says": says, "alt": alt, "json": as_json(figure)}
            for says, alt, figure in drawn(method.name, settings, records)
        ],
        statement=said.text.splitlines(),
        settings=[(name, worded(getattr(settings, name))) for name in TOLD],
        rows=[row(line) for line in records],
        tables=[] if results is None else tables(results),
        beside=beside,
        plotly=get_plotlyjs(),
    )
    place = directory / FILE
    write_atomically(place, page)
    return place


def drawn(
    method: str, settings: Settings, records: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, go.Figure | None]]:
    """Each figure with what it says and its alternative text; None where there is nothing to draw."""
    last, tested = records[-1], [r for r in records if r["accuracy"] is not None]
    best = f"{tested[-1]['accuracy']:.1%} after round {tested[-1]['round']}" if tested else "no round was tested"
    sigma = f"σ = {last['noise_multiplier']:.4g}: each sum of gradients got noise of standard deviation σ·C"
    found = [(f"Accuracy: {best}", "Accuracy by round", accuracy_by_round(method, records) if tested else None)]
    if last["epsilon"] is None or not settings.private:
        found.append(("ε is infinite: at least one release has no noise, so nothing is promised", "", None))
    else:
        spent = f"ε: {last['epsilon']:.3f} spent after round {last['round']}, of {settings.epsilon:g}"
        found.append((spent, "ε spent by round", epsilon_by_round(method, records, settings.epsilon)))
    found.append(
        (f"Noise: {sigma if settings.private else 'none'}", "Length of updates by round", noise_by_round(records))
    )
    return found


def as_json(figure: go.Figure | None) -> str:
    """A figure as JSON that cannot end the script which holds it."""
    return "" if figure is None else figure.to_json().replace("<", "\\u003c")


def worded(value: Any) -> str:
    """A setting as text."""
    return "∞" if value == math.inf else f"{value:g}" if isinstance(value, float) else str(value)


def row(line: Mapping[str, Any]) -> list[str]:
    """A round's numbers."""
    values = [math.nan if line[name] is None else line[name] for name in ("accuracy", "loss")]
    epsilon = math.inf if line["epsilon"] is None else line["epsilon"]
    return [
        str(line["round"]),
        *(number(v) for v in (*values, epsilon, line["noise_multiplier"])),
        f"{line['seconds']:.2f}",
    ]


def tables(found: Results) -> list[dict[str, Any]]:
    """Accuracy by site, where samples have owners, and recall by class."""
    sites = [
        [name, str(s.samples), number(s.accuracy), number(s.balanced_accuracy), number(found.epsilons[name])]
        for name, s in found.sites.items()
    ]
    classes = [[name, number(value)] for name, value in zip(found.classes, found.overall.recalls, strict=True)]
    made = [{"title": "Recall of each class", "head": ["class", "recall"], "rows": classes}]
    if sites:
        head = ["site", "test samples", "accuracy", "balanced accuracy", "ε"]
        made.insert(0, {"title": "Each site", "head": head, "rows": sites})
    return made
