"""Tables: the rows of a trial as CSV and JSON, and what they say for and against the claims, in sentences."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lalora_kit.base.files import dumps, read_lines, write_atomically
from lalora_kit.trial.claims import Exact
from lalora_kit.trial.designs import Design
from lalora_kit.trial.effects import Effect
from lalora_kit.trial.verdicts import Row

RUNS, TABLE = "claims.jsonl", "claims"


SETTLES = "the paper's preset at this ε, 5 seeds a method, each at its best rate"


def as_records(rows: Iterable[Row], exact: Iterable[Exact] = ()) -> list[dict[str, Any]]:
    """Rows as flat mappings, for CSV and JSON; null where nothing was measured."""
    records = []
    for row in rows:
        claim = row.claim
        record: dict[str, Any] = {
            "key": claim.key, "claim": claim.text, "unit": claim.unit.name, "paper": claim.paper,
            "source": claim.source, "epsilon": claim.epsilon, **claim.moved,
        }  # fmt: skip
        for name, measured in (("equal", row.equal), ("best", row.best), ("control", row.control)):
            record |= {f"{name}_{key}": value for key, value in asdict(measured).items() if key != "among"}
        record |= {
            "rate_one": row.rates[0], "rate_other": row.rates[1], "control": claim.control,
            "intervals_together": row.best.among, "head_only": row.head_only, "verdict": row.verdict,
            "settles": SETTLES, "authors_reply": None,
        }  # fmt: skip
        records.append(record)
    for statement in exact:
        records.append({"key": statement.key, "claim": statement.text, "source": statement.source,
                        "found": statement.found, "verdict": statement.verdict, "authors_reply": None})  # fmt: skip
    return [{key: shortened(value) for key, value in record.items()} for record in records]


def shortened(value: Any) -> Any:
    """Six significant digits are enough, and NaN is no JSON."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def write_tables(out: Path, rows: Iterable[Row], exact: Iterable[Exact], design: Design) -> tuple[Path, Path]:
    """`claims.csv` and `claims.json` in `out`: the table, and in the JSON what the runs were made with."""
    records = as_records(rows, exact)
    names = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    made = [line for line in read_lines(out / RUNS) if "curve" not in line]
    table = {"made": made, "rates": list(design.rates), "tuning_seeds": design.tuning_seeds, "rows": records}
    csv_path, json_path = out / f"{TABLE}.csv", out / f"{TABLE}.json"
    write_atomically(csv_path, text.getvalue())
    write_atomically(json_path, dumps(table))
    return csv_path, json_path


def for_and_against(rows: Sequence[Row], leads: Mapping[str, Effect], where: str) -> str:
    """What speaks for the claims at best rates, what against them, and what for neither side, in sentences.

    Args:
        rows: the judged claims.
        leads: by baseline, LA-LoRA's lead over it; one with zero in its interval, or without one, is on neither side.
        where: the leads are measured, such as `at ε = 3`.
    """
    held = [row for row in rows if row.best.low > 0]
    reversed_ = [row for row in rows if row.best.high < 0]
    ruled = [row for row in rows if row.verdict.startswith(("ruled out", "no gain"))]
    ahead = ", ".join(name for name, lead in leads.items() if lead.low > 0)
    behind = ", ".join(name for name, lead in leads.items() if lead.high < 0)
    level = ", ".join(name for name, lead in leads.items() if not (lead.low > 0 or lead.high < 0))
    sentences = [
        f"What speaks **for** the paper's claims here, at best rates: {quoted(held) or 'none of them holds'}"
        f"{ahead and f'; and {where} LA-LoRA is ahead of {ahead}'}.",
        f"What speaks **against** them: the opposite is shown for {quoted(reversed_) or 'none of them'}; an effect as "
        "large as the paper's (or, where none is given, the smallest that would matter) is ruled out for "
        f"{quoted(ruled) or 'none of them'}{behind and f'; and {where} LA-LoRA is behind {behind}'}.",
    ]
    if level or not leads:
        beside = f"is level with {level}" if level else "has no shipped baseline beside it"
        sentences.append(f"{where[:1].upper()}{where[1:]} LA-LoRA {beside}, which speaks for neither side.")
    still_open = len(rows) - len({row.claim.key for row in (*held, *reversed_, *ruled)})
    sentences.append(f"{still_open} of {len(rows)} claims are open: these seeds cannot tell.")
    return " ".join(sentences)


def quoted(rows: Iterable[Row]) -> str:
    """The texts of some claims, in quotation marks."""
    return "; ".join(f"“{row.claim.text}”" for row in rows)
