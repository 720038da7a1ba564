"""Readers: the backbone for somebody's own data, and how it takes a picture or a sentence.

Any fit model of timm or transformers by name (`lalora_kit.tasks.backbones`), and the two that ship with the kit, which
need no network: small, and trained on little, so they show how a run goes rather than how good one can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from lalora_kit.base.checks import counting
from lalora_kit.tasks import Inputs

#: What is taken where no backbone is named: the paper's own small ones.
USUAL = {"image": "swin_tiny_patch4_window7_224", "text": "FacebookAI/roberta-base"}
MOST_CLASSES = 10**6
SHIPPED = {"image": "swin-pico", "text": "roberta-pico"}


@dataclass(frozen=True, eq=False)
class Reader:
    """A backbone with a fresh head, where LoRA goes, and how samples become its inputs.

    `prepare`, `size` `(height, width)` and `grey` speak of pictures, stored as bytes; `encode` of texts, at most
    `longest` tokens each, `decode` back to texts.
    """

    module: nn.Module
    targets: tuple[str, ...]
    head: str
    description: str
    prepare: Callable[[Inputs], Inputs] | None = None
    size: tuple[int, int] = (0, 0)
    grey: bool = False
    encode: Callable[[Sequence[str]], Inputs] = lambda texts: {}
    longest: int = 0
    decode: Callable[[Inputs], list[str]] | None = None


def reader(name: str | None, kind: str, classes: int, *, pretrained: bool = True) -> Reader:
    """The backbone `name`, or the usual one, for "image" or "text"; `pretrained` as for `backbones.build`.

    Raises:
        ValueError: if it is unknown, takes other data, cannot be fetched, or cannot carry LoRA privately.
    """
    if name in SHIPPED.values():
        if name != SHIPPED[kind]:
            raise ValueError(f"backbone={name!r} does not take {kind}s; give --backbone {SHIPPED[kind]}")
        return swin_pico(classes) if kind == "image" else roberta_pico(classes)
    from lalora_kit.tasks.backbones import LONGEST, build

    try:
        found = build(name or USUAL[kind], classes, pretrained=pretrained, kind=kind)
    except ValueError as error:
        raise ValueError(f"{error}; --backbone {SHIPPED[kind]} ships with the kit") from error
    about = f"{found.name}, {found.description}"
    if found.prepare is not None:
        return Reader(found.module, found.targets, found.head, about, found.prepare, found.prepare.size)
    longest = min(LONGEST, found.tokenizer.model_max_length)
    return Reader(
        found.module, found.targets, found.head, about, encode=found.encode, longest=longest, decode=found.decode
    )


def without_weights(name: str, classes: int) -> Reader:
    """The backbone `name` without its weights, of images or of text: what it trains can be counted, nothing learnt."""
    from lalora_kit.tasks.backbones import kind_of

    counting("classes", classes, 2, MOST_CLASSES)
    shipped = {backbone: kind for kind, backbone in SHIPPED.items()}
    return reader(name, shipped.get(name) or kind_of(name), classes, pretrained=False)


def bytes_to_grey(inputs: Inputs) -> Inputs:
    """`{"x": uint8 (samples, 1, 16, 16)}` as Swin-pico was pretrained on it."""
    from lalora_kit.tasks.embedded.digits import normalise

    return {"x": normalise(inputs["x"].float() / 255)}


def swin_pico(classes: int) -> Reader:
    """The embedded vision backbone: grey, 16×16, pretrained on printed letters."""
    from lalora_kit.tasks.embedded.digits import SIDE, backbone, targets_of

    module, about = backbone(classes), "swin-pico, grey 16×16, which has only seen print"
    return Reader(module, targets_of(module), "head.fc", about, bytes_to_grey, (SIDE, SIDE), True)


def roberta_pico(classes: int) -> Reader:
    """The embedded language backbone: sentences, pretrained on Python's documentation."""
    from lalora_kit.tasks.embedded.stdlib_docs import LONGEST, build, decode, encode, targets_of

    module, about = build(classes), "roberta-pico, which has only read Python's documentation"
    return Reader(module, targets_of(module), "classifier", about, encode=encode, longest=LONGEST, decode=decode)
