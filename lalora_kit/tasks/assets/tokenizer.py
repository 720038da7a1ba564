"""The tokenizer of RoBERTa-pico: trained on public sentences, and the token numbers that pretraining reads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lalora_kit.tasks.embedded.stdlib_docs import LONGEST, PAD, SPECIAL, VOCABULARY

ORDER_SEED = 0  # of the order among sentences of one length


def train_tokenizer(texts: list[str]) -> Any:
    """A byte-level BPE of `VOCABULARY` pieces without capitals, that marks, cuts and pads as the task does."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    bpe.enable_truncation(LONGEST)
    bpe.enable_padding(pad_id=PAD, pad_token="<pad>", length=LONGEST)
    return bpe


def token_numbers(bpe: Any, lines: list[tuple[str, str]]) -> Tensor:
    """Token numbers `(sentences, LONGEST)`, the shortest sentence first, those of one length in random order."""
    ids = torch.tensor([line.ids for line in bpe.encode_batch([text for text, _ in lines])])
    ids = ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(ORDER_SEED))]
    return ids[(ids != PAD).sum(1).argsort(stable=True)]
