"""Make MiniLM-pico: `python -m lalora_kit.tasks.assets.language.distil --vectors build/vectors`.

The teacher's mean vectors of public sentences (`vectors`) become the student's pooled vector, by one linear layer that
is thrown away afterwards. The student's words start from what the teacher says of them on the average, along the
directions in which that varies most; then its one layer and they learn together. Private text is never read: see
`corpus`.

The script fixes its own seed and thread count; the same versions, packages and kind of processor give the same file.
The record beside the weights names the teacher, its licence and hash, and every package of the text with its licence.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from lalora_kit.tasks.assets.language import teacher
from lalora_kit.tasks.assets.language.corpus import corpus, licences
from lalora_kit.tasks.assets.language.vectors import parts
from lalora_kit.tasks.assets.pretrain import descend
from lalora_kit.tasks.embedded.minilm_pico import SPECIAL, VOCABULARY, WEIGHTS, WIDTH, encode, minilm_pico, word_pieces

RECORD = "minilm_pico.json"
SENTENCES = 31 * 1024
SEED, STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 0, 2500, 64, 3e-3, 0.05
#: A piece is kept if the public text has it so often; all signs and letters of ASCII are kept as pieces too.
LEAST = 3
#: Root mean square of a word's embedding at the start, and how many sightings a mean is halved towards nothing by.
EMBEDDING_SIZE, DOUBT = 0.1, 20
HELD_OUT_ONE_IN = 20


def main(arguments: list[str] | None = None) -> None:
    """Distil, measure, and write weights, pieces and record into `--out` (default: beside this script)."""
    parser = argparse.ArgumentParser(prog="python -m lalora_kit.tasks.assets.language.distil", description=__doc__)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--sentences", type=int, default=SENTENCES)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    lines = corpus()
    read = [text for text, _ in lines[: options.sentences]]
    found = list(parts(read, options.vectors))
    means = torch.cat([part["mean"].float() for part in found])
    sums, counts = (torch.stack([part[name] for part in found]).sum(0) for name in ("sums", "counts"))
    started = time.process_time()
    vocabulary, numbers = kept_pieces([text for text, _ in lines])
    ids, targets = encode(read, word_pieces(vocabulary))["input_ids"], standard(means)
    held = torch.arange(len(ids)) % HELD_OUT_ONE_IN == 0
    start = start_of(sums[numbers], counts[numbers])
    model, reader = distil(start, ids[~held], targets[~held], options.steps)
    measured = agreement(model, reader, ids[held], targets[held])
    write(options, model, vocabulary, time.process_time() - started, measured, Counter(name for _, name in lines))


def kept_pieces(texts: list[str]) -> tuple[list[str], Tensor]:
    """The student's word pieces, and their numbers in the teacher's vocabulary."""
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(teacher.checked(teacher.installed() or Path(teacher.MODULE)))
    cut, numbers = theirs.backend_tokenizer, theirs.get_vocab()
    cut.no_padding()
    cut.no_truncation()
    seen: Counter[str] = Counter()
    for line in cut.encode_batch(texts, add_special_tokens=False):
        seen.update(line.tokens)
    kept = [piece for piece in sorted(numbers, key=numbers.__getitem__) if piece not in SPECIAL]
    kept = [piece for piece in kept if seen[piece] >= LEAST or (len(piece.removeprefix("##")) == 1 and piece.isascii())]
    vocabulary = [*SPECIAL, *kept]
    return vocabulary, torch.tensor([numbers[piece] for piece in vocabulary])


def standard(means: Tensor) -> Tensor:
    """Centred, and of variance one as a whole: `(sentences, 384)`."""
    centred = means - means.mean(0)
    return centred / centred.square().mean().sqrt()


def start_of(sums: Tensor, counts: Tensor) -> Tensor:
    """Embeddings `(pieces, WIDTH)`: the teacher's mean vector of a piece in `WIDTH` principal directions; 0 if unseen.

    A piece that was seen n times counts n / (n + `DOUBT`) of its mean: a single sighting says more of its sentence.
    """
    known = counts > 0
    known[: len(SPECIAL)] = False
    apart = sums / counts.clamp(min=1)[:, None] - sums[known].sum(0) / counts[known].sum()
    apart = apart * (counts / (counts + DOUBT))[:, None] * known[:, None]
    weighed = (apart * counts.sqrt()[:, None]).double()
    _, directions = torch.linalg.eigh(weighed.T @ weighed)
    found = apart @ directions[:, -WIDTH:].float()
    return found * (EMBEDDING_SIZE / found[known].square().mean().sqrt())


def pooled(model: Any, ids: Tensor) -> Tensor:
    """What the head sees: `(sentences, WIDTH)`."""
    mask = ids != SPECIAL.index("[PAD]")
    longest = int(mask.sum(1).max())
    return model.bert(input_ids=ids[:, :longest], attention_mask=mask[:, :longest].long()).pooler_output


def distil(start: Tensor, ids: Tensor, targets: Tensor, steps: int) -> tuple[Any, nn.Linear]:
    """The student and the layer that reads the teacher's vector from it; batches are of sentences of like length."""
    from transformers import BertForSequenceClassification

    generator = torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)  # transformers initialises from the global stream
        model = BertForSequenceClassification(minilm_pico(len(start), classes=2)).train()
        reader = nn.Linear(WIDTH, targets.shape[1])
    known = start.abs().sum(1) > 0
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[known] = start[known]
    order = (ids != SPECIAL.index("[PAD]")).sum(1).argsort(stable=True)
    ids, targets = ids[order], targets[order]

    def loss() -> Tensor:
        at = int(torch.randint(len(ids) - BATCH + 1, (1,), generator=generator))
        said, truth = reader(pooled(model, ids[at : at + BATCH])), targets[at : at + BATCH]
        return F.mse_loss(said, truth) + 1 - F.cosine_similarity(said, truth).mean()

    descend(nn.ModuleList([model.bert, reader]), loss, steps, LEARNING_RATE, WEIGHT_DECAY)
    return model.eval(), reader


@torch.no_grad()
def agreement(model: Any, reader: nn.Linear, ids: Tensor, targets: Tensor) -> float:
    """Mean cosine between the teacher's centred vectors and what is read of the student, on held-out sentences."""
    said = torch.cat([reader(pooled(model, part)) for part in ids.split(256)])
    return float(F.cosine_similarity(said, targets).mean())


def write(
    options: argparse.Namespace, model: Any, vocabulary: list[str], seconds: float, cosine: float, texts: Counter[str]
) -> None:
    """Weights in half precision, pieces and record."""
    import tokenizers
    import transformers

    options.out.mkdir(parents=True, exist_ok=True)
    tensors = {f"bert.{name}": value.half().contiguous() for name, value in model.bert.state_dict().items()}
    save_file(tensors, options.out / WEIGHTS)
    (options.out / VOCABULARY).write_text("".join(f"{piece}\n" for piece in vocabulary), encoding="utf-8")
    digests = {name: hashlib.sha256((options.out / name).read_bytes()).hexdigest() for name in (WEIGHTS, VOCABULARY)}
    packages = licences()
    library = {name: count for name, count in sorted(texts.items()) if name not in {row["package"] for row in packages}}
    about = {
        "file": WEIGHTS,
        "sha256": digests[WEIGHTS],
        "vocabulary": VOCABULARY,
        "vocabulary sha256": digests[VOCABULARY],
        "teacher": {"name": teacher.NAME, "licence": teacher.LICENCE, "sha256": teacher.SHA256},
        "command": "python -m lalora_kit.tasks.assets.language.distil --vectors build/vectors "
        f"--sentences {options.sentences} --steps {options.steps}",
        "made with": {
            "Python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "machine": f"{platform.machine()}, 1 thread",
        "processor seconds": round(seconds),
        "training": f"seed {SEED}, {options.steps} steps of {BATCH} sentences, AdamW, rate {LEARNING_RATE}",
        "public set": f"{sum(texts.values())} sentences, of which the teacher has read {options.sentences}; "
        "none is a sentence of task stdlib-docs, nor one but for capitals and signs",
        "held-out cosine": round(cosine, 4),
        "packages": [{**row, "sentences": texts[row["package"]]} for row in packages],
        "Python's own modules": {"licence": "PSF-2.0", "sentences": sum(library.values()), "modules": sorted(library)},
    }
    (options.out / RECORD).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
