"""Make the weights of Swin-pico-32 on printed letters: `python -m lalora_kit.tasks.assets.letters.pretrain`.

The backbone learns to name 52 letters of open fonts, bent as many hands would bend them; some of the fonts imitate
handwriting. It sees no digit and no photograph: turned sheets, distance and poor light are left for the private task.
Seed, one thread and algorithms are fixed, so the same versions and fonts on the same kind of processor give the same
file; a run that was stopped goes on from its last state, to the same end. The fonts are Debian's: see
`lalora_kit.tasks.assets.letters.fonts`; the record beside the weights lists them.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lalora_kit.base.files import dumps
from lalora_kit.tasks.assets.letters import fonts
from lalora_kit.tasks.assets.pretrain import features, rate_factor, save_backbone
from lalora_kit.tasks.embedded.camera import SIDE
from lalora_kit.tasks.embedded.digits import normalise
from lalora_kit.tasks.embedded.mnist import nearest, printed, splits
from lalora_kit.tasks.embedded.swin_pico_32 import WEIGHTS, build

RECORD, STATE = "swin_pico_32.json", "swin_pico_32.state"
SEED, STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 0, 12_000, 128, 2e-3, 0.05, 0.05
SAVED_EVERY = 200
TURN, SLANT, SHIFT, BEND, STRETCH, INK, GRAIN = 0.3, 0.4, 0.1, 0.15, (-0.2, 0.4), (0.7, 1.3), 0.1


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, and write weights and record into `--out` (default: beside this script)."""
    parser = argparse.ArgumentParser(prog="python -m lalora_kit.tasks.assets.letters.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    options.out.mkdir(parents=True, exist_ok=True)
    bank, classes, names = fonts.bank()
    images, labels = torch.from_numpy(bank).unsqueeze(1), torch.from_numpy(classes)
    held_out = fonts.held_out(len(labels))
    state = options.out / STATE
    model, seconds = pretrain(images[~held_out], labels[~held_out], options.steps, state)
    letters = letters_named(model, images[held_out], labels[held_out])
    digest = save_backbone(model, options.out / WEIGHTS)
    about = {"file": WEIGHTS, "sha256": digest, **record(options.steps, seconds, names),
             "letters in held-out fonts": letters, "digits by the frozen features": digits_told(model)}  # fmt: skip
    (options.out / RECORD).write_text(dumps(about) + "\n", encoding="utf-8")
    state.unlink()


def pretrain(images: Tensor, labels: Tensor, steps: int, state: Path) -> tuple[nn.Module, float]:
    """A Swin-pico-32 that has learnt letters `(n, 1, 40, 40)`, in eval mode, and the processor seconds it took.

    Every `SAVED_EVERY` steps all that the rest depends on is written to `state`, at once or not at all.
    """
    generator = torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)  # timm initialises from the global stream
        model = build(len(fonts.CLASSES)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, steps))
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    done, spent = 0, 0.0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        generator.set_state(saved["generator"])
        done, spent = saved["done"], saved["spent"]
    begun = time.process_time()
    for step in range(done, steps):
        index = torch.randint(len(labels), (BATCH,), generator=generator)
        scores = model(augment(images[index].float() / 255, generator))
        loss = F.cross_entropy(scores, labels[index], label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % SAVED_EVERY == 0:
            whole: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
            save(state, {**whole, "generator": generator.get_state(), "done": step + 1,
                         "spent": spent + time.process_time() - begun})  # fmt: skip
    return model.eval(), spent + time.process_time() - begun


def save(path: Path, state: dict[str, Any]) -> None:
    """Written beside its place and renamed into it, after it has reached the disk."""
    beside = path.with_suffix(".new")
    with open(beside, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def augment(letters: Tensor, generator: torch.Generator) -> Tensor:
    """Letters `(n, 1, 40, 40)` in [0, 1] as many hands would write them, `(n, 1, 32, 32)` in [-1, 1]."""
    n = len(letters)
    bent = F.grid_sample(letters, places(n, generator), align_corners=False)
    images = F.interpolate(stroke(bent, generator), (SIDE, SIDE), mode="area")
    images = images * even(n, *INK, generator)
    images = images + torch.randn(images.shape, generator=generator) * even(n, 0, GRAIN, generator)
    return normalise(images.clamp(0, 1))


def even(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """One even draw an image, `(n, 1, 1, 1)`."""
    return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator)


def stroke(images: Tensor, generator: torch.Generator) -> Tensor:
    """A quarter of the images with thicker ink, a quarter thinner, some much thicker, the rest as they are."""
    choice = even(len(images), 0, 4, generator)
    thick = F.max_pool2d(images, 3, 1, 1)
    thicker = F.max_pool2d(thick, 3, 1, 1)
    thin = torch.maximum(-F.max_pool2d(-images, 3, 1, 1), 0.5 * images)  # hairlines fade but stay
    return torch.where(choice < 1, thick, torch.where(choice < 2, thin, torch.where(choice < 2.6, thicker, images)))


def places(n: int, generator: torch.Generator) -> Tensor:
    """Where in a letter each pixel of an image lies, `(n, 40, 40, 2)`; ±1 are the letter's edges.

    Turned by up to `TURN` rad, slanted, each axis stretched by e to the power of `STRETCH`, shifted, and bent smoothly
    by up to `BEND` times a bell-shaped draw on a coarse or a fine mesh.
    """
    turn, slant = (even(n, -most, most, generator).flatten() for most in (TURN, SLANT))
    wide, high = torch.exp(STRETCH[0] + (STRETCH[1] - STRETCH[0]) * torch.rand(2, n, generator=generator))
    across, up = SHIFT * (2 * torch.rand(2, n, generator=generator) - 1)
    cosine, sine = turn.cos(), turn.sin()
    theta = torch.stack(
        [
            torch.stack([cosine * wide, -sine * high, across], 1),
            torch.stack([(slant * cosine + sine) * wide, (cosine - slant * sine) * high, up], 1),
        ],
        1,
    )
    size = (fonts.BANK, fonts.BANK)
    grid = F.affine_grid(theta, [n, 1, *size], align_corners=False)
    coarse, fine = (
        F.interpolate(torch.randn(n, 2, mesh, mesh, generator=generator), size, mode="bicubic", align_corners=True)
        for mesh in (4, 7)
    )
    bend = torch.where(even(n, 0, 1, generator) < 0.5, coarse, 0.6 * fine) * even(n, 0, BEND, generator)
    return grid + bend.permute(0, 2, 3, 1)


@torch.no_grad()
def letters_named(model: nn.Module, images: Tensor, labels: Tensor, samples: int = 2000) -> float:
    """Share of letters in fonts that pretraining has not seen, as `augment` gives them, that are named rightly."""
    generator = torch.Generator().manual_seed(SEED + 1)
    index = torch.randint(len(labels), (samples,), generator=generator)
    scores = model(augment(images[index].float() / 255, generator))
    return (scores.argmax(1) == labels[index]).double().mean().item()


@torch.no_grad()
def digits_told(model: nn.Module) -> dict[str, dict[str, float]]:
    """What the frozen features can tell of digits: nothing here sets a weight, and nothing here is private."""
    from sklearn.linear_model import LogisticRegression

    told = {}
    for name, photographed in (("photographed", True), ("upright", False)):
        public, characters = printed(photographed)
        train, test = splits(photographed)
        known, seen, asked = (features(model, x).double() for x in (public["x"], train.inputs["x"], test.inputs["x"]))
        centre, spread = known.mean(0), known.std(0)
        known, seen, asked = ((x - centre) / spread for x in (known, seen, asked))
        guess = nearest(known, characters, asked)
        linear = LogisticRegression(C=0.1, max_iter=500).fit(seen, train.labels)
        told[name] = {
            "by the nearest mean of printed digits": (guess == test.labels).double().mean().item(),
            "by a linear model of the training digits, not private": linear.score(asked, test.labels),
        }
    return told


def record(steps: int, seconds: float, names: list[str]) -> dict[str, Any]:
    """How the weights were made."""
    import matplotlib
    import PIL
    import timm

    return {
        "command": f"python -m lalora_kit.tasks.assets.letters.pretrain --steps {steps}",
        "made with": {
            "Python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__,
            "matplotlib": matplotlib.__version__, "Pillow": PIL.__version__,
        },
        "machine": f"{platform.machine()}, 1 thread",
        "processor seconds": round(seconds),
        "training": f"seed {SEED}, {steps} steps of {BATCH} letters, AdamW, rate {LEARNING_RATE}, "
        f"decay {WEIGHT_DECAY}, label smoothing {SMOOTHING}",
        "public set": f"52 letters in {len(fonts.CLASSES)} classes of {len(names)} fonts; no digit, no photograph",
        "held-out fonts": [name for place, name in enumerate(names) if place % fonts.EVERY == fonts.HELD_OUT],
        "packages": fonts.packages(),
        "fonts": names,
    }  # fmt: skip


if __name__ == "__main__":
    main()
