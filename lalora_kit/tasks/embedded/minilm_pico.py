"""MiniLM-pico, a second backbone of `stdlib-docs`: all-MiniLM-L6-v2 distilled into one layer, 96 wide.

It has read public text alone (`lalora_kit.tasks.assets.language.distil`), and what its head sees stands for the
teacher's mean vector of a sentence. The task on it is `stdlib-docs-distilled`: sentences, split and subjects are those
of `stdlib-docs`, the backbone is another. Its features are standardised by the language reference, which is public.
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
from lalora_kit.tasks.embedded.docstrings import SUBJECTS, Sentence, reference
from lalora_kit.tasks.embedded.stdlib_docs import LONGEST, splits

ASSETS = "lalora_kit.tasks.assets.language"
WEIGHTS, VOCABULARY = "minilm_pico.safetensors", "minilm_pico_vocab.txt"
PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
SPECIAL = (PAD, UNKNOWN, START, END)
WIDTH, LAYERS, HEADS, INNER = 96, 1, 4, 256
TARGETS = (
    *("self.query", "self.key", "self.value"),
    *("attention.output.dense", "intermediate.dense", "output.dense", "pooler.dense"),
)


def minilm_pico(pieces: int, classes: int) -> Any:
    """transformers' configuration: a BERT of one layer, fused attention, no dropout."""
    from transformers import BertConfig

    return BertConfig(  # type: ignore[call-arg]
        vocab_size=pieces,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=LONGEST,
        num_labels=classes,
        pad_token_id=SPECIAL.index(PAD),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa",
    )


def word_pieces(vocabulary: Sequence[str]) -> Any:
    """The teacher's way of cutting with fewer pieces: small letters, longest first; cut and padded to `LONGEST`."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    cut = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(vocabulary)}, unk_token=UNKNOWN))
    cut.normalizer = normalizers.BertNormalizer()
    cut.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cut.decoder = decoders.WordPiece()
    cut.post_processor = processors.BertProcessing((END, SPECIAL.index(END)), (START, SPECIAL.index(START)))
    cut.add_special_tokens(list(SPECIAL))  # which decoding then leaves out
    cut.enable_truncation(LONGEST)
    cut.enable_padding(pad_id=SPECIAL.index(PAD), pad_token=PAD, length=LONGEST)
    return cut


def tokenizer() -> Any:
    """The shipped pieces."""
    return word_pieces((files(ASSETS) / VOCABULARY).read_text(encoding="utf-8").splitlines())


@step("cutting texts into tokens")
def encode(texts: Sequence[str], cut: Any = None) -> dict[str, torch.Tensor]:
    """The backbone's inputs: token numbers and attention mask, each `(sentences, LONGEST)`."""
    encoded = (cut or tokenizer()).encode_batch(list(texts))
    return {
        "input_ids": torch.tensor([line.ids for line in encoded]),
        "attention_mask": torch.tensor([line.attention_mask for line in encoded]),
    }


def decode(inputs: dict[str, torch.Tensor]) -> list[str]:
    """Token numbers back to sentences, as far as they were not cut."""
    return list(tokenizer().decode_batch(inputs["input_ids"].tolist()))


@step("loading the backbone")
def build(classes: int) -> nn.Module:
    """transformers' own classifier around the shipped encoder, in float32; its one linear head starts at zero."""
    from transformers import BertForSequenceClassification

    with as_file(files(ASSETS) / WEIGHTS) as path:
        stored = {name: value.float() for name, value in load_file(path).items()}
    pieces = len(stored["bert.embeddings.word_embeddings.weight"])
    with torch.random.fork_rng(devices=[]):  # transformers initialises from the global stream; all is overwritten
        backbone = BertForSequenceClassification(minilm_pico(pieces, classes))
    missing = backbone.load_state_dict(stored, strict=False)
    assert set(missing.missing_keys) == {"classifier.weight", "classifier.bias"}, missing
    assert not missing.unexpected_keys, missing
    for parameter in backbone.classifier.parameters():
        nn.init.zeros_(parameter)
    return backbone


def as_split(sentences: Sequence[Sentence]) -> Split:
    """Token numbers and subjects."""
    labels = torch.tensor([SUBJECTS.index(sentence.subject) for sentence in sentences])
    return Split(encode([sentence.text for sentence in sentences]), labels)


def load() -> Task:
    """The embedded language task on the distilled backbone; LoRA on every dense layer before the head."""
    train, test = splits()
    backbone = build(len(SUBJECTS))
    return Task(
        name="stdlib-docs-distilled",
        backbone=backbone,
        targets=tuple(name for name, _ in backbone.named_modules() if name.endswith(TARGETS)),
        head="classifier",
        train=as_split(train),
        test=as_split(test),
        classes=SUBJECTS,
        description="sentences of docstrings by subject; MiniLM-pico was distilled on other packages' docstrings",
        notes={"python": platform.python_version()},
        public=encode(reference()),
        decode=decode,
    )
