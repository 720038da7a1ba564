"""Every task, however made, passes one trial before anything is charged: the cases of it, by their numbers."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lalora_kit import METHODS, Task, federated_rounds
from lalora_kit.methods.method import BOTH, Method
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from lalora_kit.tasks import Split
from tests.hubs import WORDS, roberta_directory
from tests.tiny import FAST, TwoLayers, linear_task, randomised, roberta_task, swin_task, vit_task

CLASSES = ("a", "b", "c")


def points(*shape: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    return Split({"x": torch.randn(24, *shape, generator=generator)}, torch.arange(24) % 3)


def made(backbone: nn.Module, data: Split, targets: tuple[str, ...] = ("body",), head: str = "head", **about) -> Task:
    return Task("made", randomised(backbone), targets, head, data, data, CLASSES, **about)


def refused(task: Task, said: str, method: str | Method = "la-lora", settings=FAST) -> str:
    """The task trains nowhere, nothing is on record, and the sentence says why."""
    ledger, chosen = Ledger(), METHODS[method] if isinstance(method, str) else method
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of checkpoints that see no gradient
        with pytest.raises(ValueError, match=said) as error:
            list(federated_rounds(task, chosen, settings, ledger=ledger))
        assert not len(ledger) and "\n" not in str(error.value)
        with pytest.raises(ValueError, match=said):
            make_plan(task, chosen, settings, Ledger())
    return str(error.value)


def passes(task: Task, method: str | Method = "dp-lora", settings=FAST) -> None:
    chosen = METHODS[method] if isinstance(method, str) else method
    assert all(math.isfinite(r.loss) for r in federated_rounds(task, chosen, replace(settings, rounds=1)))


# ---- P2: layouts, and samples that touch each other ---------------------------------------------------------------


class TimeFirst(nn.Module):
    """Time along the first axis, inside."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def inside(self, x: Tensor) -> Tensor:
        return self.body(x.transpose(0, 1)).tanh().mean(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inside(x))


class Encoder(nn.Module):
    """torch's own encoder in its default layout."""

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=batch_first)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head, self.first = nn.Linear(6, 3), batch_first

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(1) if self.first else self.body(x.transpose(0, 1)).mean(0))


class TwoViews(TimeFirst):
    """A sample and its mirror image, one behind the other."""

    def forward(self, x: Tensor) -> Tensor:
        ours, mirrored = self.body(torch.cat([x, -x])).tanh().chunk(2)
        return self.head((ours + mirrored.square()).mean(1))


class Standardised(TimeFirst):
    """Centres and scales each batch."""

    def forward(self, x: Tensor) -> Tensor:
        x = (x - x.mean(0)) / (x.std(0, unbiased=False) + 0.1)
        return self.head(self.body(x).tanh().mean(1))


class Counting(TimeFirst):
    """Its scores know how many samples there are."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).tanh().mean(1)) / len(x)


class Attending(TimeFirst):
    """Attention over the batch, behind the last adapted layer."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x).tanh().mean(1)
        return self.head((h @ h.mT).softmax(1) @ h)


class Running(TimeFirst):
    """Each sample gets a little of the ones before it, far less than float32 would show."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x + 1e-6 * x.cumsum(0)).tanh().mean(1))


class Remembering(TimeFirst):
    """Keeps a mean of all that it has seen, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean((0, 1))
        return self.head(self.body(x - self.mean).tanh().mean(1))


class Dropping(TimeFirst):
    """A dropout that no eval mode switches off."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(self.body(x), 0.5).tanh().mean(1))


MIXING = {
    "time first": (TimeFirst, "layer 'body' is not laid out sample by sample"),
    "two views": (TwoViews, "layer 'body' is not laid out sample by sample"),
    "standardised": (Standardised, "layer 'body' is not laid out sample by sample, or mixes samples"),
    "attention over the batch": (Attending, "layer 'head' .*mixes samples"),
    "counting": (Counting, "scores of one sample depend on the samples beside it"),
    "a little": (Running, "layer 'body' .*mixes samples"),
    "remembering": (Remembering, "other scores each time"),
    "dropping": (Dropping, "other scores each time"),
}


@pytest.mark.parametrize("name", MIXING)
def test_p2_a_task_made_by_hand_whose_samples_touch_is_refused_by_name(name):
    model, said = MIXING[name]
    refused(made(model(), points(5, 6)), said)


def test_p2_torchs_encoder_in_its_default_layout_is_refused():
    targets = ("body.layers.0.linear1", "body.layers.0.linear2")
    refused(made(Encoder(), points(5, 6), targets), "layer 'body.layers.0.linear1' is not laid out sample by sample")


@pytest.mark.parametrize("model", [TwoViews, Standardised])
def test_p2_so_is_a_task_of_arrays(model):
    data = points(5, 6)
    task = Task.from_arrays(
        randomised(model()), data.inputs["x"], data.labels, test_inputs=data.inputs["x"], test_labels=data.labels,
        classes=CLASSES, head="head",
    )  # fmt: skip
    refused(task, "'body' is not laid out")


def test_p2_swin_v2s_position_bias_has_no_samples():
    from timm.models.swin_transformer_v2 import SwinTransformerV2

    model = SwinTransformerV2(
        img_size=16, patch_size=2, in_chans=1, num_classes=3, embed_dim=16, depths=(2,), num_heads=(2,), window_size=4
    )
    data = Split({"x": points(1, 16, 16).inputs["x"]}, torch.arange(24) % 3)
    targets = tuple(name for name, module in model.named_modules() if isinstance(module, nn.Linear))
    for count in (24, 3):
        few = data.select(torch.arange(count))
        task = made(model, few, tuple(t for t in targets if "cpb_mlp" in t or "mlp.fc" in t), "head.fc")
        refused(task, r"layer 'layers.0.blocks.0.attn.cpb_mlp.0' is not laid out", settings=replace(FAST, clients=1))


def test_p2_prepare_that_mixes_a_chunk_is_refused():
    def whitened(batch):
        return {"x": batch["x"] - batch["x"].mean(0)}

    refused(made(TwoLayers(6, 5, 3), points(6), prepare=whitened), "mixes samples")


def test_p2_an_engine_that_takes_windows_for_samples_is_stopped_at_the_door(monkeypatch):
    from tests.faults import windows_as_samples

    windows_as_samples(monkeypatch)
    refused(swin_task(), "layer 'layers.0.blocks.0.attn.proj' is not laid out sample by sample")


class OwnTask(Task):
    """A subclass of Task, with what checks there are switched off."""

    def __post_init__(self) -> None:
        pass


def test_p2_a_subclass_of_task_comes_through_the_same_door():
    data = points(5, 6)
    refused(OwnTask("own", randomised(Standardised()), ("body",), "head", data, data, CLASSES), "mixes samples")


def test_p2_so_does_a_model_that_is_changed_after_it_passed():
    task = made(TwoLayers(6, 5, 3), points(6))
    passes(task)
    task.backbone.forward = lambda x: task.backbone.head(task.backbone.body(x - x.mean(0)))
    refused(task, "made")


@pytest.mark.parametrize("make", [linear_task, swin_task, vit_task, roberta_task])
def test_p2_what_is_sound_passes_and_no_random_stream_moves(make):
    task = make()
    before, here = torch.get_rng_state(), np.random.get_state()[1].copy()
    make_plan(task, METHODS["dp-lora"], FAST, Ledger())
    assert torch.equal(before, torch.get_rng_state()) and (np.random.get_state()[1] == here).all()


def test_p2_the_trial_is_made_once_and_takes_no_private_sample(monkeypatch):
    from lalora_kit.privacy import soundcheck

    tried = []
    plain = soundcheck.try_out
    monkeypatch.setattr(soundcheck, "try_out", lambda way: tried.append(way) or plain(way))
    task = linear_task()
    hostile = replace(task, train=Split({"x": torch.full_like(task.train.inputs["x"], 3e38)}, task.train.labels))
    for settings in (FAST, replace(FAST, epsilon=2.0)):
        make_plan(hostile, METHODS["dp-lora"], settings, Ledger())
    assert len(tried) == 1


@pytest.mark.parametrize("make", [swin_task, roberta_task])
def test_p2_the_trial_costs_no_more_than_four_samples(make, monkeypatch):
    task = make()
    from lalora_kit.engine import tryout
    from lalora_kit.privacy.soundcheck import check_sound

    size = next(iter(task.train.inputs.values()))[:1].numel()
    forward: list[float] = []
    backward: list[float] = []
    plain, grad = tryout.Engine.scores, torch.autograd.grad

    def scores(self, tensors, batch):
        forward.append(next(iter(batch.values())).numel() / size)  # in samples of the task's own size
        return plain(self, tensors, batch)

    def backwards(*given, **about):
        backward.append(forward[-1])
        return grad(*given, **about)

    monkeypatch.setattr(tryout.Engine, "scores", scores)
    monkeypatch.setattr(torch.autograd, "grad", backwards)
    check_sound(task, METHODS["dp-lora"], FAST)
    assert len(backward) == 2 and sum(forward) + sum(backward) <= 2 * 4


# ---- P3: padding --------------------------------------------------------------------------------------------------


def text_task(family: str, **more) -> Task:
    import transformers

    base = {
        "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 32, "num_labels": 3, "pad_token_id": 1,
    }  # fmt: skip
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**{**base, **more})
    model = getattr(transformers, f"{family}ForSequenceClassification")(config)
    data = roberta_task()
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    targets = tuple(name for name in linear if "encoder" in name and not name.startswith("classifier"))
    return Task(family, randomised(model), targets, "classifier", data.train, data.test, CLASSES)


NYSTROM = {"segment_means_seq_len": 4, "num_landmarks": 4}
PADDING = {"FNet": {}, "Yoso": {}, "ConvBert": {"embedding_size": 16}, "Nystromformer": NYSTROM}


@pytest.mark.parametrize("family", PADDING)
def test_p3_a_backbone_that_looks_at_padding_is_refused(family):
    refused(text_task(family, **PADDING[family]), "depend on how far it is padded")


class MeanOfAll(nn.Module):
    """Means over all places, padding too; and one that divides by the length of the company."""

    def __init__(self, by_width: bool) -> None:
        super().__init__()
        self.embed, self.body, self.head = nn.Embedding(40, 6), nn.Linear(6, 5), nn.Linear(5, 3)
        self.by_width = by_width

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        h = self.body(self.embed(input_ids)).tanh()
        if self.by_width:
            return self.head((h * attention_mask[..., None]).sum(1) / attention_mask.shape[1])
        return self.head(h.mean(1))


@pytest.mark.parametrize("by_width", [True, False])
def test_p3_so_is_a_model_of_ones_own(by_width):
    data = roberta_task().train
    refused(made(MeanOfAll(by_width), data), "depend on how far it is padded")


@pytest.mark.parametrize("family", ["Bert", "Llama", "Bart", "Mistral"])
def test_p3_backbones_that_give_padding_no_attention_pass(family):
    about = {
        "Bart": {
            "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "eos_token_id": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "forced_eos_token_id": 2,
        },
    }  # fmt: skip
    import transformers

    config = {
        "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 32, "num_labels": 3, "pad_token_id": 1,
        "num_key_value_heads": 1,
    }  # fmt: skip
    if family in ("Bert", "Bart"):
        del config["num_key_value_heads"]
    model = getattr(transformers, f"{family}ForSequenceClassification")(
        getattr(transformers, f"{family}Config")(**{**config, **about.get(family, {})})
    )
    head = {"Bert": "classifier", "Bart": "classification_head"}.get(family, "score")
    ends = ("q_proj", "v_proj", "query", "value")
    targets = tuple(name for name, _ in model.named_modules() if name.endswith(ends))
    data = roberta_task()
    ids, mask = data.train.inputs["input_ids"].clone(), data.train.inputs["attention_mask"]
    ids[torch.arange(len(ids)), mask.sum(1) - 1] = 2  # BART looks for one </s> in each text
    ids[:, :-1][ids[:, :-1].eq(2) & (mask.cumsum(1) < mask.sum(1, keepdim=True))[:, :-1]] = 5
    both = Split({"input_ids": ids, "attention_mask": mask}, data.train.labels)
    from lalora_kit.privacy.soundcheck import check_sound

    check_sound(Task(family, randomised(model), targets, head, both, both, CLASSES), METHODS["dp-lora"], FAST)


# ---- P7: what cannot be computed, or trains nothing ---------------------------------------------------------------


class Odd(nn.Module):
    """x -> head(tanh(body(x))), with a second layer that is used in an odd way."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.body, self.other, self.head, self.way = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 3), way

    def forward(self, x: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        h = self.body(x)
        if self.way == "detached":
            h = h + self.other(x).detach()
        elif self.way == "no_grad":
            with torch.no_grad():
                more = self.other(x)
            h = h + more
        elif self.way == "read":
            h = h + F.linear(x, self.other.weight, self.other.bias)
        elif self.way == "checkpoint":
            h = h + checkpoint(self.other, x, use_reentrant=False)
        elif self.way == "reentrant":
            h = h + checkpoint(self.other, x, use_reentrant=True)
        elif self.way == "sign":
            h = h + self.other(x).sign()
        elif self.way == "times nothing":
            h = h + 0 * self.other(x)
        elif self.way == "evaluated otherwise" and not torch.is_grad_enabled():
            h = h + self.other.weight.sum()
        elif self.way == "evaluated otherwise":
            h = h + self.other(x)
        return self.head(h.tanh())


ODD = {
    "unused": "layer 'other' .* is never called",
    "detached": "layer 'other' .* gets no gradient",
    "no_grad": "layer 'other' .* gets no gradient",
    "read": "layer 'other' is asked for its weight",
    "checkpoint": "gradient checkpointing",
    "reentrant": "gradient checkpointing",
    "sign": "layer 'other' .* gradient of zero",
    "times nothing": "layer 'other' .* gradient of zero",
    "evaluated otherwise": "layer 'other' is asked for its weight",
}


@pytest.mark.parametrize("way", ODD)
def test_p7_a_layer_that_would_not_train_is_refused_by_name_before_anything_is_charged(way):
    refused(made(Odd(way), points(6), ("body", "other")), ODD[way])


def test_p7_a_layer_that_no_method_trains_may_lie_behind_no_grad():
    passes(made(Odd("no_grad"), points(6), ("body", "other")), "head-only")


@pytest.mark.parametrize("method", ["la-lora", "dp-lora-filter"])
def test_p7_a_layer_of_width_one_trains(method):
    class Narrow(TwoLayers):
        def __init__(self) -> None:
            super().__init__(6, 1, 3)

    passes(made(Narrow(), points(6)), method, replace(FAST, rank=1))


def halved(gradient: Tensor, factor: str) -> Tensor:
    return gradient[..., ::2]


def impossible(gradient: Tensor, factor: str) -> Tensor:
    return gradient @ gradient


@pytest.mark.parametrize(("smooth", "said"), [(halved, "must keep the shape"), (impossible, "cannot post-process")])
def test_p7_a_method_that_cannot_smooth_these_layers_is_refused(smooth, said):
    refused(linear_task(), said, Method("own", "nowhere", lambda t, k: BOTH, smooth))


def test_p7_canine_whose_last_layers_are_not_read_is_refused():
    task = text_task(
        "Canine", num_hash_functions=2, num_hash_buckets=50, local_transformer_stride=16, downsampling_rate=4,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    refused(task, "layer 'canine.final_char_encoder.layer.0.[a-z.]*' .* gets no gradient")


def test_p7_torchs_fast_path_reads_weights_and_is_refused():
    targets = ("body.layers.0.linear1",)
    refused(made(Encoder(batch_first=True), points(5, 6), targets), "'body.layers.0.linear1' is asked for its weight")


WRONG = {
    "a tuple": (lambda self, x: (self.head(self.body(x)),), "has no attribute 'logits'"),
    "too few scores": (lambda self, x: self.head(self.body(x))[:, :2], "scores of shape"),
    "one row": (lambda self, x: self.head(self.body(x)).mean(0, keepdim=True), "scores of shape"),
    "another name": (lambda self, pixels: self.head(self.body(pixels)), "unexpected keyword argument 'x'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_p7_what_a_forward_cannot_be_is_one_sentence(name):
    forward, said = WRONG[name]
    refused(made(type("Wrong", (TwoLayers,), {"forward": forward})(6, 5, 3), points(6)), said)


def test_p7_inputs_of_another_type_are_one_sentence():
    data = points(6)
    wide = Split({"x": data.inputs["x"].double()}, data.labels)
    refused(made(TwoLayers(6, 5, 3), wide), "trying it failed .*Double")


def test_p7_a_token_beyond_the_embeddings_is_found_before_it_is_drawn():
    data = roberta_task()
    ids = data.train.inputs["input_ids"].clone()
    ids[3, 1] = 40
    refused(replace(data, train=Split({**data.train.inputs, "input_ids": ids}, data.train.labels)), "out of range")


# ---- P8: the exact type -------------------------------------------------------------------------------------------


class Cosine(nn.Linear):
    """Scores by angle."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.normalize(x, dim=-1), F.normalize(self.weight, dim=-1), self.bias)


class Renamed(nn.Linear):
    """A linear layer by another name, and no more."""


def with_layers(body: nn.Module, head: nn.Module) -> nn.Module:
    model = TwoLayers(6, 5, 3)
    model.body, model.head = body, head
    return model


def hooked(layer: nn.Linear) -> nn.Linear:
    layer.register_forward_hook(lambda module, given, found: found * 30)
    return layer


def given_a_forward(layer: nn.Linear) -> nn.Linear:
    layer.forward = lambda x: x @ layer.weight.mT
    return layer


@pytest.mark.parametrize(
    ("body", "head", "said"),
    [
        (nn.Linear(6, 5), Cosine(5, 3), "the head's layer '' is a Cosine"),
        (nn.Linear(6, 5), nn.Sequential(nn.Linear(5, 4), nn.Tanh(), Cosine(4, 3)), "the head's layer '2' is a Cosine"),
        (Cosine(6, 5), nn.Linear(5, 3), "target module 'body' is a Cosine"),
        (nn.Linear(6, 5), hooked(nn.Linear(5, 3)), "the head's layer '' is a Linear with hooks"),
        (nn.Linear(6, 5), given_a_forward(nn.Linear(5, 3)), "layer '' is a Linear with a forward of its own"),
        (given_a_forward(nn.Linear(6, 5)), nn.Linear(5, 3), "target module 'body' is a Linear"),
        (nn.Linear(6, 5), nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)), "belongs to no linear layer"),
    ],
)  # fmt: skip
def test_p8_a_layer_that_does_more_than_a_linear_one_is_refused(body, head, said):
    refused(made(with_layers(body, head), points(6)), said)


def test_p8_a_subclass_that_computes_what_a_linear_layer_does_passes():
    passes(made(with_layers(Renamed(6, 5), Renamed(5, 3)), points(6)))


def test_p8_backbones_are_held_to_the_same():
    from lalora_kit.tasks.adaptable import Refusal, places

    model = nn.Sequential(OrderedDict(attn=Cosine(4, 4), head=nn.Linear(4, 3)))
    with pytest.raises(Refusal, match="'attn' is a Cosine"):
        places(model, "head", 3, {"input": torch.randn(2, 4)})


# ---- T4, T5, T7: tokenizers ---------------------------------------------------------------------------------------


def directory(place, limit: int | None, positions: int = 34, **config):
    """A RoBERTa whose tokenizer states `limit` tokens, or none, and whose table has `positions` rows."""
    import json

    from transformers import RobertaConfig, RobertaForSequenceClassification

    roberta_directory(place)
    about = RobertaConfig.from_pretrained(place)
    about.max_position_embeddings = positions
    RobertaForSequenceClassification(about).save_pretrained(place)
    stated = json.loads((place / "tokenizer_config.json").read_text())
    stated.pop("model_max_length")
    if limit is not None:
        stated["model_max_length"] = limit
    (place / "tokenizer_config.json").write_text(json.dumps(stated))
    kept = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**kept, **config}))
    return str(place)


def texts_of(backbone) -> Task:
    long = " ".join(WORDS * 10)
    inputs = backbone.encode([" ".join(WORDS[: 2 + i % 5]) for i in range(22)] + [long, long])
    split = Split(inputs, torch.arange(24) % 3)
    return Task("texts", backbone.module, backbone.targets, backbone.head, split, split, CLASSES)


@pytest.mark.parametrize(("limit", "positions", "longest"), [(None, 34, 32), (None, 52, 50), (512, 34, 32)])
def test_t4_the_limit_of_positions_is_taken_from_the_model(tmp_path, limit, positions, longest):
    """RoBERTa's table has two rows more than tokens; a tokenizer that states too much is held to it too."""
    from lalora_kit.tasks.backbones import build

    task = texts_of(build(directory(tmp_path, limit, positions), 3))
    assert int(task.train.inputs["attention_mask"].sum(1).max()) == longest
    passes(task)


def test_t4_longer_texts_of_ones_own_task_are_refused_before_anything():
    task = roberta_task()
    task.backbone.roberta.embeddings.position_embeddings = nn.Embedding(8, 16, padding_idx=1)
    refused(task, "a text of 9 tokens, and its backbone has positions for 6")


@pytest.mark.parametrize("limit", [50, 7, 61])
def test_t5_a_limit_that_is_no_multiple_of_eight_works(tmp_path, limit):
    from lalora_kit.tasks.backbones import build

    backbone = build(directory(tmp_path, limit, 514), 3)
    assert backbone.encode(["the film"], padding="max_length")["input_ids"].shape == (1, limit)
    task = texts_of(backbone)
    assert int(task.train.inputs["attention_mask"].sum(1).max()) == limit
    passes(task)


def gpt_directory(place, **about):
    """A Llama whose configuration names no padding token, while its tokenizer does."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    roberta_directory(place)
    config = LlamaConfig(**{
        "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "max_position_embeddings": 64, "pad_token_id": None, "bos_token_id": 0, "eos_token_id": 2, **about,
    })  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(place)
    return str(place)


def test_t7_the_tokenizers_padding_token_is_the_models_where_it_names_none(tmp_path):
    from lalora_kit.tasks.backbones import build

    backbone = build(gpt_directory(tmp_path), 3)
    assert backbone.module.config.pad_token_id == backbone.tokenizer.pad_token_id == 1
    passes(texts_of(backbone))


def test_t7_a_padding_token_without_an_embedding_is_refused_with_the_remedy(tmp_path):
    from tokenizers import Tokenizer

    from lalora_kit.tasks.backbones import build

    place = gpt_directory(tmp_path)
    known = Tokenizer.from_file(f"{place}/tokenizer.json")
    known.add_special_tokens(["<pad>", *(f"<{i}>" for i in range(60)), "<filler>"])
    known.save(f"{place}/tokenizer.json")
    import json

    stated = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**stated, "pad_token": "<filler>"}))
    with pytest.raises(ValueError, match=r"embeddings for 40 tokens.*resize its embeddings"):
        build(place, 3)


def test_t7_a_task_by_hand_without_a_padding_token_is_one_sentence():
    task = roberta_task()
    from transformers import LlamaConfig, LlamaForSequenceClassification

    model = LlamaForSequenceClassification(LlamaConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=3,
        pad_token_id=None,
    ))  # fmt: skip
    refused(replace(task, backbone=model, targets=("model.layers.0.self_attn.q_proj",), head="score"), "padding token")


# ---- T14: torch's modes -------------------------------------------------------------------------------------------


def test_t14_another_default_type_changes_nothing():
    task = linear_task()
    expected = list(federated_rounds(task, METHODS["la-lora"], FAST))
    torch.set_default_dtype(torch.float64)
    try:
        found = list(federated_rounds(task, METHODS["la-lora"], FAST))
    finally:
        torch.set_default_dtype(torch.float32)
    assert [(r.loss, r.epsilon) for r in found] == [(r.loss, r.epsilon) for r in expected]


def test_t14_inference_mode_is_refused_in_one_sentence():
    ledger = Ledger()
    with torch.inference_mode(), pytest.raises(ValueError, match="inference_mode is on"):
        list(federated_rounds(linear_task(), METHODS["la-lora"], FAST, ledger=ledger))
    rounds = federated_rounds(linear_task(), METHODS["la-lora"], FAST, ledger=ledger)
    with torch.inference_mode(), pytest.raises(ValueError, match="inference_mode is on"):
        next(rounds)
    assert not len(ledger)


def test_t14_a_task_that_was_made_in_inference_mode_trains():
    with torch.inference_mode():
        task = linear_task()
    passes(task)


def test_t14_no_grad_around_a_run_changes_nothing():
    [expected] = federated_rounds(linear_task(), METHODS["dp-lora"], replace(FAST, rounds=1))
    with torch.no_grad():
        [found] = federated_rounds(linear_task(), METHODS["dp-lora"], replace(FAST, rounds=1))
    assert found.loss == expected.loss
