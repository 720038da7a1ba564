"""Tiny real tasks: timm's Swin and ViT, transformers' RoBERTa, and a two-layer net small enough for hand algebra.

Random weights with entries of the size of a trained net's, so that gradients are neither tiny nor all alike.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lalora_kit.engine.adapters import Adapter
from lalora_kit.settings import Settings
from lalora_kit.tasks import Split, Task

ARCHITECTURES = ("swin", "vit", "roberta")

#: Quick, private, and the same everywhere, so that the accountant's answers are computed once and cached.
FAST = Settings(
    epsilon=3.0, delta=1e-3, rank=2, clients=4, rounds=2, local_steps=2, sample_rate=0.3,
    learning_rate=0.3, head_learning_rate=0.2, seed=0,
)  # fmt: skip


class TwoLayers(nn.Module):
    """x -> head(tanh(body(x))): all gradients fit on one line of algebra."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x)))


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter redrawn: matrices by fan-in, vectors of order one tenth (norm weights about one)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim >= 2:
                value.copy_(noise / math.sqrt(value[0].numel()))
            else:
                value.copy_(0.1 * noise + (1.0 if "norm" in name.lower() and "weight" in name else 0.0))
    return model


def digits(samples: int, classes: int) -> tuple[Tensor, Tensor]:
    """The first scans of scikit-learn's digits below `classes`, each pixel doubled to 16×16."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    labels = torch.from_numpy(scans.target).long()
    kept = (labels < classes).nonzero()[:samples, 0]
    images = torch.from_numpy(scans.images).float()[kept].div(8).sub(1).unsqueeze(1)
    return images.repeat_interleave(2, 2).repeat_interleave(2, 3), labels[kept]


def image_task(name: str, backbone: nn.Module, targets: tuple[str, ...], head: str, samples: int) -> Task:
    images, labels = digits(samples + samples // 2, classes=3)
    train, test = slice(0, samples), slice(samples, None)
    return Task(
        name=name,
        backbone=randomised(backbone),
        targets=targets,
        head=head,
        train=Split({"x": images[train]}, labels[train]),
        test=Split({"x": images[test]}, labels[test]),
        classes=("0", "1", "2"),
    )


def linear_names(model: nn.Module, ends: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name, _ in model.named_modules() if name.endswith(ends))


def swin_task(samples: int = 24) -> Task:
    """Swin-pico with two stages: four windows an image, then one; the second block of stage one shifts them."""
    from timm.models.swin_transformer import SwinTransformer

    model = SwinTransformer(
        img_size=16, patch_size=2, in_chans=1, num_classes=3, embed_dim=16, depths=(2, 2), num_heads=(2, 4),
        window_size=4, drop_path_rate=0.0,
    )  # fmt: skip
    return image_task("swin", model, linear_names(model, ("attn.qkv", "attn.proj")), "head.fc", samples)


def vit_task(samples: int = 24) -> Task:
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(img_size=16, patch_size=4, in_chans=1, num_classes=3, embed_dim=16, depth=2, num_heads=2)
    return image_task("vit", model, linear_names(model, ("attn.qkv", "attn.proj", "mlp.fc1")), "head", samples)


def roberta_task(samples: int = 24) -> Task:
    """Sentences of unequal length, padded and masked; the head is RoBERTa's own two layers."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    config = RobertaConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16, num_labels=3, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        attn_implementation="sdpa",
    )  # fmt: skip
    model = RobertaForSequenceClassification(config)
    generator = torch.Generator().manual_seed(1)
    count, longest = samples + samples // 2, 9
    lengths = torch.randint(3, longest + 1, (count,), generator=generator)
    mask = (torch.arange(longest) < lengths[:, None]).long()
    words = torch.randint(3, 40, (count, longest), generator=generator)
    words = torch.where(mask.bool(), words, 1)
    labels = torch.randint(0, 3, (count,), generator=generator)
    whole = Split({"input_ids": words, "attention_mask": mask}, labels)
    index = torch.arange(count)
    ends = ("self.query", "self.value", "attention.output.dense")
    return Task(
        name="roberta",
        backbone=randomised(model),
        targets=tuple(n for n in linear_names(model, ends) if n.startswith("roberta.encoder")),
        head="classifier",
        train=whole.select(index[:samples]),
        test=whole.select(index[samples:]),
        classes=("a", "b", "c"),
    )


def linear_task(samples: int = 40, inputs: int = 6, width: int = 5, classes: int = 3, seed: int = 0) -> Task:
    """Gaussian points labelled by a random linear rule."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(samples + 20, inputs, generator=generator)
    labels = (points @ torch.randn(inputs, classes, generator=generator)).argmax(1)
    whole = Split({"x": points}, labels)
    index = torch.arange(len(labels))
    return Task(
        name="linear",
        backbone=randomised(TwoLayers(inputs, width, classes), seed),
        targets=("body",),
        head="head",
        train=whole.select(index[:samples]),
        test=whole.select(index[samples:]),
        classes=tuple(map(str, range(classes))),
    )


def task_of(architecture: str, samples: int = 24) -> Task:
    return {"swin": swin_task, "vit": vit_task, "roberta": roberta_task, "linear": linear_task}[architecture](samples)


def random_adapter(task: Task, rank: int, scale: float, seed: int) -> Adapter:
    """All tensors random, B and the head too: a gradient with respect to A is zero while B is."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name in task.targets:
        m, n = task.backbone.get_submodule(name).weight.shape
        tensors["A", name] = torch.randn(rank, n, generator=generator) / math.sqrt(n)
        tensors["B", name] = torch.randn(m, rank, generator=generator) / math.sqrt(rank)
    for name, value in task.backbone.get_submodule(task.head).named_parameters():
        tensors["head", name] = value + 0.3 * torch.randn(value.shape, generator=generator) / math.sqrt(value.shape[-1])
    return Adapter(tensors, scale)


def stacked(adapters: list[Adapter]) -> Adapter:
    """Different adapters as one stack of clients."""
    keys = adapters[0].tensors
    return Adapter({key: torch.stack([a.tensors[key] for a in adapters]) for key in keys}, adapters[0].scale)


def distance(left: Adapter, right: Adapter) -> float:
    """Largest ‖left − right‖ / ‖right‖ over the tensors (absolute where right is zero)."""
    worst = 0.0
    for key, value in right.tensors.items():
        size = float(value.double().norm())
        worst = max(worst, float((left.tensors[key].double() - value.double()).norm()) / (size or 1.0))
    return worst


def identical(left: Adapter, right: Adapter) -> bool:
    """Bit for bit."""
    return left.tensors.keys() == right.tensors.keys() and all(
        torch.equal(left.tensors[key], value) for key, value in right.tensors.items()
    )
