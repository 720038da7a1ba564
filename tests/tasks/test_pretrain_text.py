"""RoBERTa-pico's pretraining in miniature: the script makes the same files twice, and measures on what it hid."""

import hashlib
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import RobertaForMaskedLM

from lalora_kit.tasks.assets import pretrain_text
from lalora_kit.tasks.assets.pretrain_text import (
    RECORD,
    TOKENIZER,
    WEIGHTS,
    hide,
    loss_of,
    pretrain,
    start_from_counts,
    unigram_loss,
)
from lalora_kit.tasks.embedded.stdlib_docs import LONGEST, MASK, PAD, SPECIAL, encode, roberta_pico


def remake(folder) -> list[str]:
    """Run the script for three steps in a process of its own and return both files' sha256."""
    command = [sys.executable, "-m", "lalora_kit.tasks.assets.pretrain_text", "--steps", "3", "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=1200)
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (WEIGHTS, TOKENIZER)]


def test_a_miniature_is_the_same_files_each_time(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with ThreadPoolExecutor() as both:
        digests = list(both.map(remake, (first, second)))
    assert digests[0] == digests[1]
    shipped = load_file(str(files("lalora_kit.tasks.assets") / WEIGHTS))
    made = load_file(first / WEIGHTS)
    assert {name: value.shape for name, value in made.items()} == {name: value.shape for name, value in shipped.items()}
    assert "held-out loss: " in (first / RECORD).read_text(encoding="utf-8")


def few() -> torch.Tensor:
    """Sixty-four sentences, half on values and half on errors, shortest first."""
    halves = ("The value of the item {}is returned.", "An error {}is raised by that function.")
    ids = encode([halves[n % 2].format("very " * (n % 7)) for n in range(64)])["input_ids"]
    return ids[(ids != PAD).sum(1).argsort(stable=True)]


def test_a_fifth_of_the_words_is_hidden_and_no_mark():
    ids = few()
    shown, hidden = hide(ids, torch.Generator().manual_seed(0))
    assert (shown[hidden] == MASK).all() and torch.equal(shown[~hidden], ids[~hidden])
    words = ids >= len(SPECIAL)
    assert not (hidden & ~words).any()
    assert float(hidden[words].double().mean()) == pytest.approx(0.2, abs=0.07)  # 4 standard deviations, one seed


def test_both_losses_begin_at_knowing_nothing_and_fall():
    ids = few()
    torch.manual_seed(0)
    untrained, trained = RobertaForMaskedLM(roberta_pico(classes=2)).eval(), pretrain(ids, steps=40)
    with torch.no_grad():
        before, after = (loss_of(model, ids, torch.Generator().manual_seed(2)) for model in (untrained, trained))
    assert float(before[0]) == pytest.approx(math.log(2048), abs=0.3) and float(before[1]) == pytest.approx(
        math.log(2048), abs=0.3
    )
    assert float(after[0]) < 0.7 * float(before[0]) and float(after[1]) < 0.7 * float(before[1])


def test_it_starts_with_words_of_one_sentence_close_and_at_their_frequencies():
    ids = few()
    model = RobertaForMaskedLM(roberta_pico(classes=2))
    before = model.roberta.embeddings.word_embeddings.weight.detach().clone()
    start_from_counts(model, ids)
    embeddings = model.roberta.embeddings.word_embeddings.weight.detach()
    words = encode(["value item error function"])["input_ids"][0, 1:5]
    value, item, error, function = F.normalize(embeddings[words], dim=1)
    assert value @ item > 0.9 and error @ function > 0.9 and value @ error < 0.1
    unseen = torch.ones(2048, dtype=torch.bool)
    unseen[ids.unique()] = False
    assert torch.equal(embeddings[unseen], before[unseen]) and torch.equal(embeddings[:5], before[:5])
    size = embeddings[~unseen][5:].square().mean().sqrt()
    assert float(size) == pytest.approx(pretrain_text.EMBEDDING_SIZE, rel=0.35)  # marks are left out, or left alone
    shares = model.lm_head.bias.detach().exp()
    assert float(shares.sum()) == pytest.approx(1.0, rel=1e-4) and shares[words[0]] == shares[words[1]]


def test_frequency_alone_costs_the_entropy_of_the_words():
    ids = torch.full((10, LONGEST), PAD)
    ids[:, 1] = torch.tensor([7] * 5 + [9] * 5)
    counts = (5 + 1) / (10 + 2048)
    assert unigram_loss(ids, ids) == pytest.approx(-math.log(counts), rel=1e-6)


def test_public_text_is_split_by_the_sentence_itself(monkeypatch):
    monkeypatch.setattr(
        pretrain_text, "public_sentences", lambda: [(f"Sentence number {n}.", "os") for n in range(400)]
    )
    known, held_out = pretrain_text.public_texts()
    assert not set(known) & set(held_out) and len(known) + len(held_out) == 400
    assert 5 <= len(held_out) <= 40  # one in twenty: 20, and five standard deviations either way
