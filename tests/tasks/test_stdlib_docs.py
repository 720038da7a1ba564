"""Task stdlib-docs: its sentences, its split, its owners, and the engine on sentences of unequal length."""

from __future__ import annotations

import json
import platform
import sys
from collections import Counter
from dataclasses import replace
from functools import cache

import peft
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.runs import adapterfile
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task, load_task, logits
from lalora_kit.tasks.assets import pretrain_text
from lalora_kit.tasks.embedded import docstrings
from lalora_kit.tasks.embedded.docstrings import SUBJECT_OF, SUBJECTS, private_sentences, public_sentences, sentences
from lalora_kit.tasks.embedded.stdlib_docs import LONGEST, PAD, as_split, build, encode, splits
from tests.tiny import random_adapter, stacked

SCALE, RANK = 0.7, 3
SETTINGS = Settings(epsilon=3.0, rank=2, clients=3, rounds=1, local_steps=2, sample_rate=0.02, seed=0, teaching=True)


@cache
def task() -> Task:
    return load_task("stdlib-docs")


def test_each_sentence_is_there_once_and_its_docstring_on_one_side():
    train, test = splits()
    texts = [sentence.text for sentence in (*train, *test)]
    assert len(texts) == len(set(texts)) == len(private_sentences())
    assert 6000 < len(texts) <= 10000
    assert not {s.docstring for s in train} & {s.docstring for s in test}
    assert 0.15 < len(test) / len(texts) < 0.25


def test_subjects_are_of_like_size_on_both_sides():
    for side in splits():
        counts = Counter(sentence.subject for sentence in side)
        assert set(counts) == set(SUBJECTS)
        assert min(counts.values()) > 0.15 * len(side) and max(counts.values()) < 0.35 * len(side)


def test_an_owner_is_a_module_of_the_subject():
    train, _ = splits()
    assert all(SUBJECT_OF[sentence.module] == sentence.subject for sentence in train)
    assert len({sentence.module for sentence in train}) > 60


def test_public_and_private_share_neither_a_module_nor_a_sentence():
    public = public_sentences()
    assert not {module for _, module in public} & set(SUBJECT_OF)
    assert not {text for text, _ in public} & {text for _, _, text in docstrings.library(private=True)}
    assert "pydoc_data" in {module for _, module in public}


def test_modules_are_read_and_not_run():
    assert "turtle" not in sys.modules  # it would open a window, and its docstrings are among the sentences
    assert any(sentence.module == "turtle" for sentence in (*splits()[0], *splits()[1]))


def test_what_a_sentence_is():
    text = "Return the mean of the data.  Raise an\nerror if it is empty.\n\n>>> is this a sentence of words\n\nNo."
    assert list(sentences(text)) == ["Return the mean of the data.", "Raise an error if it is empty."]
    assert list(sentences("a[0:1] == {x}; b[1:2] == {y} and so on, c[2:3] == {z}")) == []
    assert list(sentences("")) == []


def test_docstrings_of_nested_definitions_are_found_and_code_is_not():
    source = (
        b"'One.'\nif True:\n    class A:\n        'Two.'\n        async def f():\n            'Three.'\nx = 'Four.'\n"
    )
    assert sorted(docstrings.docstrings(source)) == ["One.", "Three.", "Two."]
    assert list(docstrings.docstrings(b"print 'of another Python'")) == []


def test_a_library_without_sources_is_refused_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(docstrings.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(ValueError, match=r"holds no docstrings of the standard library.*or task digits"):
        docstrings.library.__wrapped__(private=True)


def test_inputs_are_marked_cut_and_padded():
    loaded = task()
    for split in (loaded.train, loaded.test):
        ids, mask = split.inputs["input_ids"], split.inputs["attention_mask"]
        assert ids.shape == mask.shape == (len(split), LONGEST) and ids.dtype == torch.int64
        assert (ids[:, 0] == 0).all() and torch.equal(mask, (ids != PAD).long())
        assert mask.sum(1).min() > 5  # marks and a few words at least: no sentence is empty
        assert (mask.sum(1) < LONGEST).double().mean() > 0.8  # few are cut


def test_the_split_and_the_backbone_are_the_same_each_time_and_the_python_version_is_noted():
    first, second = task(), load_task("stdlib-docs")
    assert torch.equal(first.train.inputs["input_ids"], second.train.inputs["input_ids"])
    assert torch.equal(first.test.labels, second.test.labels)
    for (name, a), b in zip(first.backbone.state_dict().items(), second.backbone.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert first.notes == {"python": platform.python_version()} and first.classes == SUBJECTS


def test_lora_goes_on_every_linear_layer_of_the_encoder_and_the_head_starts_even():
    loaded = task()
    ends = (
        *("attention.self.query", "attention.self.key", "attention.self.value"),
        *("attention.output.dense", "intermediate.dense", "output.dense"),
    )
    assert list(loaded.targets) == [f"roberta.encoder.layer.{layer}.{end}" for layer in (0, 1) for end in ends]
    assert torch.equal(logits(loaded.backbone, loaded.test.select(torch.arange(3)).inputs), torch.zeros(3, 4))
    assert not loaded.backbone.training and loaded.backbone.config._attn_implementation == "sdpa"
    assert 0.3e6 < sum(value.numel() for value in loaded.backbone.parameters()) < 0.5e6


def gradients(inputs: dict[str, torch.Tensor], labels: torch.Tensor, owner: torch.Tensor) -> dict:
    """Per-sample gradients of two clients' random adapters, in float64, by the engine."""
    stack = stacked([random_adapter(task(), RANK, SCALE, seed) for seed in (0, 1)]).map(torch.Tensor.double)
    active = stack.keys({"A", "B"})
    [(_, found)] = Engine(task(), SCALE, dtype=torch.float64).gradients(stack, active, inputs, labels, owner)
    return dict(zip(active, found, strict=True))


def alone(client: int, inputs: dict[str, torch.Tensor], label: torch.Tensor) -> dict:
    """The oracle: one sentence without its padding, plain autograd on W0 + s·B·A."""
    adapter = random_adapter(task(), RANK, SCALE, client)
    leaves = {key: value.double().requires_grad_() for key, value in adapter.tensors.items()}
    weights = {name: value.double() for name, value in task().backbone.state_dict().items()}
    for name in task().targets:
        weights[f"{name}.weight"] = weights[f"{name}.weight"] + SCALE * leaves["B", name] @ leaves["A", name]
    weights |= {f"classifier.{name}": value for (kind, name), value in leaves.items() if kind == "head"}
    cut = {name: value[:, : int(inputs["attention_mask"].sum())] for name, value in inputs.items()}
    scores = torch.func.functional_call(task().backbone, weights, args=(), kwargs=cut).logits
    return dict(zip(leaves, torch.autograd.grad(F.cross_entropy(scores, label), list(leaves.values())), strict=True))


def of_unequal_length() -> torch.Tensor:
    """Four training samples: the shortest, the longest and two between."""
    order = task().train.inputs["attention_mask"].sum(1).argsort(stable=True)
    return order[[0, len(order) // 3, 2 * len(order) // 3, -1]]


def test_gradients_of_padded_sentences_equal_one_unpadded_sentence_at_a_time():
    batch, owner = task().train.select(of_unequal_length()), torch.tensor([0, 1, 1, 0])
    assert len(set(batch.inputs["attention_mask"].sum(1).tolist())) == 4
    found = gradients(batch.inputs, batch.labels, owner)
    for row, client in enumerate(owner.tolist()):
        one = batch.select(torch.tensor([row]))
        for key, expected in alone(client, one.inputs, one.labels).items():
            assert float((found[key][row] - expected).norm()) <= 1e-12 * float(expected.norm()), (row, key)


def test_more_padding_does_not_change_a_gradient_and_a_masked_word_has_none():
    batch, owner = task().train.select(of_unequal_length()[:3]), torch.tensor([0, 1, 0])
    longest = int(batch.inputs["attention_mask"].sum(1).max())
    assert longest < LONGEST
    trimmed = {name: value[:, :longest] for name, value in batch.inputs.items()}
    padded, short = (gradients(inputs, batch.labels, owner) for inputs in (batch.inputs, trimmed))
    for key, value in padded.items():
        torch.testing.assert_close(value, short[key], rtol=1e-12, atol=1e-14)
    # A mask that is not heeded does change it: the comparison can fail.
    seen = {**batch.inputs, "attention_mask": torch.ones_like(batch.inputs["attention_mask"])}
    key = ("B", task().targets[0])
    assert float((gradients(seen, batch.labels, owner)[key] - padded[key]).norm()) > 1e-3 * float(padded[key].norm())


def test_a_private_round_ends_within_its_budget_and_peft_reads_the_adapter(tmp_path):
    small = replace(task(), test=task().test.select(torch.arange(200)))
    [last] = federated_rounds(small, METHODS["la-lora"], SETTINGS)
    assert 0 < last.epsilon <= 3.0 and last.noise_multiplier > 0
    assert last.state.identity["notes.python"] == platform.python_version()
    assert any(float(value.abs().max()) > 0 for value in last.adapter.of("B").values())

    adapterfile.save(last.adapter, tmp_path, small)
    loaded = peft.PeftModel.from_pretrained(build(len(SUBJECTS)), str(tmp_path)).eval()
    with torch.no_grad():
        theirs = logits(loaded, small.test.inputs)
    ours = Engine(small, SETTINGS.scale).predict(last.adapter, small.test.inputs)
    assert float((theirs - ours).abs().max()) <= 1e-5 * max(1.0, float(ours.abs().max()))
    assert float(ours.abs().max()) > 1e-3  # not the untrained head's zeros
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 2


def test_by_module_each_client_holds_whole_modules():
    named = load_task("stdlib-docs-by-module")
    assert torch.equal(named.train.inputs["input_ids"], task().train.inputs["input_ids"])
    train, _ = splits()
    assert [named.owners[i] for i in named.train.owners.tolist()] == [sentence.module for sentence in train]
    assert set(named.test.owners.tolist()) <= set(named.train.owners.tolist())
    with pytest.raises(ValueError, match=r"clients=500 is more than the \d+ owners"):
        list(federated_rounds(named, METHODS["la-lora"], replace(SETTINGS, clients=500)))


def test_sentences_of_one_s_own_take_the_same_path():
    own = as_split(splits()[1][:5])
    assert torch.equal(own.inputs["input_ids"], task().test.inputs["input_ids"][:5])
    assert encode(["CAPITALS do not matter here."])["input_ids"].tolist() == (
        encode(["capitals do not matter here."])["input_ids"].tolist()
    )


def test_the_shipped_files_are_the_ones_in_the_record():
    import hashlib
    from importlib.resources import files

    assets = files("lalora_kit.tasks.assets")
    record = (assets / pretrain_text.RECORD).read_text(encoding="utf-8")
    for label, name in (("sha256", pretrain_text.WEIGHTS), ("tokenizer sha256", pretrain_text.TOKENIZER)):
        assert f"{label}: {hashlib.sha256((assets / name).read_bytes()).hexdigest()}\n" in record
    assert len((assets / pretrain_text.WEIGHTS).read_bytes()) < 2e6
    assert load_file(str(assets / pretrain_text.WEIGHTS))["roberta.embeddings.word_embeddings.weight"].shape == (
        2048,
        96,
    )
