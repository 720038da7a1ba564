"""Make the shipped weights of Swin-pico, on public glyphs only: `python -m lalora_kit.tasks.assets.pretrain`.

The backbone learns to name upright, white-on-black printed letters; digits, handwriting, black ink and
sideways sheets are left for the private task. The script fixes its own seed, thread count and algorithms, so
the same versions on the same kind of processor give the same file, and it writes a record of how the file was
made beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from lalora_kit.tasks.assets.glyphs import DIGITS, HELD_OUT_FONTS, LETTERS, TRAIN_FONTS, augment, draw
from lalora_kit.tasks.embedded.digits import build_swin_pico, normalise, private_splits

WEIGHTS, RECORD = "swin_pico.safetensors", "swin_pico.txt"
SEED, STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 0, 2500, 128, 2e-3, 0.05


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, and write the weights and their record into `--out` (default: beside this script)."""
    parser = argparse.ArgumentParser(prog="python -m lalora_kit.tasks.assets.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    started = time.perf_counter()
    model = pretrain(options.steps)
    seconds = time.perf_counter() - started
    options.out.mkdir(parents=True, exist_ok=True)
    digest = save_backbone(model, options.out / WEIGHTS)
    text = record(digest, options.steps, seconds, held_out_accuracy(model), zero_shot_accuracy(model))
    (options.out / RECORD).write_text(text, encoding="utf-8")


def pretrain(steps: int, seed: int = SEED) -> nn.Module:
    """A Swin-pico that has learnt `LETTERS` in `TRAIN_FONTS`, in eval mode, its letter head still on."""
    generator = torch.Generator().manual_seed(seed)
    bitmaps, labels = draw(LETTERS, TRAIN_FONTS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # timm initialises from the global stream
        model = build_swin_pico(len(LETTERS)).train()

    def loss() -> Tensor:
        index = torch.randint(len(labels), (BATCH,), generator=generator)
        images = normalise(augment(bitmaps[index], generator))
        return F.cross_entropy(model(images), labels[index])

    return descend(model, loss, steps, LEARNING_RATE, WEIGHT_DECAY)


def descend(model: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float, decay: float) -> nn.Module:
    """AdamW down `loss`, which draws its own batch; gradients are clipped to 1, the rate runs up and down again."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, steps))
    for _ in range(steps):
        now = loss()
        optimizer.zero_grad()
        now.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def rate_factor(step: int, steps: int) -> float:
    """Share of the learning rate at `step`: a tenth of the run up, the rest down along half a cosine."""
    warm_up = max(1, steps // 10)
    return min((step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * max(0, step - warm_up) / steps))


def save_backbone(model: nn.Module, path: Path) -> str:
    """Write every tensor but the letter head, in float32, and return the file's sha256."""
    tensors = {name: value.contiguous() for name, value in model.state_dict().items() if not name.startswith("head.")}
    save_file(tensors, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def glyphs(characters: str, fonts: tuple[str, ...], samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """`samples` roughened, normalised glyphs and their labels, drawn with a seed of their own."""
    generator = torch.Generator().manual_seed(seed)
    bitmaps, labels = draw(characters, fonts)
    index = torch.randint(len(labels), (samples,), generator=generator)
    return normalise(augment(bitmaps[index], generator)), labels[index]


@torch.no_grad()
def held_out_accuracy(model: nn.Module) -> float:
    """Share of 2,000 roughened letters in `HELD_OUT_FONTS` that the letter head names rightly."""
    images, labels = glyphs(LETTERS, HELD_OUT_FONTS, samples=2000, seed=SEED + 1)
    return (model(images).argmax(1) == labels).double().mean().item()


@torch.no_grad()
def zero_shot_accuracy(model: nn.Module) -> float:
    """Accuracy on the digits' test set of the nearest class mean, by cosine, of *rendered* digits' features.

    The letter head knows no digits, so the means come from 4,000 printed digits, white on black, in the
    training fonts. No private sample sets anything here.
    """
    images, labels = glyphs(DIGITS, TRAIN_FONTS, samples=4000, seed=SEED + 2)
    known = features(model, images)
    centre = known.mean(0)
    means = torch.stack([known[labels == digit].mean(0) for digit in range(len(DIGITS))]) - centre
    test = private_splits()[1]
    scores = F.normalize(features(model, test.inputs["x"]) - centre, dim=1) @ F.normalize(means, dim=1).T
    return (scores.argmax(1) == test.labels).double().mean().item()


def features(model: nn.Module, images: Tensor) -> Tensor:
    """What the head sees: `(samples, features)`."""
    return model.forward_head(model.forward_features(images), pre_logits=True)  # type: ignore[operator]


def record(digest: str, steps: int, seconds: float, held_out: float, zero_shot: float) -> str:
    """The text beside the weights: how they were made, and how good they are."""
    import matplotlib
    import PIL
    import timm

    versions = f"Python {platform.python_version()}, torch {torch.__version__}, timm {timm.__version__}"
    rows = {
        "file": WEIGHTS,
        "sha256": digest,
        "command": f"python -m lalora_kit.tasks.assets.pretrain --steps {steps}",
        "made with": f"{versions}, matplotlib {matplotlib.__version__} (fonts), Pillow {PIL.__version__}",
        "machine": f"{platform.machine()}, 1 thread",
        "seconds": f"{seconds:.0f}",
        "training": f"seed {SEED}, {steps} steps of {BATCH} glyphs, AdamW, rate {LEARNING_RATE}",
        "public set": f"{len(LETTERS)} letters, white on black: {LETTERS}",
        "training fonts": ", ".join(TRAIN_FONTS),
        "held-out fonts": ", ".join(HELD_OUT_FONTS),
        "held-out letters": f"{held_out:.4f} of 2000 roughened letters in the held-out fonts",
        "zero-shot digits": f"{zero_shot:.4f} of the private task's test set (handwritten, sideways, black on "
        "white), by the nearest class mean of 4000 rendered upright white-on-black digits' features; chance is 0.1",
    }
    return "".join(f"{name}: {value}\n" for name, value in rows.items())


if __name__ == "__main__":
    main()
