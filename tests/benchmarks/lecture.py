"""The ninety minutes of `notebooks/INSTRUCTORS.md` in JupyterLab in Chromium, in real time: where does a class wait?

    python -m tests.benchmarks.lecture                  # ninety minutes; results/lecture.jsonl and build/screenshots
    python -m tests.benchmarks.lecture --pace 20        # the same in less time: reading and talking 20 times as fast

A lesson is opened at its minute, and all its cells are started, as INSTRUCTORS advises. The learner then goes from cell
to cell through the sections of the plan: reads at `WORDS` words a minute, looks at what a cell shows, answers each
question, moves each slider of the panel, and trains where there is a button. Where something is not there yet, the
learner waits, and that halt is written down with its seconds. At the end everybody's 00 is pooled: the learner's own
file, and one of a neighbour with another seed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lalora_kit.base.files import write_atomically
from tests.browser.conftest import BROWSERS, Lab, launched, served
from tests.browser.test_in_lab import MINUTES, SHOTS

RESULTS = Path(__file__).parent / "results" / "lecture.jsonl"
#: minute it begins at, lesson, the first heading that is no longer part of the ninety minutes
PLAN = (
    (5, "00_start_here", "## Exercise"),
    (25, "02_noise_amplification", "## 4"),
    (45, "04_la_lora", "## 4"),
    (65, "05_is_it_private", "## 4"),
)
POOLED, END = 85, 90
WORDS, LOOK, THINK, SLIDE = (
    180,
    30,
    25,
    12,
)  # words a minute; seconds at a picture, at a question, after a slider's move
HALT = 2.0  # seconds from which on a wait is one that a class would notice
NEIGHBOUR = 1  # seed

CELLS = "window.jupyterapp.shell.currentWidget.content"
BUSY = "(i) => CELLS.widgets[i].inputArea?.promptNode?.textContent.includes('*') ?? false".replace("CELLS", CELLS)
WHAT = """(i) => {
  const cell = CELLS.widgets[i], node = cell.node;
  return {
    kind: cell.model.type,
    source: cell.model.sharedModel.getSource(),
    folded: cell.model.getMetadata('jupyter')?.source_hidden ?? false,
    asks: !!node.querySelector('.jp-OutputArea .widget-toggle-buttons'),
    answers: node.textContent.includes('It came out'),
    panel: !!node.querySelector('[role=status]'),
    pictures: node.querySelectorAll('.jp-OutputArea svg.main-svg, .jp-OutputArea figure, .jp-OutputArea table').length,
  };
}""".replace("CELLS", CELLS)


@dataclass
class Class:
    """A room in front of one page: the clock, what was waited for, and how fast it reads."""

    page: Any
    pace: float
    began: float = field(default_factory=time.monotonic)
    lesson: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)

    def minute(self) -> float:
        """Minutes of the lecture, as the plan counts them."""
        return (time.monotonic() - self.began) * self.pace / 60

    def rest(self, seconds: float) -> None:
        """Reading, looking, talking: what takes a class time and the machine none."""
        self.page.wait_for_timeout(1000 * seconds / self.pace)

    def note(self, what: str, seconds: float = 0.0, **more: Any) -> None:
        """An event with the minute at which it ended; a wait from `HALT` on is a halt."""
        event = {
            "minute": round(self.minute(), 1), "lesson": self.lesson, "what": what, "seconds": round(seconds, 1),
            "halt": seconds >= HALT, "load": round(os.getloadavg()[0], 1), **more,
        }  # fmt: skip
        self.events.append(event)
        print(json.dumps(event), flush=True)

    def waits(self, what: str, script: str, argument: Any = None, minutes: float = 9) -> None:
        """Wait for a condition of the page, and note for how long."""
        start = time.monotonic()
        self.page.wait_for_function(script, arg=argument, timeout=minutes * MINUTES, polling=50)
        self.note(what, time.monotonic() - start)

    def shoot(self, name: str) -> None:
        """A picture of what the room sees."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"lecture-{self.lesson[:2]}-{name}.png")


def opened(room: Class, lab: Lab, lesson: str) -> None:
    """A lesson on the screen with all its cells started; they go on while the room reads."""
    room.lesson, page = lesson, room.page
    start = time.monotonic()
    page.goto(f"{lab.url}/lab/tree/{lesson}.ipynb?token={lab.token}&reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=3 * MINUTES)
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady", timeout=3 * MINUTES)
    page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    room.note("opened, with a kernel", time.monotonic() - start)
    room.rest(2)
    room.shoot("0-opened")


def read(room: Class, until: str) -> None:
    """From the first cell to the section that is no longer part of it."""
    page = room.page
    for place in range(page.evaluate(f"() => {CELLS}.widgets.length")):
        page.evaluate(f"async (i) => {{ await {CELLS}.scrollToItem(i, 'start') }}", place)
        cell = page.evaluate(WHAT, place)
        if cell["kind"] == "markdown":
            if cell["source"].startswith(until):
                return
            room.rest(60 * len(cell["source"].split()) / WORDS)
            continue
        room.waits(f"cell {place}", f"(i) => !({BUSY})(i)", place)
        page.wait_for_timeout(1000)  # a widget is drawn after its cell is done
        cell = page.evaluate(WHAT, place)
        if cell["panel"]:
            try_out(room, place)
        elif cell["asks"]:
            answer(room, place)
        elif not cell["folded"]:
            room.rest(2 * len(cell["source"].splitlines()))
        if cell["pictures"] or cell["answers"]:
            room.rest(LOOK)
            room.shoot(f"cell-{place:02}")


def node(room: Class, place: int) -> Any:
    """The cell at a place, as playwright takes hold of it."""
    return room.page.evaluate_handle(f"(i) => {CELLS}.widgets[i].node", place).as_element()


def answer(room: Class, place: int) -> None:
    """Think, choose the first option, and see that it is taken."""
    room.rest(THINK)
    node(room, place).query_selector(".widget-toggle-button").click()
    room.waits(
        f"question in cell {place} answered",
        f"(i) => !!{CELLS}.widgets[i].node.querySelector('.widget-toggle-button.mod-active')", place,
    )  # fmt: skip


def try_out(room: Class, place: int) -> None:
    """Each slider one key to the right; then train, where there is a button for it, until the panel rests."""
    page, cell = room.page, node(room, place)
    cell.scroll_into_view_if_needed()
    said = f"(i) => {CELLS}.widgets[i].node.innerText"
    for number, handle in enumerate(cell.query_selector_all(".noUi-handle")):
        before = page.evaluate(said, place)
        at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
        handle.focus()
        page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
        room.waits(
            f"slider {number} moved", f"([i, before]) => ({said})(i) !== before", [place, before], minutes=1
        )  # fmt: skip
        room.rest(SLIDE)
    run = next((b for b in cell.query_selector_all("button.jupyter-button") if b.inner_text().strip() == "Run"), None)
    if run is not None and run.is_enabled():
        run.click()
        done = f"(i) => {CELLS}.widgets[i].node.querySelector('[role=status]').innerText.includes('Done')"
        start = time.monotonic()
        page.wait_for_function(done, arg=place, timeout=9 * MINUTES, polling=100)
        room.note("a run in the panel, watched", time.monotonic() - start, watched=True)
    room.rest(LOOK)
    room.shoot("panel")


def pooled(room: Class, home: Path, neighbour: Path) -> None:
    """Hand in 00 as it stands on the screen, and put everybody's seed in one plot."""
    handed = home / "handed-in"
    handed.mkdir()
    shutil.copy(home / "notebooks" / "00_start_here.ipynb", handed / "mine.ipynb")
    shutil.copy(neighbour, handed / "neighbour.ipynb")
    start = time.monotonic()
    command = [sys.executable, "-m", "lalora_kit", "pool", str(handed), "--figure", "accuracy", "--out", "pool.html"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    room.note("pooled: " + (done.stdout + done.stderr).strip()[-300:], time.monotonic() - start, failed=done.returncode)
    room.page.goto((home / "pool.html").as_uri())
    room.lesson = "pool"
    room.rest(5)
    room.shoot("plot")


def walk(pace: float) -> list[dict[str, Any]]:
    """The whole lecture; its events."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit("no Chromium found; install your system's chromium package")
    with tempfile.TemporaryDirectory() as folder, launched(found) as browser, served(Path(folder)) as lab:
        home, neighbour = Path(folder), Path(folder) / "neighbour.ipynb"
        made = [sys.executable, "-m", "papermill", "notebooks/00_start_here.ipynb", neighbour, "--no-progress-bar"]
        made += ["--cwd", "notebooks", "-p", "seed", NEIGHBOUR]
        subprocess.run(list(map(str, made)), cwd=home, check=True, capture_output=True)
        room = Class(browser.new_page(viewport={"width": 1280, "height": 900}), pace)
        for minute, lesson, until in PLAN:
            room.rest(60 * max(0.0, minute - room.minute()))
            opened(room, lab, lesson)
            read(room, until)
            room.note("read to the end of its sections", late=round(room.minute() - minute - 20, 1))
            room.page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save') }")
            room.page.evaluate("async () => { await window.jupyterapp.serviceManager.sessions.shutdownAll() }")
        room.rest(60 * max(0.0, POOLED - room.minute()))
        pooled(room, home, neighbour)
        room.rest(60 * max(0.0, END - room.minute()))
        room.note("the end")
        return room.events


def main() -> None:
    """Walk, keep the events, and say where the room waited."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pace", type=float, default=1.0, help="So many times as fast as a class reads.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    events = walk(options.pace)
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "pace": options.pace}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, "".join(json.dumps(line) + "\n" for line in ({"machine": machine}, *events)))
    halts = [event for event in events if event["halt"]]
    print(f"{len(halts)} halts, {sum(event['seconds'] for event in halts):.0f} s in all")


if __name__ == "__main__":
    main()
