"""Task `stdlib-docs`: which of four subjects a sentence of Python's own documentation speaks about.

The private side is the docstrings of this Python's library modules on networks, files, numbers and tools
(`docstrings`, beside this file); the backbone, a RoBERTa-pico, has only ever read the other modules' and the language
reference (`lalora_kit.tasks.assets.pretrain_text`). A sentence is one sample; its owner is the module it stands in.

No docstring is in both splits, so that neighbouring sentences do not answer for each other; every larger module is
in both, so that what a module's owner gets out of training can be measured.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lalora_kit.base.steps import step
from lalora_kit.tasks import Split, Task
from lalora_kit.tasks.embedded.docstrings import SUBJECTS, Sentence, private_sentences

WEIGHTS, TOKENIZER = "roberta_pico.safetensors", "roberta_pico_bpe.json"
#: Tokens of a sentence, its first and last mark included; about one sentence in fourteen is longer and is cut.
LONGEST = 40
VOCABULARY, PAD, MASK = 2048, 1, 4
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
#: One docstring in five is for testing: a fact of its text, so that it does not follow `Settings.seed`.
TEST_ONE_IN = 5
TARGETS = ("self.query", "self.key", "self.value", "attention.output.dense", "intermediate.dense", "output.dense")


def roberta_pico(classes: int) -> Any:
    """transformers' configuration: two layers, 96 wide, fused attention, no dropout; 0.4 M parameters."""
    from transformers import RobertaConfig

    return RobertaConfig(  # type: ignore[call-arg]
        vocab_size=VOCABULARY,
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=LONGEST + PAD + 1,  # positions are counted from the padding token's number on
        type_vocab_size=1,
        num_labels=classes,
        bos_token_id=0,
        pad_token_id=PAD,
        eos_token_id=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa",
    )


@step("loading the backbone")
def build(classes: int) -> nn.Module:
    """transformers' own classifier around the shipped encoder.

    The last layer starts at zero, so that every subject is as likely as another. The layer before it starts as the
    identity: were it zero as well, neither would have a gradient.
    """
    from transformers import RobertaForSequenceClassification

    with torch.random.fork_rng(devices=[]):  # transformers initialises from the global stream; all is overwritten
        backbone = RobertaForSequenceClassification(roberta_pico(classes))
    with as_file(files("lalora_kit.tasks.assets") / WEIGHTS) as path:
        missing = backbone.load_state_dict(load_file(path), strict=False)
    parts = ("dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias")
    assert set(missing.missing_keys) == {f"classifier.{part}" for part in parts}, missing
    assert not missing.unexpected_keys, missing
    for parameter in backbone.classifier.parameters():
        nn.init.zeros_(parameter)
    nn.init.eye_(backbone.classifier.dense.weight)
    return backbone


def targets_of(model: nn.Module) -> tuple[str, ...]:
    """Where LoRA goes in a RoBERTa-pico: query, key, value and the dense layers of the encoder."""
    encoder = (name for name, _ in model.named_modules() if name.startswith("roberta.encoder"))
    return tuple(name for name in encoder if name.endswith(TARGETS))


def tokenizer() -> Any:
    """The shipped byte-level BPE, as `tokenizers` reads it: it cuts and pads to `LONGEST`."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str((files("lalora_kit.tasks.assets") / TOKENIZER).read_text(encoding="utf-8"))


@step("cutting texts into tokens")
def encode(texts: Sequence[str]) -> dict[str, torch.Tensor]:
    """The backbone's inputs: token numbers and attention mask, each `(sentences, LONGEST)`."""
    encoded = tokenizer().encode_batch(list(texts))
    return {
        "input_ids": torch.tensor([line.ids for line in encoded]),
        "attention_mask": torch.tensor([line.attention_mask for line in encoded]),
    }


def decode(inputs: dict[str, torch.Tensor]) -> list[str]:
    """Token numbers back to sentences, as far as they were not cut."""
    return list(tokenizer().decode_batch(inputs["input_ids"].tolist()))


@step("reading the data")
def splits() -> tuple[list[Sentence], list[Sentence]]:
    """The sentences of the private training split and of the public test split."""
    both: tuple[list[Sentence], list[Sentence]] = ([], [])
    for sentence in private_sentences():
        both[sentence.docstring % TEST_ONE_IN == 0].append(sentence)
    return both


def as_split(sentences: Sequence[Sentence], owners: Sequence[str] = ()) -> Split:
    """Token numbers, subjects, and each sentence's place in `owners` where they are given."""
    labels = torch.tensor([SUBJECTS.index(sentence.subject) for sentence in sentences])
    place = {owner: number for number, owner in enumerate(owners)}
    whose = torch.tensor([place[sentence.module] for sentence in sentences]) if owners else None
    return Split(encode([sentence.text for sentence in sentences]), labels, whose)


def load(by_module: bool = False) -> Task:
    """The embedded language task; with `by_module` each client is made of whole modules."""
    train, test = splits()
    owners = tuple(sorted({sentence.module for sentence in train}))
    if by_module:
        test = [sentence for sentence in test if sentence.module in owners]
    named = owners if by_module else ()
    backbone = build(len(SUBJECTS))
    return Task(
        name="stdlib-docs-by-module" if by_module else "stdlib-docs",
        backbone=backbone,
        targets=targets_of(backbone),
        head="classifier",
        train=as_split(train, named),
        test=as_split(test, named),
        classes=SUBJECTS,
        owners=named,
        description="sentences of docstrings by subject; RoBERTa-pico has read the rest of the documentation",
        notes={"python": platform.python_version()},
        decode=decode,
    )


def load_by_module() -> Task:
    """`load`, with modules as owners."""
    return load(by_module=True)
