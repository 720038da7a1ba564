"""A model on two made-up samples: one beside the other and alone, and what the difference says.

The first sample, a short text where there are lengths, must get the same scores and the same gradients both ways, and
every tensor that trains must get a gradient.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from lalora_kit.base.machine import available_memory
from lalora_kit.engine.adapters import Adapter, Key
from lalora_kit.engine.onepass import Pass, Way, exact_engine, near, part_of, passed, random_adapter, same, same_scores
from lalora_kit.engine.persample import Engine
from lalora_kit.tasks import Inputs
from lalora_kit.tasks.madeup import pair
from lalora_kit.tasks.padding import MASK
from lalora_kit.tasks.unsound import REMEDY, Broken, Unsound, computing

SEED = 20260219
DRAWS = 3  # of samples, before a gradient of zero is taken for none: a ReLU may be closed for some
#: ‖Δ‖ / ‖value‖ that rounding explains. In float64 some models still compute a part in float32.
EXACT, DOUBT, SINGLE, SCORES = 1e-7, 1e-4, 1e-3, 1e-2
LARGE = 5_000_000  # parameters from which on float64 takes its time
HALF = 0.5  # of the longest text, in the comparison: as good, and half the work
BYTES = 24  # a parameter, while it is copied and widened to float64


def try_out(way: Way) -> None:
    """Let a task pass, or raise `Unsound`.

    Compared in float64 where memory allows and the model can. Large models that take no texts are compared in float32
    first, and in float64 only where that leaves a doubt.
    """
    size = sum(value.numel() for value in way.task.backbone.parameters())
    last = (torch.float64, EXACT) if not 0 <= available_memory() < BYTES * size else (torch.float32, SINGLE)
    quick = size > LARGE and MASK not in way.task.train.inputs
    try:
        seen = compared(way, *((torch.float32, DOUBT) if quick else last))
    except Unsound as error:
        if not quick and not isinstance(error, Broken):
            raise
        seen = compared(way, *(last if quick else (torch.float32, SINGLE)))
    evaluated(way, *seen)


def compared(way: Way, dtype: torch.dtype, tolerance: float) -> tuple[Inputs, Adapter, Tensor]:
    """Both samples beside each other and alone, the first one's gradients too.

    Gives the second sample, the adapter that it met, and its scores.
    """
    generator = torch.Generator().manual_seed(SEED)
    zero: set[Key] | None = None
    with computing():
        engine = exact_engine(way, dtype)
        for _ in range(DRAWS):
            samples = pair(way.task, generator, HALF)
            adapters = [random_adapter(way, dtype, generator) for _ in range(2)]
            stacked = {key: torch.stack([one.tensors[key] for one in adapters]) for key in adapters[0].tensors}
            together = passed(way, engine, stacked, engine.batch(samples, torch.arange(2)))
            check_reached(way, together)
            for row, agree in enumerate((same, same_scores)):
                one = partial(passed, way, engine, adapters[row].tensors, shared=True, backward=not row)
                alone = one(engine.batch(samples, torch.tensor([row])))
                if not agree(part_of(together, row), alone, tolerance):
                    raise Unsound(reason(one, engine, samples, row, together, alone, tolerance))
            still = {key for key, value in together.gradients.items() if value is not None and not value.any()}
            zero = still if zero is None else zero & still
            if not zero:
                return {name: value[1:] for name, value in samples.items()}, adapters[1], together.scores[1:]
    raise Unsound(f"{named(way, min(zero or ()))} gets a gradient of zero, whatever the sample is; {REMEDY}")


def evaluated(way: Way, samples: Inputs, adapter: Adapter, scores: Tensor) -> None:
    """The second sample as the run evaluates it: on its device, in its precision, without gradients."""
    with computing():
        engine = Engine(way.task, 1.0, device=way.device, precision=way.precision)
        adapter = adapter.map(Tensor.float)
        found = engine.predict(adapter, samples)
        if MASK in samples:  # and a text of full length, for what has no place for it
            whole = pair(way.task, torch.Generator().manual_seed(SEED))
            engine.predict(adapter, {name: value[1:] for name, value in whole.items()})
    finite = bool(torch.isfinite(found).all())  # float32 may overflow where float64 does not
    if finite and way.precision == "fp32" and not near(found.double(), scores.double().cpu(), SCORES):
        raise Unsound(
            "it gives a sample other scores when it is evaluated than when it trains; a fast path that does without "
            "gradients may read a layer's weight and pass its LoRA by; switch that path off"
        )


def check_reached(way: Way, found: Pass) -> None:
    """Refuse tensors that train and have no part in the scores."""
    called = {name for name, _ in found.inputs}
    for key, value in found.gradients.items():
        if value is None:
            layer = layer_of(way, key)
            why = (
                "gets no gradient: it lies behind detach, no_grad or gradient checkpointing, or nothing is made of it"
                if layer in called
                else "is never called, so that nothing would train there"
            )
            raise Unsound(f"{named(way, key)} {why}; {REMEDY}")


def layer_of(way: Way, key: Key) -> str:
    """The full name of a tensor's layer."""
    return key[1] if key[0] != "head" else ".".join(filter(None, (way.task.head, key[1].rpartition(".")[0])))


def named(way: Way, key: Key) -> str:
    """A tensor by the layer that it belongs to."""
    return f"its layer {layer_of(way, key)!r}" + (" of the head" if key[0] == "head" else f" (factor {key[0]})")


def reason(
    one: partial[Pass], engine: Engine, samples: Inputs, row: int, together: Pass, alone: Pass, tolerance: float
) -> str:
    """Why a sample is another one beside its neighbour than `alone`; looked for only where it is."""
    place = torch.tensor([row])
    whole = {name: value[place].to(engine.device) for name, value in samples.items()}
    if not torch.isfinite(alone.scores).all():
        return "its scores of made-up samples are not finite; mend the model, or inputs that are out of all proportion"
    if not same_scores(one(engine.batch(samples, place)), alone, tolerance):
        return "it gives the same sample other scores each time, so no release could be repeated; make it deterministic"
    if MASK in samples and engine.prepare is not None and not same_scores(one(engine.prepare(whole)), alone, tolerance):
        return (
            "a text's scores depend on how far it is padded, so that its gradient would depend on the longest text "
            "beside it and ε would not hold; choose a backbone that gives padding no attention"
        )
    for (layer, pair_), (_, single) in zip(together.inputs, alone.inputs, strict=False):
        half = pair_.chunk(2)[row]
        if half.shape == single.shape and not near(half, single, tolerance):
            return (
                f"the input of its layer {layer!r} is not laid out sample by sample, or mixes samples, so that a "
                "sample's gradient would depend on the others and ε would not hold; lay it out with the sample first"
            )
    return (
        "its scores of one sample depend on the samples beside it, so that ε would not hold; use a model that takes "
        "each sample by itself"
    )
