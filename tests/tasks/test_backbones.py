"""Backbones by name: the paper's own at their real size with random weights, and what is refused, with its reason."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from lalora_kit.engine.adapters import Adapter
from lalora_kit.engine.persample import Engine
from lalora_kit.tasks import Split, Task
from lalora_kit.tasks.adaptable import Refusal, layers_called, places
from lalora_kit.tasks.backbones import build, kind_of
from lalora_kit.tasks.pictures import Pictures
from tests.hubs import roberta_directory
from tests.tiny import random_adapter, stacked

CLASSES = ("a", "b", "c")


def task_with(backbone, inputs, labels) -> Task:
    split = Split(inputs, labels)
    return Task(
        name="test", backbone=backbone.module, targets=backbone.targets, head=backbone.head, train=split, test=split,
        classes=CLASSES, prepare=backbone.prepare,
    )  # fmt: skip


def engine_and_alone(task: Task, adapter: Adapter, dtype: torch.dtype) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Gradients by the engine, `(samples, ...)` each, and those of each sample from a forward and backward of it alone.

    Both by key. Alone, a text is not padded, and there is one copy of the factors.
    """
    engine, adapter = Engine(task, 1.0, dtype=dtype), adapter.map(lambda value: value.to(dtype))
    if prepare := task.prepare:
        engine.prepare = lambda batch: {name: value.to(dtype) for name, value in prepare(batch).items()}
    keys, data = adapter.keys({"A", "B"}), task.train
    [(_, together)] = engine.gradients(
        stacked([adapter]), keys, data.inputs, data.labels, torch.zeros(len(data), dtype=torch.long)
    )
    rows = []
    for i in range(len(data)):
        tensors = {key: value.clone().requires_grad_(key in keys) for key, value in adapter.tensors.items()}
        scores = engine.scores(tensors, engine.batch(data.inputs, torch.tensor([i])))
        loss = nn.functional.cross_entropy(scores, data.labels[i : i + 1])
        rows.append(list(torch.autograd.grad(loss, [tensors[key] for key in keys])))
    return together, rows


def check_gradients(task: Task, rank: int) -> None:
    """In float64 key by key; in float32 as a part of the sample's whole gradient, which is what a clip sees.

    Key by key float32 has no bound to hold: where attention is all but even, a query's gradient is a difference that
    cancels to a hundred-thousandth of the whole, and its rounding is another one on every processor.
    """
    adapter = random_adapter(task, rank, scale=1.0, seed=0)
    together, alone = engine_and_alone(task, adapter, torch.float64)
    for key, ours, *theirs in zip(adapter.keys({"A", "B"}), together, *alone, strict=True):
        for got, wanted in zip(ours, theirs, strict=True):
            assert wanted.norm() > 0 and (got - wanted).norm() <= 1e-8 * wanted.norm(), key
    single, _ = engine_and_alone(task, adapter, torch.float32)
    for i, wanted in enumerate(alone):
        off = sum((got[i] - exact).square().sum() for got, exact in zip(single, wanted, strict=True))
        assert off.sqrt() <= 1e-4 * sum(exact.square().sum() for exact in wanted).sqrt()


def test_swin_tiny_at_its_real_size_gives_each_sample_its_own_gradient():
    before = torch.get_rng_state()
    backbone = build("swin_tiny_patch4_window7_224", 3, pretrained=False)
    assert torch.equal(before, torch.get_rng_state()), "the caller's randomness is untouched"
    assert (backbone.kind, backbone.head, len(backbone.targets)) == ("image", "head.fc", 24)
    assert all(name.endswith(("attn.qkv", "attn.proj")) for name in backbone.targets)
    assert sum(p.numel() for p in backbone.module.parameters()) == 27_521_661  # 28.3 million with ImageNet's head
    assert backbone.prepare == Pictures((224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8, generator=generator)
    check_gradients(task_with(backbone, {"x": images}, torch.tensor([0, 2])), rank=16)


def test_swin_base_has_the_papers_targets():
    backbone = build("swin_base_patch4_window7_224", 3, pretrained=False)
    assert len(backbone.targets) == 48 and "attn.qkv and attn.proj" in backbone.description
    assert min(min(backbone.module.get_submodule(name).weight.shape) for name in backbone.targets) == 128


def test_roberta_base_at_its_real_size_gives_each_sample_its_own_gradient(tmp_path):
    backbone = build(str(roberta_directory(tmp_path, real=True)), 3, pretrained=False)
    ends = {name.split("layer.0.")[-1] for name in backbone.targets if "layer.0." in name}
    assert ends == {
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "intermediate.dense", "output.dense",
    }  # fmt: skip
    assert (len(backbone.targets), backbone.head) == (72, "classifier")
    assert sum(p.numel() for p in backbone.module.parameters()) == 124_647_939
    assert backbone.module.config._attn_implementation == "sdpa"
    inputs = backbone.encode(["the film is good", "no"], ["it was a long day", "yes"])
    assert inputs["input_ids"].shape == (2, 16) and not inputs["attention_mask"].all()
    check_gradients(task_with(backbone, inputs, torch.tensor([0, 2])), rank=8)


def test_the_head_starts_at_zero_and_the_same_each_time(tmp_path):
    directory = str(roberta_directory(tmp_path))
    first, torch_state = build(directory, 3), torch.get_rng_state()
    torch.rand(7)
    second = build(directory, 3)
    for (name, left), (_, right) in zip(
        first.module.state_dict().items(), second.module.state_dict().items(), strict=True
    ):
        assert torch.equal(left, right), name
    head = first.module.classifier
    assert not head.out_proj.weight.any() and not head.out_proj.bias.any() and head.dense.weight.any()
    assert not torch.equal(torch_state, torch.get_rng_state())


def test_weights_are_those_of_the_directory_in_float32(tmp_path):
    directory = roberta_directory(tmp_path)
    from transformers import RobertaForSequenceClassification

    stored = RobertaForSequenceClassification.from_pretrained(directory, dtype=torch.float32)
    name = "roberta.encoder.layer.0.attention.self.query.weight"
    stored.bfloat16().save_pretrained(directory)
    module = build(str(directory), 5).module
    assert module.get_parameter(name).dtype == torch.float32
    assert torch.equal(module.get_parameter(name), stored.get_parameter(name).float())


REFUSED = {
    "resnet18": "'bn1' is a BatchNorm2d",
    "nf_resnet50": "'stem.conv' is a ScaledStdConv2d",
    "resnetv2_50x1_bit": "'head.fc' is a Conv2d",
    "deit_tiny_distilled_patch16_224": "('head', 'head_dist')",
    "vit_tiny_patch16": "the nearest of timm's are vit_tiny_patch16_",
    "roberta-base": "named with its owner",
    "swin_tiny_patch4_window7_224.nonsense": "Invalid pretrained tag (nonsense)",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(name):
    with pytest.raises(ValueError, match=r"choose swin_tiny|as in FacebookAI/roberta-base") as refused:
        build(name, 3)
    assert REFUSED[name] in str(refused.value)


def test_what_transformers_does_not_know_as_a_classifier_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Unrecognized model"):
        build(str(tmp_path), 3)
    directory = roberta_directory(tmp_path)
    (directory / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match="is refused: Unrecognized configuration class"):
        build(str(directory), 3)


def test_a_layer_without_weights_outside_the_head_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    directory = roberta_directory(tmp_path)
    weights = load_file(directory / "model.safetensors")
    del weights["roberta.encoder.layer.1.output.dense.weight"]
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"no pretrained weights for 'roberta.encoder.layer.1.output.dense.weight'"):
        build(str(directory), 3)


def test_weights_that_cannot_be_fetched_are_one_sentence(monkeypatch, tmp_path):
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    for name in ("swin_tiny_patch4_window7_224.ms_in1k", "nobody/knows-this"):
        with pytest.raises(ValueError, match=r"HF_HUB_OFFLINE is set, .* use an embedded task: mnist") as refused:
            build(name, 3)
        assert name in str(refused.value) and "\n" not in str(refused.value)
    assert hub.HF_HUB_OFFLINE is True


def test_a_backbone_of_the_other_kind_is_refused_before_it_is_fetched():
    with pytest.raises(ValueError, match="takes texts, but these data are images; choose swin_tiny"):
        build("FacebookAI/roberta-base", 3, kind="image")
    assert kind_of("swin_tiny_patch4_window7_224.ms_in1k") == "image"


class SecondAxis(nn.Module):
    """Samples along the second axis inside, as some libraries have them."""

    def __init__(self) -> None:
        super().__init__()
        self.attn, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attn(x.transpose(0, 1)).transpose(0, 1).mean(1))


class Mixing(SecondAxis):
    """Centres each batch, without any BatchNorm to tell."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attn(x - x.mean(0)).mean(1))


class Uncalled(SecondAxis):
    """Uses a layer's weight past the layer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(nn.functional.linear(x, self.attn.weight).mean(1))


@pytest.mark.parametrize(
    ("model", "said"), [(SecondAxis, "not laid out"), (Mixing, "mixes samples"), (Uncalled, "without calling it")]
)
def test_layouts_and_mixtures_that_would_break_the_promise_are_found(model, said):
    example = {"x": torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))}
    with pytest.raises(Refusal, match=said) as refused:
        places(model(), "head", 3, example)
    assert "'attn'" in str(refused.value)


def test_layers_that_are_called_more_than_once_are_looked_at_each_time():
    class Twice(SecondAxis):
        def forward(self, x: Tensor) -> Tensor:
            first = self.attn(x)
            return self.head(self.attn(first - first.mean(0)).mean(1))

    example = {"x": torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))}
    assert layers_called(Twice(), ["attn"], example) == {"attn": False}


def test_only_layers_that_are_called_become_targets():
    class Half(Uncalled):
        def __init__(self) -> None:
            super().__init__()
            self.attn_out = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.attn_out(nn.functional.linear(x, self.attn.weight)).mean(1))

    targets, about = places(Half(), "head", 3, {"x": torch.randn(2, 5, 4)})
    assert targets == ("attn_out",) and "1 more are there, but not called" in about


def test_pictures_are_resized_as_pillow_does():
    import numpy as np
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    stored = torch.randint(64, 192, (2, 3, 20, 28), dtype=torch.uint8, generator=generator)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    for size in ((48, 40), (9, 7)):
        ours = Pictures(size, mean, std)({"x": stored})["x"]
        for image, got in zip(stored, ours, strict=True):
            shown = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
            wanted = torch.from_numpy(np.array(shown)).permute(2, 0, 1) / 255 - torch.tensor(mean)[:, None, None]
            wanted /= torch.tensor(std)[:, None, None]
            assert (got - wanted).abs().max() < 2 / 255 / min(std)


def test_pictures_take_grey_and_refuse_what_is_no_picture():
    prepare = dataclasses.replace(Pictures((4, 4), (0.5,) * 3, (0.5,) * 3), interpolation="bilinear")
    grey = torch.full((2, 1, 4, 4), 255, dtype=torch.uint8)
    assert torch.equal(prepare({"x": grey})["x"], torch.ones(2, 3, 4, 4))
    with pytest.raises(ValueError, match="convert them to uint8"):
        prepare({"x": grey.float()})
