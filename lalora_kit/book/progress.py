"""Progress: which notebook runs, for how long, and how long the rest may take by earlier runs of the same place.

On a terminal a bar; elsewhere, as in the log of a CI job, a plain line when a notebook starts and one when it ends.
Durations come from earlier runs alone, in a small file beside the outputs; without it, or where it is damaged, there
is no estimate.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from lalora_kit.base.files import dumps, read_object, write_atomically

FILE = ".seconds.json"
TICK = 1.0  # seconds between two looks of the bar
FORMAT = "{desc} |{bar}| {n_fmt}/{total_fmt} cells{postfix}"


@dataclass(frozen=True)
class Part:
    """One notebook to come: what it is called, how many code cells it has, and what it is given besides."""

    name: str
    cells: int
    given: Mapping[str, object]

    @property
    def key(self) -> str:
        """Under which its seconds are kept: at other parameters it takes another time."""
        return f"{self.name} {json.dumps(dict(self.given), sort_keys=True, default=str)}"


class Progress:
    """The state of one call: a bar or lines, and what earlier calls took.

    Args:
        parts: the notebooks, in the order that they run in.
        echo: where plain lines go.
        kept: the file of durations; None keeps none and gives no estimate.
        terminal: whether to draw a bar on standard error; by default where that is a terminal.
        clock: seconds.
    """

    def __init__(
        self, parts: Sequence[Part], echo: Callable[[str], object], kept: Path | None = None,
        *, terminal: bool | None = None, clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self.parts, self.echo, self.kept, self.clock = list(parts), echo, kept, clock
        self.earlier = {} if kept is None else read_seconds(kept)
        self.now: dict[str, float] = {}
        self.place, self.started = 0, clock()
        self.terminal = sys.stderr.isatty() if terminal is None else terminal
        self.bar = tqdm(
            desc=self.numbered(), total=sum(part.cells for part in parts), disable=not self.terminal, leave=False,
            file=sys.stderr, bar_format=FORMAT, mininterval=0,
        )  # fmt: skip

    @contextlib.contextmanager
    def running(self, place: int) -> Iterator[Callable[[], object]]:
        """While notebook number `place` (from 0) runs; gives what is to be called as each of its cells starts."""
        self.place, self.started = place, self.clock()
        if not self.terminal:
            self.echo(f"{self.numbered()} ...{self.told_left()}")
            yield lambda: None
            return
        self.look()
        over = threading.Event()
        ticker = threading.Thread(target=self._tick, args=[over], daemon=True)
        ticker.start()
        try:
            yield self.bar.update
        finally:
            over.set()
            ticker.join()

    def ended(self, seconds: float, ok: bool, said: str, *, always: bool = True) -> None:
        """Tell how the notebook ended, on a terminal too if `always`; what passed is an estimate for the next time."""
        if ok:
            self.now[self.parts[self.place].key] = seconds
            if self.kept is not None:
                write_seconds(self.kept, {**self.earlier, **self.now})
        self.bar.n = sum(part.cells for part in self.parts[: self.place + 1])  # one that failed left some out
        if always or not self.terminal:
            with tqdm.external_write_mode(file=sys.stderr):
                self.echo(f"{self.numbered()}: {said}")

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()

    def left(self) -> float:
        """Seconds until all is done, by earlier runs at the pace of this one; NaN where one of them is not known.

        The pace is what this call's notebooks took to what they took before: a machine may be busier than it was.
        """
        rest = [self.earlier.get(part.key, math.nan) for part in self.parts[self.place :]]
        if any(map(math.isnan, rest)):
            return math.nan  # never max(0, nan), which is 0
        both = [(self.now[key], self.earlier[key]) for key in self.now if self.earlier.get(key)]
        pace = sum(new for new, _ in both) / sum(old for _, old in both) if both else 1.0
        return max(0.0, pace * rest[0] - (self.clock() - self.started)) + pace * sum(rest[1:])

    def told_left(self) -> str:
        """The estimate in words, nothing where there is none."""
        left = self.left()
        if math.isnan(left):
            return ""
        return f", about {left / 60:.0f} min left" if left >= 120 else f", about {left:.0f} s left"

    def numbered(self) -> str:
        """`[2/9] 01_gradient_coupling`."""
        return f"[{self.place + 1}/{len(self.parts)}] {self.parts[self.place].name}"

    def look(self) -> None:
        """Draw the bar as things stand."""
        self.bar.set_description_str(f"{self.numbered()} {self.clock() - self.started:.0f} s", refresh=False)
        self.bar.set_postfix_str(self.told_left().removeprefix(", "))

    def _tick(self, over: threading.Event) -> None:
        while not over.wait(TICK):
            self.look()


def read_seconds(path: Path) -> dict[str, float]:
    """What notebooks took, by their keys; nothing where the file is missing or is not what it should be."""
    try:
        found = read_object(path, "")
    except (OSError, ValueError):
        return {}
    good = {key: value for key, value in found.items() if isinstance(value, int | float) and 0 < value < math.inf}
    return {key: float(value) for key, value in good.items()}


def write_seconds(path: Path, seconds: Mapping[str, float]) -> None:
    """Keep what notebooks took; where that cannot be written, the next call has no estimate."""
    with contextlib.suppress(OSError):
        write_atomically(path, dumps({key: round(value, 1) for key, value in seconds.items()}))
