"""A model on two made-up samples: one beside the other and alone, and what the difference says.

The first sample, a short text where there are lengths, must get the same scores and the same gradients both ways, and
every tensor that trains must get a gradient.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from lalora_kit.adapters import Adapter, Key
from lalora_kit.madeup import pair
from lalora_kit.memory import available_memory
from lalora_kit.persample import Engine
from lalora_kit.tasks import Inputs, Task
from lalora_kit.tasks.padding import MASK
from lalora_kit.unsound import REMEDY, Broken, Unsound, computing

SEED = 20260219
DRAWS = 3  # of samples, before a gradient of zero is taken for none: a ReLU may be closed for some
#: ‖Δ‖ / ‖value‖ that rounding explains. In float64 some models still compute a part in float32.
EXACT, SINGLE, SCORES = 1e-7, 1e-3, 1e-2
BYTES = 24  # a parameter, while it is copied and widened to float64


@dataclass(frozen=True, eq=False)
class Way:
    """How a task is to be computed, and which factors train beside the head."""

    task: Task
    factors: frozenset[str]
    device: torch.device
    precision: str


@dataclass(frozen=True, eq=False)
class Pass:
    """Scores `(samples, classes)`, gradients by key, and what went into each layer that trains, call by call."""

    scores: Tensor
    gradients: Mapping[Key, Tensor | None]
    inputs: Sequence[tuple[str, Tensor]]


def try_out(way: Way) -> None:
    """Let a task pass, or raise `Unsound`; compared in float64 where memory allows and the model can."""
    size = sum(value.numel() for value in way.task.backbone.parameters())
    exact = not 0 <= available_memory() < BYTES * size
    try:
        seen = compared(way, *((torch.float64, EXACT) if exact else (torch.float32, SINGLE)))
    except Broken:
        seen = compared(way, torch.float32, SINGLE)
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
            samples = pair(way.task, generator)
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
        found = engine.predict(adapter.map(Tensor.float), samples)
    finite = bool(torch.isfinite(found).all())  # float32 may overflow where float64 does not
    if finite and way.precision == "fp32" and not near(found.double(), scores.double().cpu(), SCORES):
        raise Unsound(
            "it gives a sample other scores when it is evaluated than when it trains; a fast path that does without "
            "gradients may read a layer's weight and pass its LoRA by; switch that path off"
        )


def exact_engine(way: Way, dtype: torch.dtype) -> Engine:
    """An engine that computes in `dtype`, whatever the inputs are kept in."""
    engine = Engine(way.task, 1.0, device=way.device, dtype=dtype)

    def widened(batch: Inputs) -> Inputs:
        batch = batch if way.task.prepare is None else way.task.prepare(batch)
        return {name: value.to(dtype) if value.is_floating_point() else value for name, value in batch.items()}

    engine.prepare = widened
    return engine


def random_adapter(way: Way, dtype: torch.dtype, generator: torch.Generator) -> Adapter:
    """Random factors of rank 1, B's too, for while B is zero A's gradient is; and the head, moved a little."""
    tensors: dict[Key, Tensor] = {}

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype) / math.sqrt(shape[-1])

    for name in way.task.targets:
        m, n = way.task.backbone.get_submodule(name).weight.shape  # type: ignore[union-attr, misc]
        tensors["A", name], tensors["B", name] = noise(1, n), noise(1, m).mT  # type: ignore[arg-type]
    for name, value in way.task.backbone.get_submodule(way.task.head).named_parameters():
        tensors["head", name] = value.detach().cpu().to(dtype) + 0.3 * noise(*value.shape)
    return Adapter({key: value.to(way.device) for key, value in tensors.items()}, 1.0)


def passed(
    way: Way,
    engine: Engine,
    tensors: Mapping[Key, Tensor],
    batch: Inputs,
    *,
    shared: bool = False,
    backward: bool = True,
) -> Pass:
    """One forward and backward pass of a fixed combination of the scores, which no saturated softmax can hide.

    `tensors` are one copy a sample, or, of a sample alone, `shared`: the plain path of W0·x + s·B·A·x.
    """
    leaves = {key: value.clone() for key, value in tensors.items()}
    active = [key for key in sorted(leaves) if key[0] in {*way.factors, "head"}]
    samples = len(next(iter(batch.values())))
    with watched(engine, samples) as inputs, torch.enable_grad():
        for key in active:
            leaves[key].requires_grad_()
        scores = engine.scores(leaves, batch)
        if scores.ndim != 2 or len(scores) != samples or scores.shape[1] < len(way.task.classes):
            raise Unsound(
                f"it gives scores of shape {tuple(scores.shape)} for {samples} samples and {len(way.task.classes)} "
                "classes; they must be (samples, classes)"
            )
        weights = torch.arange(scores.numel(), device=scores.device, dtype=scores.dtype).cos().view_as(scores)
        found: Sequence[Tensor | None] = [None] * len(active)
        if backward and scores.requires_grad:
            found = torch.autograd.grad((weights * scores).sum(), [leaves[key] for key in active], allow_unused=True)
    if shared:
        found = [None if value is None else value[None] for value in found]
    return Pass(scores.detach(), dict(zip(active, found, strict=True)), inputs)


@contextlib.contextmanager
def watched(engine: Engine, samples: int) -> Iterator[list[tuple[str, Tensor]]]:
    """Keeps what goes into each layer that trains; refuses what cannot be laid out sample by sample."""
    seen: list[tuple[str, Tensor]] = []

    def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        [x] = given
        if len(x) % samples:
            raise Unsound(
                f"the input of its layer {layer.place!r} is not laid out sample by sample: it is {tuple(x.shape)} for "
                f"{samples} samples; lay it out with the sample first, or leave that layer out of targets"
            )
        seen.append((str(layer.place), x.detach()))

    hooks = [layer.register_forward_pre_hook(look) for layer in (*engine.lora.values(), *engine.head.values())]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


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


def near(left: Tensor, right: Tensor, tolerance: float) -> bool:
    """Whether ‖left − right‖ is at most `tolerance` times ‖right‖; never where a value is not finite."""
    return left.shape == right.shape and bool((left - right).norm() <= tolerance * right.norm())


def part_of(found: Pass, row: int) -> Pass:
    """What a pass says of one of its samples."""
    gradients = {key: None if value is None else value[row : row + 1] for key, value in found.gradients.items()}
    return Pass(found.scores[row : row + 1], gradients, found.inputs)


def same_scores(left: Pass, right: Pass, tolerance: float) -> bool:
    """Whether a sample got the same scores in both passes."""
    return near(left.scores, right.scores, tolerance)


def same(left: Pass, right: Pass, tolerance: float) -> bool:
    """Whether a sample got the same scores and, as a whole, the same gradient in both passes."""
    ours, theirs = (
        torch.cat([value.flatten() for value in found.gradients.values() if value is not None])
        for found in (left, right)
    )
    return same_scores(left, right, tolerance) and near(ours, theirs, tolerance)


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
