"""Fit: which layers the engine takes, and what it refuses by name."""

from __future__ import annotations

from torch import nn

from lalora_kit.tasks import Task
from lalora_kit.tasks.adaptable import is_plain


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
