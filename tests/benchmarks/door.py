"""The README's moving picture: what can be read off an upload, and what is learnt, at four ε, round by round.

    python -m tests.benchmarks.door      # writes notebooks/images/upload.svg and upload_still.svg; some seconds

Top: one digit a round, the gradient of a LoRA factor that a client would upload for it, clipped and noised as in
training, and the picture that its rows have in common (lesson 00 explains the reading). σ is that of the kept runs.
Bottom: the mean accuracy of the kept runs (`trial.grid`). It plays a few times and then stands; a reader who asked for
less motion, paper, and a viewer that plays nothing show the last round. Greys alone carry the meaning.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from lalora_kit import privacy
from lalora_kit.base.files import read_lines
from lalora_kit.lessons.lesson import odds
from lalora_kit.trial import grid
from lalora_kit.trial.designs import DIGITS

IMAGES = Path(__file__).resolve().parents[2] / "notebooks" / "images"
MOVING, STILL = IMAGES / "upload.svg", IMAGES / "upload_still.svg"
METHOD, EPSILONS, SEED, RANK, C = "la-lora", (math.inf, 8.0, 3.0, 1.0), 0, 4, 1.0
ROUNDS, HOLD, TIMES = 10, 4, 3  # seconds: one a round, then a rest; so often it plays
LEVELS = 8  # shades of grey in a reading
WIDE, HIGH, STEP, SIDE = 640, 468, 126, 92  # pixels: the picture, a column, a digit
FIRST, TOP, PLOT, DEEP, APART = 72, 88, 322, 80, 10  # a column's middle; where digits and plots begin; a plot's height

STYLE = """
text { font-family: Arial, Helvetica, sans-serif; font-size: 14px; fill: #222 }
.head { font-size: 18px; font-weight: bold } .big { font-size: 17px; font-weight: bold } .small { font-size: 13px }
.end { text-anchor: middle }
.only { opacity: 0 } .last { opacity: 1 }
"""
TITLE = "What the server can read off an upload, and what the shared model learns, at four levels of noise"
TOLD = (
    "Ten rounds. Without noise the digit that a client holds can be read off its upload. At ε = 8, 3 and 1 only noise "
    "is seen. The accuracy of the shared model after ten rounds falls: {ends}."
)


def kept() -> dict[float, tuple[list[float], float]]:
    """By ε: the mean accuracy after each round over the kept seeds, and σ of those runs.

    Raises:
        ValueError: if a run of the shipped grid is missing.
    """
    lines, found = [line for line in read_lines(grid.file_of(DIGITS.task)) if line.get("method") == METHOD], {}
    for epsilon in EPSILONS:
        wanted = [vars(grid.cell(METHOD, "epsilon", epsilon, seed, DIGITS)) for seed in DIGITS.drawn]
        runs = [line for line in lines if any(agrees(line, cell) for cell in wanted)]
        if len(runs) != len(wanted):
            raise ValueError(f"ε={epsilon:g}: {len(runs)} kept runs of {METHOD}; run `{grid.COMMAND}` first")
        curve = [statistics.fmean(values) for values in zip(*(run["curve"] for run in runs), strict=True)]
        found[epsilon] = curve, runs[0]["noise_multiplier"]
    return found


def agrees(line: Mapping[str, Any], cell: Mapping[str, Any]) -> bool:
    """Whether a kept line is the run of a cell; an infinite ε is kept as null, what is not kept is at its default."""
    told = {name: value for name, value in line.items() if name in cell}
    return all(cell[name] == (math.inf if value is None else value) for name, value in told.items())


def readings(sigma: float) -> list[Tensor]:
    """What is read off the upload about each of the first ten digits, `(8, 8)` each, ink positive."""
    scans, labels = (torch.from_numpy(values) for values in load_digits(return_X_y=True))
    streams = privacy.Streams.from_seed(SEED)
    W, A, B = (
        torch.from_numpy(streams.generator(name).normal(size=size)).float() * scale
        for name, size, scale in (("W", (10, 64), 0.125), ("A", (RANK, 64), 0.125), ("B", (10, RANK), 0.5))
    )
    found = []
    for digit in range(ROUNDS):
        factor = A.clone().requires_grad_()
        out = (W + B @ factor) @ (scans[digit].float() / 16)
        torch.nn.functional.cross_entropy(out, labels[digit].long()).backward()
        assert factor.grad is not None
        clipped, _ = privacy.clipped_sum([factor.grad[None]], torch.zeros(1, dtype=torch.long), clients=1, clip_norm=C)
        noise = privacy.gaussian(clipped.shape[1], sigma * C, streams.generator(f"door {sigma}", digit))
        row = torch.linalg.svd((clipped[0] + noise).view(RANK, 64))[2][0].float()
        found.append((row * row.sum().sign()).view(8, 8))
    return found


def shades(picture: Tensor, middle: float) -> str:
    """A picture as squares, one path a shade of grey: its least value white, its largest black."""
    low, high = float(picture.min()), float(picture.max())
    levels = ((picture - low) / (high - low) * (LEVELS - 1)).round().int()
    paths = []
    for level in range(1, LEVELS):
        squares = "".join(f"M{c} {r}h1v1h-1z" for r, c in (levels == level).nonzero().tolist())
        grey = f"{round(255 * (1 - level / (LEVELS - 1))):02x}"
        paths.append(f'<path fill="#{grey * 3}" d="{squares}"/>' if squares else "")
    where = f"translate({middle - SIDE / 2:g} {TOP}) scale({SIDE / 8:g})"
    return f'<g transform="{where}" shape-rendering="crispEdges">{"".join(paths)}</g>'


def frame(middle: float) -> str:
    """The rim of a digit."""
    return f'<rect x="{middle - SIDE / 2:g}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#888"/>'


def text(x: float, y: float, said: str, kind: str = "") -> str:
    """A line of text; `kind` is its class."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{said}</text>'


def lines(y: float, *said: str) -> str:
    """Several lines of text at the left."""
    return "".join(text(12, y + 18 * at, line) for at, line in enumerate(said))


def only(at: int, inside: str) -> str:
    """What is seen in round `at` alone, counted from 0; what is of the last stays where nothing plays."""
    return f'<g class="only o{at}{" last" if at == ROUNDS - 1 else ""}">{inside}</g>'


def column(at: int, epsilon: float, curve: Sequence[float], sigma: float, most: float) -> str:
    """One ε: what is read, the belief that it allows, and the accuracy as it grows; `most` is at a plot's upper end."""
    middle = FIRST + STEP * (at + 1)
    name, said = ("no noise", "ε = ∞") if math.isinf(epsilon) else (f"ε = {epsilon:g}", f"noise σ = {sigma:.2g}")
    belief = 100 * (1.0 if math.isinf(epsilon) else odds(epsilon))
    parts = [text(middle, 58, name, "big end"), text(middle, 77, said, "end"), frame(middle)]
    parts += [only(r, shades(picture, middle)) for r, picture in enumerate(readings(sigma))]
    parts.append(text(middle, 252, f"{belief:.{4 if belief > 99 else 2}g} %", "big end"))
    left, low = middle - APART * (ROUNDS - 1) / 2, PLOT + DEEP
    spots = [(left + APART * r, PLOT + DEEP * (1 - value / most)) for r, value in enumerate(curve)]
    parts.append(f'<path d="M{left - 8:g} {PLOT}V{low}H{left + APART * ROUNDS:g}" fill="none" stroke="#888"/>')
    for r, (spot, value) in enumerate(zip(spots, curve, strict=True)):
        drawn = f'<circle cx="{spot[0]:g}" cy="{spot[1]:.1f}" r="3.5"/>'
        if r:
            before = spots[r - 1]
            drawn += f'<path d="M{before[0]:g} {before[1]:.1f}L{spot[0]:g} {spot[1]:.1f}"/>'
        parts.append(f'<g class="s{r}" fill="#222" stroke="#222" stroke-width="2">{drawn}</g>')
        parts.append(only(r, text(middle, PLOT - 8, f"{100 * value:.0f} %", "big end")))
    return "".join(parts)


def motion() -> str:
    """Keyframes: element `o` is seen in its round alone, `s` from its round on; the last round rests."""
    whole, made = ROUNDS + HOLD, []
    for r in range(ROUNDS):
        last = r == ROUNDS - 1
        on = f"0%{{opacity:0}}{100 * r / whole:.2f}%{{opacity:1}}" if r else "0%{opacity:1}"
        off = "100%{opacity:1}" if last else f"{100 * (r + 1) / whole:.2f}%,100%{{opacity:0}}"
        made += [f"@keyframes o{r}{{{on}{off}}}", f"@keyframes s{r}{{{on}100%{{opacity:1}}}}"]
    rules = [f".{k}{r}{{animation:{k}{r} {whole}s step-end {TIMES}}}" for k in "os" for r in range(ROUNDS)]
    return f"{''.join(made)}@media screen and (prefers-reduced-motion:no-preference){{{''.join(rules)}}}"


def picture(moves: bool) -> str:
    """The whole picture as SVG; one that does not move shows the last round."""
    runs, scans = kept(), torch.from_numpy(load_digits().images[:ROUNDS])
    most = math.ceil(10 * max(max(curve) for curve, _ in runs.values())) / 10
    usual = grid.cell(METHOD, "rank", RANK, 0, DIGITS)
    ends = ", ".join(f"{100 * c[-1]:.0f} % at ε = {'∞' if math.isinf(e) else f'{e:g}'}" for e, (c, _) in runs.items())
    parts: Iterable[str] = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" role="img" aria-labelledby="t d">',
        f'<title id="t">{TITLE}</title><desc id="d">{TOLD.format(ends=ends)}</desc>',
        f'<style>{STYLE}{motion() if moves else ""}</style><rect width="{WIDE}" height="{HIGH}" fill="#fff"/>',
        text(12, 26, "The digits stay with the clients. What do their uploads give away?", "head"),
        text(FIRST, 58, "a client's digit", "big end"), frame(FIRST),
        *(only(r, text(FIRST, 77, f"round {r + 1} of {ROUNDS}", "end") + shades(scan, FIRST))
          for r, scan in enumerate(scans)),
        text(FIRST, 200, "stays at home", "end"), text(FIRST + 2.5 * STEP, 200, "what its upload shows", "end"),
        lines(234, "A suspicion of 50 %", "that it was used", "grows to at most"),
        lines(330, "The shared model", "reads new digits", "rightly:"),
        *(column(at, epsilon, *run, most) for at, (epsilon, run) in enumerate(runs.items())),
        text(12, 432, f"Above: one digit in one step; {RANK} × 64 numbers of a LoRA factor, clipped to length 1.",
             "small"),
        text(12, 450, f"Below: {METHOD} on {DIGITS.task}, {usual.clients} clients, rank {usual.rank}, mean of "
             f"{len(DIGITS.drawn)} seeds, known: reproducible, not private.", "small"),
        "</svg>\n",
    ]  # fmt: skip
    return "\n".join(parts)


def main() -> None:
    """Write both pictures."""
    for place, moves in ((MOVING, True), (STILL, False)):
        place.write_text(picture(moves), encoding="utf-8")
        print(f"{place}: {place.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
