"""Backbones by name: any classifier of timm (images) or of transformers (text) whose adapted layers are linear.

`build` says where LoRA goes, which module is the head, and how stored samples become inputs; it refuses, with the
reason, what the engine could not give per-sample gradients for. Where the paper's targets exist they are taken:
`attn.qkv` and `attn.proj` in images, query, key, value and the dense layers of the encoder in text.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lalora_kit.base.checks import counting
from lalora_kit.base.steps import step
from lalora_kit.tasks import Inputs
from lalora_kit.tasks.adaptable import SEED, Refusal, fresh_head, places
from lalora_kit.tasks.online import Unread, first_line, from_directory, from_hub, quiet_transformers
from lalora_kit.tasks.padding import MASK, positions_of
from lalora_kit.tasks.pictures import Pictures

#: Fit ones to name in a refusal; all are on the hub.
FIT = {
    "image": "swin_tiny_patch4_window7_224, swin_base_patch4_window7_224 or vit_base_patch16_224",
    "text": "FacebookAI/roberta-base, FacebookAI/roberta-large or FacebookAI/xlm-roberta-base",
}
LOCAL = "local-dir:"
TIMM_PREFIXES = ("hf-hub:", "hf_hub:", LOCAL, "timm/")

LONGEST = 128  # tokens


@dataclass(frozen=True, eq=False)
class Backbone:
    """A classifier, and all that a task must know of it.

    Attributes:
        name: as given to `build`.
        kind: "image" or "text".
        module: in eval mode, on the CPU, float32; its head's last layer is zero.
        targets: full names of the `nn.Linear` modules that carry LoRA.
        head: full name of the module that is trained in full.
        description: what was adapted, in words.
        prepare: for images, `Task.prepare`: stored bytes to inputs. None for text.
        tokenizer: for text. None for images.
    """

    name: str
    kind: str
    module: nn.Module
    targets: tuple[str, ...]
    head: str
    description: str
    prepare: Pictures | None = None
    tokenizer: Any = None

    def encode(
        self, first: Sequence[str], second: Sequence[str] | None = None, *, length: int = LONGEST, padding: Any = True
    ) -> Inputs:
        """Sentences, or pairs of them, as inputs: see `encode`."""
        return encode(self.tokenizer, first, second, length=length, padding=padding)

    def decode(self, inputs: Inputs) -> list[str]:
        """Token numbers back to texts, special tokens left out."""
        return list(self.tokenizer.batch_decode(inputs["input_ids"], skip_special_tokens=True))


@step("cutting texts into tokens")
def encode(
    tokenizer: Any,
    first: Sequence[str],
    second: Sequence[str] | None = None,
    *,
    length: int = LONGEST,
    padding: Any = True,
) -> Inputs:
    """Sentences, or pairs of them, as int64 inputs `(samples, tokens)`, padded alike to a multiple of 8 if that fits.

    At most `length` tokens a sample, the pair together; what is beyond is cut off. `padding` is transformers' own:
    True pads to the longest, "max_length" to `length`.
    """
    pairs = (list(first),) if second is None else (list(first), list(second))
    length = min(length, tokenizer.model_max_length)
    tokens = tokenizer(
        *pairs, truncation=True, max_length=length, padding=padding, return_tensors="pt",
        pad_to_multiple_of=None if length % 8 else 8,
    )  # fmt: skip
    return {name: tokens[name] for name in tokenizer.model_input_names if name in tokens}


@step("loading the backbone")
def build(name: str, classes: int, *, pretrained: bool = True, kind: str | None = None) -> Backbone:
    """A backbone with a fresh head for `classes` classes.

    Args:
        name: a model of timm ("swin_tiny_patch4_window7_224", with a tag of its weights if need be), or a classifier
            of transformers, with its owner ("FacebookAI/roberta-base") or as a directory.
        classes: at least 2.
        pretrained: False draws random weights, the same each time; a transformers name needs its configuration and
            tokenizer all the same.
        kind: "image" or "text" where the data are of that kind: another backbone is refused before it is fetched.

    Raises:
        ValueError: for an unknown name, a backbone for other data, one that cannot be fetched, and one whose
            per-sample gradients would be wrong or impossible: BatchNorm, a head that is not linear, no linear targets.
    """
    counting("classes", classes, 2)
    found = check_kind(name, kind)
    make = image_backbone if found == "image" else text_backbone
    try:
        with unseen_randomness():
            return make(name, classes, pretrained)
    except Refusal as error:
        raise ValueError(f"backbone={name!r} is refused: {error}; choose {FIT[found]}") from error


def check_kind(name: str, kind: str | None) -> str:
    """`kind_of`, or `ValueError` if the data are of another kind."""
    found = kind_of(name)
    if kind not in (None, found):
        raise ValueError(f"backbone={name!r} takes {found}s, but these data are {kind}s; choose {FIT[str(kind)]}")
    return found


def kind_of(name: str) -> str:
    """ "image" for a name of timm, "text" for one of transformers; `ValueError` with the nearest names otherwise."""
    import timm

    if name.startswith(TIMM_PREFIXES) or timm.is_model(name):
        return "image"
    if "/" in name or os.path.isdir(name):
        return "text"
    near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.3)
    hint = f"the nearest of timm's are {', '.join(near)}" if near else "timm knows nothing like it"
    raise ValueError(
        f"backbone={name!r} is unknown; {hint}; a model of transformers is named with its owner, as in "
        "FacebookAI/roberta-base"
    )


def placed(name: str) -> str:
    """`name`, with an absolute path where it is a folder, so that it is found again from another one."""
    import timm

    if name.startswith(LOCAL):
        return f"{LOCAL}{os.path.realpath(name.removeprefix(LOCAL))}"
    folder = os.path.isdir(name) and not name.startswith(TIMM_PREFIXES) and not timm.is_model(name)
    return os.path.realpath(name) if folder else name


@contextlib.contextmanager
def unseen_randomness() -> Iterator[None]:
    """Both libraries draw fresh layers from torch's global stream: seeded here, and given back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        yield


def image_backbone(name: str, classes: int, pretrained: bool) -> Backbone:
    """A model of timm; refused, if it is, before its weights are fetched."""
    from timm.data import resolve_data_config

    model = timm_model(name, classes, pretrained=False)
    data = resolve_data_config({}, model=model)
    channels, *size = data["input_size"]
    if channels != 3:
        raise Refusal(f"it takes images of {channels} channels, not 3")
    prepare = Pictures((size[0], size[1]), tuple(data["mean"]), tuple(data["std"]), data["interpolation"])
    head: Any = model.pretrained_cfg["classifier"]  # type: ignore[index, operator]
    example = prepare({"x": torch.randint(256, (2, 3, *size), dtype=torch.uint8)})
    targets, about = places(model, head, classes, example)
    if pretrained:
        model = timm_model(name, classes, pretrained=True)
        fresh_head(model.get_submodule(head))
    return Backbone(name, "image", model.eval().requires_grad_(False), targets, head, about, prepare)


def timm_model(name: str, classes: int, pretrained: bool) -> nn.Module:
    """timm's own model; weights, and the configuration of a name that is a place, are read where they lie."""
    import timm

    reading = from_directory if name.startswith(LOCAL) else from_hub
    remote = pretrained or name.startswith(TIMM_PREFIXES)
    try:
        with reading(f"backbone {name!r}") if remote else contextlib.nullcontext():
            return timm.create_model(name, pretrained=pretrained, num_classes=classes)
    except RuntimeError as error:  # a tag that timm does not know, or weights that there are not
        raise Refusal(first_line(error)) from error


def text_backbone(name: str, classes: int, pretrained: bool) -> Backbone:
    """A classifier of transformers with fused attention where it has one, and its tokenizer."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    reading = from_directory if os.path.isdir(name) else from_hub
    missing: list[str] = []
    try:
        with quiet_transformers(), reading(f"backbone {name!r}"):
            config = AutoConfig.from_pretrained(name, num_labels=classes)
            tokenizer = AutoTokenizer.from_pretrained(name)
            check_tokenizer(tokenizer, config)
            family = AutoModelForSequenceClassification
            if pretrained:  # whatever its stored precision and its former head's size
                model, about = family.from_pretrained(
                    name, config=config, dtype=torch.float32, ignore_mismatched_sizes=True, output_loading_info=True
                )
                missing = sorted({*about["missing_keys"], *(key for key, *_ in about["mismatched_keys"])})
            else:
                model = family.from_config(config)
    except Unread:
        raise
    except (ValueError, KeyError) as error:  # no classifier of sentences, or none that this version knows
        raise Refusal(first_line(error)) from error
    limits = (tokenizer.model_max_length, positions_of(model), getattr(config, "max_position_embeddings", None))
    tokenizer.model_max_length = min(limit for limit in limits if isinstance(limit, int | float) and limit > 0)
    head = next((head for head in ("classifier", "score") if hasattr(model, head)), None)
    if head is None:
        raise Refusal("its head is called neither classifier nor score")
    untrained = [key for key in missing if not key.startswith(f"{head}.")]
    if untrained:
        raise Refusal(
            f"there are no pretrained weights for {untrained[0]!r} outside its head {head!r}: it would stay random"
        )
    example = {"input_ids": torch.randint(config.vocab_size, (2, 8)), "attention_mask": torch.ones(2, 8).long()}
    targets, about = places(model, head, classes, example)
    return Backbone(name, "text", model, targets, head, about, tokenizer=tokenizer)


def check_tokenizer(tokenizer: Any, config: Any) -> None:
    """Refuse a tokenizer without padding or its mask; a configuration that leaves the padding token out gets it."""
    if tokenizer.pad_token_id is None:
        raise Refusal("its tokenizer has no padding token, so sentences of unequal length make no batch")
    if MASK not in tokenizer.model_input_names:
        raise Refusal("its tokenizer gives no attention mask, so that padding would be read as text")
    rows = getattr(config, "vocab_size", None)
    if isinstance(rows, int) and tokenizer.pad_token_id >= rows:
        raise Refusal(
            f"its tokenizer's padding token is number {tokenizer.pad_token_id}, and it has embeddings for {rows} "
            "tokens, from 0 on; give the tokenizer a padding token that it knows, or resize its embeddings and save it"
        )
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = tokenizer.pad_token_id
