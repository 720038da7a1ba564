"""What the teacher says of the public text: a vector a sentence, and what its word pieces mean on the average.

    python -m lalora_kit.tasks.assets.language.vectors --out build/vectors --sentences 31744

A part of 1,024 sentences is a file; a second call goes on where the first one ended. A file says of which sentences it
is: with another version of one package the text is another, and what was kept of it is refused.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lalora_kit.tasks.assets.language import teacher
from lalora_kit.tasks.assets.language.corpus import corpus

PART, BATCH, LONGEST = 1024, 32, 48  # sentences a file, sentences at once, word pieces of a sentence
#: What a file's metadata call the hash of its sentences.
TEXTS = "sha256 of the sentences"


def load_teacher() -> tuple[Any, Any]:
    """The checked teacher without a head, in eval mode, and its tokenizer.

    Raises:
        ValueError: if it is not installed, or its weights are not the published ones.
    """
    from transformers import AutoModel, AutoTokenizer

    folder = teacher.checked(teacher.installed() or Path(teacher.MODULE))
    return AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def said(model: Any, tokenizer: Any, texts: list[str]) -> dict[str, Tensor]:
    """Of `texts`: `mean` `(texts, 384)`, of each one's token vectors; `sums` and `counts` of each word piece's.

    The mean is over all tokens that are no padding, both marks included, as the teacher's own pooling has it.
    """
    width = model.config.hidden_size
    mean = torch.zeros(len(texts), width)
    sums, counts = torch.zeros(len(tokenizer), width), torch.zeros(len(tokenizer))
    order = torch.tensor([len(ids) for ids in tokenizer(texts)["input_ids"]]).argsort(stable=True)
    for rows in order.split(BATCH):
        batch = tokenizer(
            [texts[row] for row in rows.tolist()],
            truncation=True, max_length=LONGEST, padding=True, return_tensors="pt",
        )  # fmt: skip
        mask = batch["attention_mask"]
        states = model(**batch).last_hidden_state  # (sentences, tokens, width)
        mean[rows] = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        used = mask.bool()
        sums.index_add_(0, batch["input_ids"][used], states[used])
        counts += torch.bincount(batch["input_ids"][used], minlength=len(counts))
    return {"mean": mean.half(), "sums": sums, "counts": counts}


def parts(texts: list[str], folder: Path) -> Iterator[dict[str, Tensor]]:
    """`said` of each `PART` of `texts`, kept in `folder`.

    Raises:
        ValueError: naming a file of `folder` that is of other sentences.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loaded: tuple[Any, Any] | None = None
    for start in range(0, len(texts), PART):
        path, part = folder / f"{start:06d}.safetensors", texts[start : start + PART]
        read = hashlib.sha256("\n".join(part).encode()).hexdigest()
        if not path.is_file():
            loaded = loaded or load_teacher()
            save_file(said(*loaded, part), path.with_suffix(".part"), metadata={TEXTS: read})
            path.with_suffix(".part").rename(path)
        with safe_open(path, framework="pt") as kept:
            if (kept.metadata() or {}).get(TEXTS) != read:
                raise ValueError(
                    f"{path} holds the vectors of other sentences than the {len(part)} from number {start} on, and the "
                    "student must learn each sentence's own; take another folder, or delete this one"
                )
            yield {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118, for it is no mapping


def main(arguments: list[str] | None = None) -> None:
    """Fill `--out` with the vectors of the first `--sentences` of the corpus."""
    parser = argparse.ArgumentParser(prog="python -m lalora_kit.tasks.assets.language.vectors", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sentences", type=int, required=True)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for number, _ in enumerate(parts([text for text, _ in corpus()][: options.sentences], options.out)):
        print(number, flush=True)


if __name__ == "__main__":
    main()
