"""Whether a classifier can be adapted privately, and where: the rules for targets and head, tried on two samples.

The engine needs linear layers that are called as layers, inputs whose first axis is samples (or samples times
windows, the sample slowest), and samples that do not touch each other. Each is looked at here, not assumed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lalora_kit.tasks import Inputs, Task, logits
from lalora_kit.tasks.online import first_line

#: Where LoRA goes: the first rule that layers outside the head fit, and what it is called. The paper's come first.
RULES = (
    (re.compile(r"(^|\.)attn\.(qkv|proj)$"), "attn.qkv and attn.proj"),
    (
        re.compile(
            r"\.(attention\.self\.(query|key|value)|attention\.output\.dense|intermediate\.dense|output\.dense)$"
        ),
        "query, key, value and dense of the encoder",
    ),
    (re.compile(r"att(n|ention)"), "all linear layers of attention"),
    (re.compile(r""), "all linear layers outside the head, for none belongs to an attention"),
)
SEED = 20260219  # of layers that no pretraining has set: facts of a backbone, not of a run


class Refusal(Exception):
    """Why a backbone cannot be adapted here, naming its module."""


def places(model: nn.Module, head: Any, classes: int, example: Inputs) -> tuple[tuple[str, ...], str]:
    """The targets, and what they are in words; the head is drawn fresh on the way, and the model put in eval mode.

    Args:
        model: gives class scores.
        head: what its library calls the module that makes them.
        classes: how many scores there must be.
        example: two samples, as the model takes them.

    Raises:
        Refusal: naming the module that rules the backbone out.
    """
    model.eval().requires_grad_(False)
    for place, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise Refusal(
                f"its module {place!r} is a {type(module).__name__}, which mixes the samples of a batch, so that a "
                "sample's gradient would depend on the others and ε would not hold"
            )
    linear = {place: module for place, module in model.named_modules() if isinstance(module, nn.Linear)}
    inside = head_layers(model, head, classes, linear)
    outside = [place for place in linear if place not in inside]
    candidates = (([place for place in outside if pattern.search(place)], rule) for pattern, rule in RULES)
    adapted, rule = next((pair for pair in candidates if pair[0]), ([], ""))
    own = next((place for place in (*adapted, *inside) if not is_plain(linear[place])), None)
    if own is not None:
        raise Refusal(
            f"its layer {own!r} is a {type(linear[own]).__name__}, a linear layer with a forward of its own, to which "
            "LoRA's W0·x + s·B·A·x would be another model's"
        )
    try:
        seen = layers_called(model, [*adapted, *inside], example)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise Refusal(f"trying it failed ({type(error).__name__}: {first_line(error)})") from error
    targets = tuple(place for place in adapted if place in seen)
    if not targets:
        raise Refusal(f"no linear layer outside its head {head!r} could carry LoRA: {why_none(model, adapted)}")
    mixed = next((place for place, apart in seen.items() if not apart), None)
    if mixed is not None:
        raise Refusal(f"the input of its layer {mixed!r} is not laid out sample by sample, or mixes samples")
    left = len(adapted) - len(targets)
    unused = f" ({left} more are there, but not called as layers)" if left else ""
    return targets, f"LoRA on {rule}: {len(targets)} layers{unused}; head {head}"


def is_plain(module: nn.Module) -> bool:
    """Whether a module computes W·x + b as `nn.Linear` does; a forward of its own would be lost or bypassed."""
    own = "forward" in vars(module) or type(module).forward is not nn.Linear.forward
    return isinstance(module, nn.Linear) and not own


def why_none(model: nn.Module, adapted: Sequence[str]) -> str:
    """What there is in place of linear layers that are called as layers."""
    if adapted:
        return f"{adapted[0]!r} is one, but its weight is used without calling it"
    convolutions = [
        f"{place!r} is a {type(module).__name__}"
        for place, module in model.named_modules()
        if isinstance(module, nn.modules.conv._ConvNd)
    ]
    return f"there is none ({convolutions[0]}, and so on)" if convolutions else "there is none"


def head_layers(model: nn.Module, head: Any, classes: int, linear: dict[str, nn.Linear]) -> list[str]:
    """Full names of the head's linear layers, freshly drawn; `Refusal` if it is made of anything else."""
    if not isinstance(head, str):
        raise Refusal(f"its head is {head!r}, and one module must be it")
    module = model.get_submodule(head)
    inside = [place for place in linear if f"{place}.".startswith(f"{head}.")]
    covered = {f"{place}.{leaf}" for place in inside for leaf in ("weight", "bias")}
    other = [leaf for leaf, _ in module.named_parameters(prefix=head) if leaf not in covered]
    if other or not inside or linear[inside[-1]].out_features != classes:
        raise Refusal(
            f"its head {head!r} is a {type(module).__name__}, not made of linear layers that end in the class scores"
        )
    fresh_head(module)
    return inside


def fresh_head(head: nn.Module) -> None:
    """The linear layers of a head drawn anew with standard deviation 0.02, but the last one and all biases zero.

    Scores start at zero, as in the embedded tasks, and nothing depends on how a library draws its heads.
    """
    generator = torch.Generator().manual_seed(SEED)
    layers = [module for module in head.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            if layer.bias is not None:
                layer.bias.zero_()
            if layer is layers[-1]:
                layer.weight.zero_()
            else:
                layer.weight.normal_(std=0.02, generator=generator)


@torch.no_grad()
def layers_called(model: nn.Module, places: Sequence[str], example: Inputs) -> dict[str, bool]:
    """Which layers a forward pass calls, and whether each one's input is laid out with the sample slowest.

    `example` holds two samples. The second one alone must give each layer what the second half of the pair gives it.
    """
    inputs: dict[str, list[Tensor]] = {place: [] for place in places}
    hooks = [
        model.get_submodule(place).register_forward_hook(lambda _, x, __, to=inputs[place]: to.append(x[0]))
        for place in places
    ]
    try:
        logits(model, example)
        pair = {place: list(values) for place, values in inputs.items()}
        for values in inputs.values():
            values.clear()
        logits(model, {name: value[1:] for name, value in example.items()})
    finally:
        for hook in hooks:
            hook.remove()
    return {place: all(map(same_sample, pair[place], inputs[place])) for place in places if pair[place]}


def same_sample(pair: Tensor, alone: Tensor) -> bool:
    """Whether the second half of `pair` `(2·k, ..., n)` is `alone` `(k, ..., n)`, up to rounding."""
    half = pair[len(alone) :]
    return half.shape == alone.shape and bool((half - alone).norm() <= 1e-3 * alone.norm())


def linear_names(head: nn.Module) -> list[str]:
    """Names of the head's linear layers ("" if it is one); refuses any other parameter, which nobody would clip.

    Each is replaced by a plain one of the engine's, so what does more than W·x + b is refused too.
    """
    names = [name for name, module in head.named_modules() if isinstance(module, nn.Linear)]
    for name in names:
        module = head.get_submodule(name)
        if not is_plain(module) or module._forward_hooks or module._forward_pre_hooks:
            what = "a forward of its own" if not is_plain(module) else "hooks"
            raise ValueError(
                f"the head's layer {name!r} is a {type(module).__name__} with {what}, and would be replaced by a plain "
                "linear layer: another model would be trained; use nn.Linear in the head"
            )
    covered = {".".join(filter(None, (name, leaf))) for name in names for leaf in ("weight", "bias")}
    for name, _ in head.named_parameters():
        if name not in covered:
            raise ValueError(
                f"the head's parameter {name!r} belongs to no linear layer, so the engine has no per-sample rule "
                "for it; an unclipped parameter would leak; use a head of linear layers"
            )
    return names


def check_backbone(task: Task) -> None:
    """Refuse targets that are not linear layers, and layers that mix samples."""
    modules = dict(task.backbone.named_modules())
    linears = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    inside = tuple(name for name in task.targets if (name + ".").startswith(task.head + "."))
    wrong = [name for name in task.targets if name not in linears] or list(inside)
    if wrong or task.head not in modules:
        missing = f"target module {wrong[0]!r}" if wrong else f"head {task.head!r}"
        raise ValueError(
            f"{missing} matches no linear layer outside the head of {task.name}'s backbone; LoRA adapts linear layers; "
            f"choose from {', '.join(linears[:12])}{', ...' if len(linears) > 12 else ''}"
        )
    own = next((name for name in task.targets if not is_plain(modules[name])), None)
    if own is not None:
        raise ValueError(
            f"target module {own!r} is a {type(modules[own]).__name__}, a linear layer with a forward of its own, to "
            "which W0·x + s·B·A·x would be another model's; leave it out of targets, or use nn.Linear"
        )
    for name, module in modules.items():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"module {name!r} is a {type(module).__name__}, which mixes the samples of a batch; a sample's "
                "gradient would depend on the others and ε would not hold; use a backbone with LayerNorm or GroupNorm"
            )
