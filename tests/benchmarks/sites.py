"""Seconds and bytes of a round over sites: `python -m tests.benchmarks.sites` (with the extra `flower`: all four ways).

Two sites, `digits`, la-lora, four local steps. Simulator, sites in one process, Flower, Flower with TLS and node keys.
Seconds are those of the records, the first round left out; simulator and sites in one process take turns. Payload is
what the kit itself sends: the model down, an upload back. On the line is what Flower makes of it: counted by a relay of
TCP between SuperNodes and SuperLink, round by round, polls included; what an idle node sends is counted for a while
before the run. The load is the machine's average over a minute: a run has 1 of its own in one process, about 2 over
Flower while all of it is at work; what is above that is other work.

`--keep` writes the rows to `results/sites.json` and their table into DEPLOYING.md, `--table` prints what is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lalora_kit.book.notebooks import made_with
from lalora_kit.federated import federated_rounds
from lalora_kit.lessons.sites.across import Near
from lalora_kit.lessons.sites.travel import weighed
from lalora_kit.methods import METHODS
from lalora_kit.runs.saved import load
from lalora_kit.runs.sites.serving import serve
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task, load_task
from tests.federation import sites_in, terms_for
from tests.flower import Counting, Flower, counting

KEPT = Path(__file__).parent / "results" / "sites.json"
PAGE = Path(__file__).resolve().parents[2] / "notebooks" / "DEPLOYING.md"
SETTINGS, METHOD = Settings(epsilon=3.0, clients=2, rounds=5), "la-lora"
REST = 15.0  # seconds for which idle nodes are listened to
WAYS = {False: "Flower", True: "Flower, TLS and node keys"}
BYTES = ("payload_down", "payload_up", "line_down", "line_up")  # of one site in one round; None where there is none


def load_average() -> float:
    """Processes that ran or waited for a core over the last minute, those of this measurement among them."""
    return round(os.getloadavg()[0], 1)


def near(task: Task, home: Path, settings: Settings = SETTINGS) -> Iterator[dict[str, Any]]:
    """Simulator and sites in one process, round by round in turn."""
    sites, terms = sites_in(home, task, clients=settings.clients), terms_for(task, settings, METHOD)
    transport = Near(sites)
    walk = serve(task, terms, home / "server", transport)
    own = federated_rounds(task, METHODS[METHOD], replace(settings, seed=0))
    pairs = [(one.seconds, other.seconds) for one, other in zip(own, walk, strict=True)][1:]
    down, up = (sum(len(said[place]) for said in transport.said) / len(transport.said) for place in (2, 3))
    simulator, there = zip(*pairs, strict=True)
    yield row("simulator", simulator)
    yield row("sites in one process", there, payload_down=down, payload_up=up)


def row(way: str, seconds: Any, **more: float) -> dict[str, Any]:
    """What the table tells of one way."""
    told = {name: round(value) for name, value in more.items()}
    return {"way": way, "seconds": statistics.median(seconds), "least": min(seconds), "most": max(seconds),
            **dict.fromkeys(BYTES), **told, "load": load_average()}  # fmt: skip


def over_flower(task: Task, home: Path, secure: bool, settings: Settings = SETTINGS) -> dict[str, Any]:
    """The same rounds over Flower, and the bytes of a site and round: the kit's own, and those on the line."""
    ports: dict[int, Counting] = {}
    with counting(ports) as between, Flower(home, task, settings, method=METHOD, secure=secure, between=between) as f:
        [line], marks = ports.values(), []
        time.sleep(REST / 3)  # nodes come up
        before = line.counted()
        time.sleep(REST)
        idle = [(now - then) / REST / 2 for now, then in zip(line.counted(), before, strict=True)]
        job = f.run()
        for t in range(1, settings.rounds + 1):
            f.wait(lambda t=t: f"round {t}/" in f.said("job"), "job", job, 300.0)  # type: ignore[misc]
            marks.append(line.counted())
        f.wait(lambda: "done; kept in" in f.said("job"), "job", job)
    up, down = ((last - first) / (settings.rounds - 1) / 2 for first, last in zip(marks[0], marks[-1], strict=True))
    replies = [path.stat().st_size for name in f.names for path in (f.home / name / "runs").glob("*/reply-*")]
    assert len(replies) == settings.clients * settings.rounds, "each site has kept what it sent"
    payload = {
        "payload_down": weighed(task, METHODS[METHOD], settings)["down: the model"],
        "payload_up": statistics.fmean(replies),
    }
    seconds = [r["seconds"] for r in load(f.out).rounds][1:]
    more = {"idle_up": idle[0], "idle_down": idle[1], "terms": len(f.server.terms.text())}
    return row(WAYS[secure], seconds, **payload, line_down=down, line_up=up, **more)


def table(kept: dict[str, Any]) -> str:
    """The table, as Markdown."""
    lines = ["| one round | s, median (least to most) | payload down | payload up | on the line down | on the line up "
             "| load |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for one in kept["rows"]:
        span = f"{one['seconds']:.2f} ({one['least']:.2f} to {one['most']:.2f})"
        size = " | ".join("–" if one[name] is None else f"{one[name]:,}" for name in BYTES)
        lines.append(f"| {one['way']} | {span} | {size} | {one['load']:g} |")
    numbers = kept["kinds"]["up: the noised upload"]
    idle = "; ".join(
        f"{one['way']}: {one['idle_up']:,} bytes up and {one['idle_down']:,} down a second"
        for one in kept["rows"] if "idle_up" in one
    )  # fmt: skip
    told = [
        "Bytes are one site's in one round: down to the site, up from it. Payload is what the kit itself sends: the",
        f"model down, an upload back. Of the upload, {numbers:,} bytes are the noised numbers; the rest are facts,",
        "such as the site's size and σ.",
    ]
    if idle:
        told.append(f"The line also carries the terms, each time, and what passes while a node is idle ({idle}).")
    return "\n".join([*lines, "", *told, f"Load is a one-minute average, this work included. On {kept['machine']}."])


def in_page(text: str, kept: dict[str, Any]) -> str:
    """DEPLOYING.md with the table between its marks.

    Raises:
        ValueError: if the marks are not there.
    """
    between = r"(<!-- sites -->\n).*?(\n<!-- /sites -->)"
    text, count = re.subn(between, lambda match: f"{match[1]}{table(kept)}{match[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{count} places of {PAGE.name} are marked for the table, not one; put the marks back")
    return text


def measured() -> dict[str, Any]:
    """All ways that can be tried here."""
    task, about = load_task("digits"), made_with()
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "near").mkdir()
        rows = list(near(task, Path(scratch) / "near"))
        for secure in (False, True) if find_spec("flwr") else ():
            (home := Path(scratch) / f"flower {secure}").mkdir()
            rows.append(over_flower(task, home, secure))
    kinds = weighed(task, METHODS[METHOD], SETTINGS)
    return {"machine": f"{about['Machine']}, torch {about['torch']}, {about['Date']}", "kinds": kinds, "rows": rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.keep and not find_spec("flwr"):
        parser.error("--keep without the extra `flower` would keep half a table; install '.[flower]'")
    found = json.loads(KEPT.read_text("utf-8")) if asked.table else measured()
    if asked.keep:
        KEPT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        PAGE.write_text(in_page(PAGE.read_text("utf-8"), found), "utf-8")
    print(table(found))
