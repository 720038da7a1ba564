"""Make the shipped RoBERTa-pico and its tokenizer: `python -m lalora_kit.tasks.assets.pretrain_text`.

It learns by masked language modelling on public text alone: the docstrings of library modules that belong to none
of the task's four subjects, and the language reference. A fifth of a sentence's words is hidden, and is predicted
twice: from its own place, and from the sentence's first token, which is all that the classifier will read. Its
embeddings start from counts of which words share sentences, in the same text.

The script fixes its own seed, thread count and algorithms, so the same versions on the same kind of processor give
the same files, and it writes a record of how they were made beside them. The text depends on the Python version.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from lalora_kit.tasks.assets.pretrain import descend
from lalora_kit.tasks.assets.tokenizer import token_numbers, train_tokenizer
from lalora_kit.tasks.embedded.docstrings import number_of, public_sentences
from lalora_kit.tasks.embedded.stdlib_docs import (
    MASK,
    PAD,
    SPECIAL,
    TOKENIZER,
    VOCABULARY,
    WEIGHTS,
    roberta_pico,
)

RECORD = "roberta_pico.txt"
SEED, STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY, HIDDEN_SHARE = 0, 2000, 64, 3e-3, 0.05, 0.2
#: Root mean square of a word's embedding at the start.
EMBEDDING_SIZE = 0.1
#: One public sentence in twenty is held out, to measure on.
HELD_OUT_ONE_IN = 20


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, and write weights, tokenizer and record into `--out` (default: beside this script)."""
    parser = argparse.ArgumentParser(prog="python -m lalora_kit.tasks.assets.pretrain_text", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args(arguments)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    started = time.process_time()
    known, held_out = public_texts()
    bpe = train_tokenizer([text for text, _ in known])
    ids = token_numbers(bpe, known)
    model = pretrain(ids, options.steps)
    seconds = time.process_time() - started
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / TOKENIZER).write_text(bpe.to_str(), encoding="utf-8")
    digest = save_backbone(model, options.out / WEIGHTS)
    losses = held_out_losses(model, token_numbers(bpe, held_out))
    unigram = unigram_loss(ids, token_numbers(bpe, held_out))
    text = record(digest, options, seconds, (*losses, unigram), probe(model, bpe, known, held_out), known, held_out)
    (options.out / RECORD).write_text(text, encoding="utf-8")


def public_texts() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """`(sentence, module)` to learn from, and those held out."""
    both: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for text, module in public_sentences():
        both[number_of(text) % HELD_OUT_ONE_IN == 0].append((text, module))
    return both


def hide(ids: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A copy with a fifth of the words masked, and where, `(sentences, tokens)`."""
    hidden = (torch.rand(ids.shape, generator=generator) < HIDDEN_SHARE) & (ids >= len(SPECIAL))
    return ids.masked_fill(hidden, MASK), hidden


def loss_of(model: Any, ids: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the hidden words in nats: from their own places, and from the first token."""
    shown, hidden = hide(ids, generator)
    states = model.roberta(input_ids=shown, attention_mask=(ids != PAD).long()).last_hidden_state
    own = F.cross_entropy(model.lm_head(states[hidden]), ids[hidden])
    rows = hidden.nonzero()[:, 0]
    first = F.cross_entropy(model.lm_head(states[:, 0]).index_select(0, rows), ids[hidden])
    return own, first


@torch.no_grad()
def start_from_counts(model: Any, ids: Tensor) -> None:
    """Words' embeddings from the words that they share sentences with, and the output's bias from their frequency.

    Without it a run of some thousand steps hardly learns more than frequencies. Positive pointwise mutual information
    by its largest eigenvectors: Levy and Goldberg 2014, "Neural word embedding as implicit matrix factorization".
    """
    words = torch.zeros(len(ids), VOCABULARY).scatter_(1, ids, 1.0)
    words[:, : len(SPECIAL)] = 0
    together = (words.T @ words).double()  # (vocabulary, vocabulary): whole numbers, exact in float32
    known = together.diagonal() > 0
    share = together.diagonal().clamp(min=1)
    information = (together * len(ids) / (share[:, None] * share)).clamp(min=1).log().fill_diagonal_(0)
    values, vectors = torch.linalg.eigh(information)
    width = model.config.hidden_size
    found = vectors[:, -width:] * values[-width:].clamp(min=0).sqrt()
    found *= EMBEDDING_SIZE / found[known].square().mean().sqrt()
    model.roberta.embeddings.word_embeddings.weight[known] = found[known].float()
    counts = torch.bincount(ids[ids >= len(SPECIAL)], minlength=VOCABULARY).float() + 1
    model.lm_head.bias.copy_((counts / counts.sum()).log())


def pretrain(ids: Tensor, steps: int, seed: int = SEED) -> Any:
    """A RoBERTa-pico that has read `ids`, shortest first: batches of sentences of like length are trimmed to it."""
    from transformers import RobertaForMaskedLM

    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # transformers initialises from the global stream
        model = RobertaForMaskedLM(roberta_pico(classes=2)).train()
    start_from_counts(model, ids)

    def loss() -> Tensor:
        start = int(torch.randint(len(ids) - BATCH + 1, (1,), generator=generator))
        batch = ids[start : start + BATCH]
        own, first = loss_of(model, batch[:, : int((batch[-1] != PAD).sum())], generator)
        return own + first

    return descend(model, loss, steps, LEARNING_RATE, WEIGHT_DECAY)


def save_backbone(model: Any, path: Path) -> str:
    """Write the encoder and its embeddings, in float32, and return the file's sha256."""
    save_file({f"roberta.{name}": value.contiguous() for name, value in model.roberta.state_dict().items()}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@torch.no_grad()
def held_out_losses(model: Any, ids: Tensor) -> tuple[float, float]:
    """Both losses on held-out public sentences, the same words hidden each time."""
    own, first = loss_of(model, ids, torch.Generator().manual_seed(SEED + 1))
    return own.item(), first.item()


def unigram_loss(ids: Tensor, held_out: Tensor) -> float:
    """Mean cross-entropy of guessing by frequency alone (add-one smoothed): what knowing nothing costs."""
    counts = torch.bincount(ids[ids >= len(SPECIAL)], minlength=VOCABULARY).double() + 1
    return float((counts.sum().log() - counts.log())[held_out[held_out >= len(SPECIAL)]].mean())


@torch.no_grad()
def features(model: Any, bpe: Any, texts: list[str]) -> Tensor:
    """What the classifier reads: the first token's state, `(sentences, width)`."""
    ids = torch.tensor([line.ids for line in bpe.encode_batch(texts)])
    parts = ids.split(512)
    states = (model.roberta(input_ids=part, attention_mask=(part != PAD).long()).last_hidden_state for part in parts)
    return torch.cat([state[:, 0] for state in states])


def probe(model: Any, bpe: Any, known: list[tuple[str, str]], held_out: list[tuple[str, str]]) -> tuple[float, float]:
    """How well a linear classifier of the frozen features names the four largest public modules; and the majority.

    Public sentences alone: it stands in for the private task where the pretraining's own choices are made.
    """
    from sklearn.linear_model import LogisticRegression

    largest = [module for module, _ in Counter(module for _, module in known).most_common(4)]
    sides = [[(text, module) for text, module in side if module in largest] for side in (known, held_out)]
    inputs = [features(model, bpe, [text for text, _ in side]).double().numpy() for side in sides]
    labels = [[module for _, module in side] for side in sides]
    share = Counter(labels[1]).most_common(1)[0][1] / len(labels[1])
    fitted = LogisticRegression(max_iter=2000).fit(inputs[0], labels[0])
    return float(fitted.score(inputs[1], labels[1])), share


def record(
    digest: str,
    options: argparse.Namespace,
    seconds: float,
    losses: tuple[float, float, float],
    probed: tuple[float, float],
    known: list[tuple[str, str]],
    held_out: list[tuple[str, str]],
) -> str:
    """The text beside the weights: how they were made, and how good they are."""
    import tokenizers
    import transformers

    versions = (
        f"Python {platform.python_version()} (its documentation is the text), torch {torch.__version__}, "
        f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    )
    rows = {
        "file": WEIGHTS,
        "sha256": digest,
        "tokenizer": TOKENIZER,
        "tokenizer sha256": hashlib.sha256((options.out / TOKENIZER).read_bytes()).hexdigest(),
        "command": f"python -m lalora_kit.tasks.assets.pretrain_text --steps {options.steps}",
        "made with": versions,
        "machine": f"{platform.machine()}, 1 thread",
        "processor seconds": f"{seconds:.0f}",
        "training": f"seed {SEED}, {options.steps} steps of {BATCH} sentences, AdamW, rate {LEARNING_RATE}",
        "public set": f"{len(known)} sentences of {len({module for _, module in known})} modules outside the task's "
        f"four subjects, the test suite and the language reference among them; {len(held_out)} more are held out",
        "held-out loss": f"{losses[0]:.3f} nats a hidden word from its own place, {losses[1]:.3f} from the first "
        f"token; by word frequency alone {losses[2]:.3f}",
        "linear probe": f"{probed[0]:.4f} of held-out sentences of the four largest public modules are named rightly "
        f"by logistic regression on the first token's state; the largest of them alone is {probed[1]:.4f}",
    }
    return "".join(f"{name}: {value}\n" for name, value in rows.items())


if __name__ == "__main__":
    main()
