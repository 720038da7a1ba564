"""How long a slider's move takes to show: every slider of every panel, in JupyterLab in Chromium, quiet and busy.

    python -m tests.benchmarks.moves                          # all panels, both ways; run it on a quiet machine
    python -m tests.benchmarks.moves --lessons 02 04 --moves 2 --out build/moves
    python -m tests.benchmarks.moves --again quiet            # forget what was measured so, and measure it anew

A move is one arrow key on a slider's handle before any training; the page's own clock counts from the key to the frame
in which the live figure holds other data, or, where a move changes no data (the nearest shipped runs stay the same), to
the frame in which the panel's sentence is another one; a move that changes neither counts as lost. *Busy* means one
process a core that does nothing but count.
A lesson that is measured is kept, a line a move, and a second call goes on with the others; in the end the moves are
counted into a histogram, as JSON and as a picture.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lalora_kit.base.files import append_lines, dumps, read_lines, write_atomically
from lalora_kit.figures.pictures.frame import Picture, tag
from tests.browser.conftest import BROWSERS, NOTEBOOKS, Lab, launched, served
from tests.browser.test_in_lab import LIVE_PLOT, MINUTES, PLOT

RESULTS = Path(__file__).parent / "results" / "moves"
LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb") if "Panel" in path.read_text(encoding="utf-8"))
#: how the machine is -> milliseconds that 95 of 100 moves should stay below
AIMS = {"quiet": 200, "busy": 600}
EDGES = (0, 50, 100, 150, 200, 300, 400, 600, 1000, 2000)  # of the histogram, milliseconds; the last column is open
HANDLE = ".jp-OutputArea .noUi-handle"
REST, AFTER, NEVER = 700, 1000, 20_000  # milliseconds between moves, after a sentence, and until a move counts as lost

DATA = f"""() => JSON.stringify([({PLOT}?.data ?? []).map(t => [t.name, Array.from(t.x ?? []), Array.from(t.y ?? []),
  t.z?.length, t.text]), {PLOT}?.layout?.title?.text, {PLOT}?.layout?.shapes?.length])"""
SAID = "() => [...document.querySelectorAll('[role=status]')].at(-1)?.innerText ?? ''"
#: From the next key on, look at every frame for other data and for another sentence; `seen` has the milliseconds.
TIMER = (
    """() => {
  const data = DATA, said = SAID, before = [data(), said()];
  window.seen = {picture: null, sentence: null};
  const look = (start) => {
    const now = performance.now() - start;
    if (data() !== before[0]) { window.seen.picture = now; return; }
    if (window.seen.sentence === null && said() !== before[1]) window.seen.sentence = now;
    if (now < (window.seen.sentence === null ? NEVER : window.seen.sentence + AFTER))
      requestAnimationFrame(() => look(start));
    else window.seen.late = true;
  };
  document.addEventListener('keydown', () => look(performance.now()), {capture: true, once: true});
}""".replace("DATA", DATA)
    .replace("SAID", SAID)
    .replace("AFTER", str(AFTER))
    .replace("NEVER", str(NEVER))
)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that count, until the end."""
    counting = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for one in counting:
            one.kill()
            one.wait()


@contextmanager
def opened(lab: Lab, browser: Any, lesson: str) -> Iterator[Any]:
    """A lesson with all its cells run and its panel in view; its kernel goes at the end."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{lab.url}/lab/tree/{lesson}.ipynb?token={lab.token}&reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=3 * MINUTES)
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady", timeout=3 * MINUTES)
    # Returns when the last cell is done: those below the panel train, and are no part of a move.
    page.evaluate("async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    page.wait_for_selector("[role=status]", state="attached", timeout=9 * MINUTES)
    page.locator(LIVE_PLOT).last.scroll_into_view_if_needed(timeout=3 * MINUTES)
    page.wait_for_function(f"() => ({PLOT})?.data?.length > 0", timeout=3 * MINUTES)
    page.locator(LIVE_PLOT).last.scroll_into_view_if_needed()
    try:
        yield page
    finally:
        page.evaluate("async () => { await window.jupyterapp.serviceManager.sessions.shutdownAll() }")
        page.close()


def moved(page: Any, slider: int, key: str) -> dict[str, Any]:
    """One press of a key on a slider's handle: what changed, and after how many milliseconds."""
    page.evaluate(TIMER)
    page.locator(HANDLE).nth(slider).focus()
    page.keyboard.press(key)
    page.wait_for_function("() => window.seen.picture !== null || window.seen.late", timeout=MINUTES)
    seen = page.evaluate("() => window.seen")
    what = next((kind for kind in ("picture", "sentence") if seen[kind] is not None), "nothing")
    return {"changed": what, "milliseconds": round(seen.get(what, NEVER), 1)}


def measure(page: Any, moves: int) -> list[dict[str, Any]]:
    """Every slider of the panel, to and fro, so often; each starts away from the end that it stands at."""
    found = []
    for slider in range(page.locator(HANDLE).count()):
        handle = page.locator(HANDLE).nth(slider)
        now, most = (float(handle.get_attribute(f"aria-value{name}")) for name in ("now", "max"))
        keys = ["ArrowLeft", "ArrowRight"] if now >= most else ["ArrowRight", "ArrowLeft"]
        for count in range(moves):
            found.append(
                {"slider": slider, "load": round(os.getloadavg()[0], 2), **moved(page, slider, keys[count % 2])}
            )
            page.wait_for_timeout(REST)
    return found


def histogram(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """For each way: how many moves fell between the edges, the share within the aim, the slowest, and those lost.

    >>> lines = [{"way": "quiet", "changed": "picture", "milliseconds": time} for time in (120.0, 250.0)]
    >>> found = histogram(lines)["quiet"]
    >>> found["within"], found["counts"]
    (0.5, [0, 0, 1, 0, 1, 0, 0, 0, 0, 0])
    """
    every, told = list(lines), {}
    for way, aim in AIMS.items():
        times = sorted(line["milliseconds"] for line in every if line["way"] == way)
        if times:
            ends = [*EDGES[1:], math.inf]
            told[way] = {
                "moves": len(times), "aim": aim, "within": sum(t <= aim for t in times) / len(times),
                "median": times[len(times) // 2], "95 of 100": times[math.ceil(0.95 * len(times)) - 1],
                "slowest": times[-1], "lost": sum(line["changed"] == "nothing" for line in every if line["way"] == way),
                "counts": [sum(low <= t < end for t in times) for low, end in zip(EDGES, ends, strict=True)],
            }  # fmt: skip
    return told


def picture(told: Mapping[str, Any]) -> Picture:
    """A row of columns for each way; those within the aim are dark, so that grey print tells them apart."""
    wide, high, step, body = 720, 170, 62, []
    for row, (way, found) in enumerate(told.items()):
        base, most = (row + 1) * high - 40, max(found["counts"])
        head = f"{way}: {found['within']:.0%} of {found['moves']} moves within {found['aim']} ms"
        body.append(tag("text", head, x=60, y=base - 110, font_weight="bold"))
        for place, (edge, count) in enumerate(zip(EDGES, found["counts"], strict=True)):
            tall, x = 90 * count / most, 60 + place * step
            dark = "#333333" if edge < found["aim"] else "#bbbbbb"
            body.append(tag("rect", x=x, y=base - tall, width=step - 6, height=tall, fill=dark))
            body.append(tag("text", f"{count}", x=x + step / 2 - 3, y=base - tall - 4, text_anchor="middle"))
            body.append(tag("text", f"{edge}" + "+" * (edge == EDGES[-1]), x=x - 3, y=base + 16, text_anchor="middle"))
        body.append(tag("text", "ms", x=60 + len(EDGES) * step, y=base + 16))
    said = "; ".join(f"{way}: {found['within']:.0%} within {found['aim']} ms" for way, found in told.items())
    return Picture("From a slider's move to the picture", said, wide, high * max(1, len(told)), "".join(body))


def run(lessons: Sequence[str], ways: Sequence[str], moves: int, path: Path) -> None:
    """Measure what is missing, lesson by lesson: each is opened once, and measured quiet before it is busy."""
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        raise SystemExit("no Chromium found; install your system's chromium package")
    for lesson in lessons:
        done = {line["way"] for line in (read_lines(path) if path.exists() else []) if line["lesson"] == lesson}
        if not (left := [way for way in ways if way not in done]):
            continue
        with (
            tempfile.TemporaryDirectory() as home,
            launched(browser_path) as browser,
            served(Path(home)) as lab,
            opened(lab, browser, lesson) as page,
        ):
            for way in left:
                with busy((os.cpu_count() or 1) if way == "busy" else 0):
                    found = measure(page, moves)
                append_lines(path, [{"lesson": lesson, "way": way, **line} for line in found])
                slowest = max((line["milliseconds"] for line in found), default=math.nan)
                print(f"{lesson}, {way}: {len(found)} moves, the slowest {slowest:.0f} ms", flush=True)


def main() -> None:
    """Measure, then count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lessons", nargs="+", metavar="NN", help="By default all that have a panel.")
    parser.add_argument("--ways", nargs="+", choices=list(AIMS), default=list(AIMS))
    parser.add_argument("--moves", type=int, default=4, help="Of each slider; by default 4.")
    parser.add_argument("--again", nargs="+", choices=list(AIMS), default=[], help="Measure these ways anew.")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Without an ending: .jsonl, .json and .svg follow.")
    options = parser.parse_args()
    path = options.out.with_suffix(".jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    if options.again and path.exists():
        kept = [line for line in read_lines(path) if line["way"] not in options.again]
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept))
    asked = [lesson for lesson in LESSONS if options.lessons is None or lesson[:2] in options.lessons]
    run(asked, options.ways, options.moves, path)
    told = histogram(read_lines(path))
    machine = {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
    write_atomically(path.with_suffix(".json"), dumps({"edges": EDGES, "machine": machine, **told}) + "\n")
    write_atomically(path.with_suffix(".svg"), picture(told).svg() + "\n")
    for way, found in told.items():
        print(f"{way}: {found['within']:.1%} of {found['moves']} moves within {found['aim']} ms", flush=True)


if __name__ == "__main__":
    main()
