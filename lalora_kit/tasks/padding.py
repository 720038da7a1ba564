"""Padding: texts are stored padded to one length; what a step computes is padded only to its chunk's longest.

A backbone gives padding no attention, so the numbers stay the same but for rounding. Texts of like length are taken
together, so that little is left to trim around.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lalora_kit.tasks import Inputs

MASK = "attention_mask"
#: Texts that are taken at once where nothing smaller is asked for: many chunks of like length, each trimmed.
TEXTS = 128


def by_length(inputs: Inputs) -> Tensor:
    """The order `(samples,)` in which lengths grow; the order they are in where inputs carry no mask (pictures)."""
    samples = len(next(iter(inputs.values())))
    if MASK not in inputs:
        return torch.arange(samples)
    return inputs[MASK].sum(1).argsort(stable=True)


def widths_of(mask: Tensor) -> Tensor:
    """The columns `(samples,)` of each text up to its last word; none of a text without a word."""
    return (mask.ne(0) * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(1)


def trimmed(inputs: Inputs, longest: int | None = None) -> Inputs:
    """Without the last columns that are padding in every sample; `(samples, longest)` each.

    Padding in front stays: where positions are counted from the left, taking it away would move the words. `longest`
    is the largest of `widths_of`; None looks at the mask, which makes the host wait for it. Nothing is taken from
    texts without a single word.
    """
    if MASK not in inputs:
        return inputs
    mask = inputs[MASK]
    longest = (int(widths_of(mask).amax()) if longest is None else longest) or mask.shape[1]
    return {name: value[:, :longest] if value.shape == mask.shape else value for name, value in inputs.items()}


#: What libraries call the table that has a row for each position of a text.
TABLES = ("position_embeddings", "position_embedding", "embed_positions", "wpe")


def positions_of(model: nn.Module) -> int | None:
    """How many tokens a model has positions for; None where it has no table of them.

    RoBERTa and its kin count from the row after their padding's, and BART and its kin keep the first two rows free.
    """
    found = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in TABLES:
            taken = getattr(module, "offset", 0) if module.padding_idx is None else module.padding_idx + 1
            found.append(module.num_embeddings - int(taken))
    return min(found, default=None)
