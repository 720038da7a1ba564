"""What `tests.benchmarks.gpu` measures, a row at a time, and how much of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from lalora_kit.base import threefry
from lalora_kit.base.machine import bf16_in_hardware
from lalora_kit.privacy import Streams, gaussian
from lalora_kit.privacy.mechanism import drawn_by
from tests.benchmarks.cards import finish, measured_rate, operations, warned
from tests.benchmarks.cases import METHOD, WAYS, NotHere, Row, case_for, peak
from tests.benchmarks.speed import clock, interleaved
from tests.waits import waits_of

PRECISIONS = ("bf16", "fp32")


@dataclass(frozen=True, kw_only=True)
class Form:
    """How much is measured.

    `models` maps a backbone to rank, clients and samples of a step; `together` are numbers of pico clients of `each`
    samples; `memory` is a backbone with rank, clients and samples, and `memory_in` the precisions; `noise` is clients
    and numbers. A row takes up to `pairs` pairs, no more after `seconds`, and is broken off after `most`; all rows end
    after `total` seconds.
    """

    device: str
    models: Mapping[str, tuple[int, int, int]]
    together: tuple[int, ...]
    each: int
    memory: tuple[str, int, int, int]
    memory_in: tuple[str, ...]
    noise: tuple[int, int]
    pairs: int
    seconds: float
    most: float
    total: float


CARD = Form(
    device="cuda",
    models={"swin-b": (16, 8, 128), "swin-t": (16, 8, 128), "roberta-base": (8, 8, 128), "swin-pico": (4, 8, 128)},
    together=(8, 64),
    each=16,
    memory=("swin-b", 16, 8, 128),
    memory_in=PRECISIONS,
    noise=(8, 1_160_000),
    pairs=15,
    seconds=4,
    most=45,
    total=320,
)
SMALL = Form(
    device="cpu",
    models={"swin-pico": (4, 8, 32), "roberta-pico": (4, 8, 32), "swin-t": (4, 2, 2)},
    together=(8, 64),
    each=2,
    memory=("swin-pico", 4, 8, 256),
    memory_in=("fp32",),
    noise=(8, 50_000),
    pairs=3,
    seconds=1.5,
    most=60,
    total=240,
)


def parts(form: Form) -> Iterator[tuple[Row, Callable[[], Row]]]:
    """What each row is about, and what measures it: the most telling first, for a slow card may not come to the end."""
    yield {"part": "rate"}, partial(rate, form)
    model, *sizes = form.memory
    for name, (rank, clients, samples) in form.models.items():
        place = {"model": name, "rank": rank, "clients": clients, "samples": samples, "device": form.device}
        for precision in PRECISIONS:
            for factors in METHOD:
                asked = {"part": "step", **place, "precision": precision, "trains": factors}
                yield asked, partial(step_over_peft, form, asked)
        if name != "swin-pico":  # which is below
            yield (asked := {"part": "waits", **place, "chunk": "kit"}), partial(host_waits, asked)
        if name == model:
            place |= dict(zip(("rank", "clients", "samples"), sizes, strict=True))
            for precision in form.memory_in:
                for way in WAYS:
                    asked = {"part": "memory", **place, "precision": precision, "trains": "AB", "way": way}
                    yield asked, partial(peak, asked, form.most)
    for clients in form.together:
        place = {"model": "swin-pico", "rank": 4, "clients": clients, "samples": clients * form.each}
        asked = {"part": "together", **place, "device": form.device, "precision": "fp32", "trains": "B"}
        yield asked, partial(in_turn, form, asked)
        for chunk in (None, clients * form.each // 4):
            yield (asked := {**asked, "part": "waits", "chunk": chunk}), partial(host_waits, asked)
    yield {"part": "noise", "clients": form.noise[0], "numbers": form.noise[1]}, partial(noise, form)


def rate(form: Form) -> Row:
    """The device's own rate."""
    if form.device == "cpu" and not bf16_in_hardware("cpu"):
        raise NotHere("this CPU does not multiply bf16 itself")
    found, kind = measured_rate(form.device, form.seconds)
    return {"tflops": found, "precision": kind}


def step_over_peft(form: Form, asked: Row) -> Row:
    """A private step over PEFT's on the same samples."""
    precision, factors, wait = asked["precision"], asked["trains"], finish(form.device)
    if precision == "bf16" and not bf16_in_hardware(form.device):
        raise NotHere("this device does not multiply bf16 itself")
    case = case_for(asked)
    plain, private = (case.way(way, precision, factors) for way in WAYS[:2])
    first = clock(private, wait), clock(plain, wait)
    if form.device == "cuda":  # the first call chose algorithms, and asked for memory
        private(), plain()
    pairs = interleaved(private, plain, form.pairs, form.seconds, wait)
    found: Row = {
        "ratio": statistics.median(a / b for a, b in pairs),
        "seconds": statistics.median(a for a, _ in pairs),
        "peft_seconds": statistics.median(b for _, b in pairs),
        "first_seconds": first,
        "pairs": len(pairs),
        "chunk": case.plan.max_samples,
    }
    if precision == "bf16":  # what privacy adds is no work that had to be done
        found["operations"] = min(operations(private), operations(plain))
    return found


def in_turn(form: Form, asked: Row) -> Row:
    """One client after another, over all in one pass."""
    case, wait = case_for(asked), finish(form.device)
    engine = case.engine(asked["precision"], case.plan.max_samples)
    whole = case.private(asked["trains"], engine)
    steps = [case.private(asked["trains"], engine, client) for client in range(asked["clients"])]

    def turns() -> None:
        for step in steps:
            step()

    turns(), whole()
    pairs = interleaved(turns, whole, form.pairs, form.seconds, wait)
    return {
        "ratio": statistics.median(a / b for a, b in pairs),
        "turns_seconds": statistics.median(a for a, _ in pairs),
        "seconds": statistics.median(b for _, b in pairs),
        "pairs": len(pairs),
    }


def host_waits(asked: Row) -> Row:
    """How often a step waits for the device; the first call, which sets things up, is not counted.

    Without a card the device is pretended, and what a library's own code waits for is told as well.
    """
    case, card = case_for(asked), asked["device"] == "cuda"
    chunk = case.plan.max_samples if asked["chunk"] == "kit" else asked["chunk"]
    step = case.private("B", case.engine("fp32", chunk, None if card else "meta"))
    if card:
        step()
        return {"waits": warned(step)}
    waits_of(step)
    ours, theirs = waits_of(step)
    return {"waits": sum(ours.values()) + sum(theirs.values()), "waits_in_libraries": sum(theirs.values())}


def noise(form: Form) -> Row:
    """Noise of one step for all clients, drawn where the gradients are, as `local.noised` draws it."""
    clients, numbers = form.noise
    streams, wait = Streams.from_seed(0), finish(form.device)
    words = bytearray().join(streams.key("noise", client) for client in range(clients))
    keys = torch.frombuffer(words, dtype=torch.int64).view(-1, 2).to(form.device)

    def drawn() -> None:
        if drawn_by(keys.device) == threefry.NAME:
            threefry.normals(keys, numbers, [1.0] * clients)
        else:
            torch.stack([gaussian(numbers, 1.0, streams.generator("noise", client)) for client in range(clients)])

    drawn()
    pairs = interleaved(drawn, drawn, form.pairs, form.seconds, wait)
    return {"seconds": statistics.median(value for pair in pairs for value in pair), "draws": 2 * len(pairs)}
