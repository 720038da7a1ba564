"""Made-up samples of a task's own form: what a model can be tried on without touching a private sample.

Values come from the test split, which is public, drawn anew for every place of a sample; of the training split only
sizes are used: how long its longest text is, and the largest whole number in each place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lalora_kit.tasks import Inputs, Task
from lalora_kit.tasks.padding import MASK, positions_of

IDS = "input_ids"
ENOUGH = 256  # texts whose tokens are as good as all
SPECIAL = ("pad", "bos", "eos", "sep", "cls", "unk", "mask", "decoder_start")


def pair(task: Task, generator: torch.Generator, share: float = 1.0) -> Inputs:
    """Two samples of different content, `(2, ...)` an input.

    Of texts the second is as long as the longest, or that `share` of it, and the first is half as long.
    """
    mask = task.test.inputs.get(MASK)
    tokens = texts(task, generator, share) if mask is not None and mask.ndim == 2 else {}
    return {
        name: tokens[name] if name in tokens else mixed(value, task.train.inputs.get(name), generator)
        for name, value in task.test.inputs.items()
    }


def mixed(seen: Tensor, other: Tensor | None, generator: torch.Generator) -> Tensor:
    """Two samples `(2, ...)`, each place filled with what one of the rows of `seen` `(samples, ...)` holds there.

    So every value is one that the model takes in that place. The second sample holds the largest whole numbers, which
    an embedding must have a row for.
    """
    made = seen.gather(0, torch.randint(len(seen), (2, *seen.shape[1:]), generator=generator))
    if made.is_floating_point() and torch.equal(made[0], made[1]):
        made = made + torch.randn(made.shape, generator=generator, dtype=made.dtype)
    if made.dtype in (torch.int16, torch.int32, torch.int64):
        both = [value.amax(0) for value in (seen, other) if value is not None and value.shape[1:] == seen.shape[1:]]
        made[1] = torch.stack(both).amax(0)
    return made


def longest(task: Task) -> int:
    """Tokens of the longest text of both splits, padding in front included."""
    masks = [split.inputs[MASK].bool() for split in (task.test, task.train)]
    return max(int(mask.any(0).nonzero()[-1]) + 1 for mask in masks if mask.any())


def texts(task: Task, generator: torch.Generator, share: float) -> Inputs:
    """Inputs of one value a token, `(2, tokens)`: see `pair`.

    Both are made like the longest test text: its special tokens stay, as some models look for them, and all other
    tokens are drawn from those that test texts hold.
    """
    inputs, masks = task.test.inputs, [split.inputs[MASK].bool() for split in (task.test, task.train)]
    used = masks[0]
    row = int(used.sum(1).argmax())
    real = used[row].nonzero()[:, 0]
    special = torch.isin(inputs[IDS][row, real], special_tokens(task.backbone)) if IDS in inputs else real < 0
    in_front = any(bool((mask.any(1) & ~mask[:, 0]).any()) for mask in masks)
    most = max(int(mask.sum(1).max()) for mask in masks)
    cut = int(most * (1 - share))
    width = longest(task) - cut
    picked = [real[chosen(special, length)] for length in ((most - cut) // 2, most - cut)]
    width = max(width, *map(len, picked))  # special tokens are never left out
    made = {}
    for name, value in inputs.items():
        if value.shape == used.shape:
            fill = value[:ENOUGH][~used[:ENOUGH]]
            empty = fill[0] if len(fill) else padding_of(task.backbone) if name == IDS else 0
            made[name] = torch.full((2, width), int(empty), dtype=value.dtype)
            for text, places in enumerate(picked):
                span = slice(width - len(places), width) if in_front else slice(0, len(places))
                made[name][text, span] = 1 if name == MASK else value[row, places]
    if IDS in made:
        other_words(task, made, generator)
    return made


def chosen(special: Tensor, length: int) -> Tensor:
    """Which places of a text to take for one of `length` tokens: all special ones, and the first of the others."""
    free = int((~special).sum())
    wanted = max(length - int(special.sum()), min(free, 1))
    kept = special | ((~special).cumsum(0) <= wanted)
    times = kept.long()
    if wanted > free:
        last = int((~special).nonzero()[-1]) if free else 0
        times[last] += wanted - free
    return torch.arange(len(special)).repeat_interleave(times)


def other_words(task: Task, made: Inputs, generator: torch.Generator) -> None:
    """Draw all tokens of `made` anew that are neither special nor padding; one is the largest that any text holds."""
    ids, seen = made[IDS], task.test.inputs[IDS][:ENOUGH]
    fixed = special_tokens(task.backbone)
    pool = seen[task.test.inputs[MASK][:ENOUGH].bool()].unique()
    pool = pool[~torch.isin(pool, fixed)]
    free = made[MASK].bool() & ~torch.isin(ids, fixed)
    if not len(pool) or not free.any():
        return
    ids[free] = pool[torch.randint(len(pool), (int(free.sum()),), generator=generator)]
    last, largest = free[1].nonzero()[-1:], max(int(split.inputs[IDS].max()) for split in (task.test, task.train))
    if len(last) and largest not in fixed:
        ids[1, last] = largest


def special_tokens(backbone: nn.Module) -> Tensor:
    """Tokens that a model's configuration gives a meaning, `(k,)`; none where it has no configuration."""
    config = getattr(backbone, "config", None)
    found = (getattr(config, f"{name}_token_id", None) for name in SPECIAL)
    return torch.tensor([value for value in found if isinstance(value, int)], dtype=torch.long)


def padding_of(backbone: nn.Module) -> int:
    """The padding token by a model's configuration, or 0."""
    value = getattr(getattr(backbone, "config", None), "pad_token_id", None)
    return value if isinstance(value, int) else 0


def check_positions(task: Task) -> None:
    """Refuse texts that are longer than the backbone's table of positions."""
    most, long = positions_of(task.backbone), longest(task) if MASK in task.train.inputs else 0
    if most is not None and long > most:
        raise ValueError(
            f"task {task.name!r} holds a text of {long} tokens, and its backbone has positions for {most}; cut the "
            f"texts at {most} tokens (max_length={most} of the tokenizer, with truncation=True)"
        )
