"""Task `digits`: real handwriting for a backbone that has only ever seen print.

The public side is a Swin-pico pretrained on upright, white-on-black printed letters (`lalora_kit.tasks.assets`). The
private side is scikit-learn's 1,797 handwritten digits, as a scanner with the sheet laid in sideways saw them:
black on white, turned by a quarter. Handwriting, ink and orientation are what the adapter has to learn; a new
head on the features of upright print cannot make up for them.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from lalora_kit.base.steps import step
from lalora_kit.tasks import Split, Task

SIDE = 16
#: Public constants, never computed from private data: they map pixels from [0, 1] to [-1, 1].
MEAN, STD = 0.5, 0.5
#: The rows that are for testing: a fifth of every class, a fact of the task that does not follow `Settings.seed`.
#: scikit-learn drew them (`tests.tasks.test_digits` says how, and draws them again).
TEST_ROWS = "digits_test.txt"
TARGETS = ("attn.qkv", "attn.proj")


def build_swin_pico(classes: int) -> nn.Module:
    """timm's own Swin: 16×16 grey input, 8×8 patches in four windows of 4×4, then 4×4 in one; no dropout."""
    from timm.models.swin_transformer import SwinTransformer

    return SwinTransformer(
        img_size=SIDE,
        patch_size=2,
        in_chans=1,
        num_classes=classes,
        embed_dim=32,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=4,
        mlp_ratio=2.0,
        drop_path_rate=0.0,
    )


def normalise(images: Tensor) -> Tensor:
    """Grey values in [0, 1] to the range that the backbone was pretrained on."""
    return (images - MEAN) / STD


def to_input(scans: Tensor) -> Tensor:
    """Scans `(samples, 8, 8)`, ink 0 to 16, as the model sees them: sideways, black on white, normalised.

    The result is `(samples, 1, 16, 16)`; the quarter turn is counter-clockwise.
    """
    paper = 1.0 - scans.float().unsqueeze(1) / 16.0
    paper = paper.rot90(1, (2, 3))
    return normalise(F.interpolate(paper, (SIDE, SIDE), mode="bilinear", align_corners=False))


@step("reading the data")
def private_splits() -> tuple[Split, Split]:
    """The private training split and the public test split: four fifths and one fifth of every class."""
    scans = scanned()
    labels = torch.from_numpy(scans[:, -1]).long()
    whole = Split({"x": to_input(torch.from_numpy(scans[:, :-1]).view(-1, 8, 8))}, labels)
    test = [int(row) for row in (files("lalora_kit.tasks.assets") / TEST_ROWS).read_text("utf-8").split()]
    train = sorted(set(range(len(labels))) - set(test))
    return whole.select(torch.tensor(train)), whole.select(torch.tensor(test))


def scanned() -> np.ndarray:
    """scikit-learn's table of the digits, `(1797, 65)`: ink of 64 pixels, and the digit.

    Read from its file where that lies, for scikit-learn itself takes over a second to import.
    """
    package = find_spec("sklearn")
    table = Path(package.origin if package and package.origin else "").parent / "datasets" / "data" / "digits.csv.gz"
    if table.is_file():
        return np.loadtxt(table, delimiter=",")
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.column_stack([found.data, found.target])


@step("loading the backbone")
def shipped(model: nn.Module, room: str, weights: str) -> nn.Module:
    """`model` with the weights that ship in `room`, all but its head's, and a fresh head of zeros."""
    with as_file(files(room) / weights) as path:
        missing = model.load_state_dict(load_file(path), strict=False)
    assert set(missing.missing_keys) == {"head.fc.weight", "head.fc.bias"}, missing
    assert not missing.unexpected_keys, missing
    for parameter in model.get_submodule("head.fc").parameters():
        nn.init.zeros_(parameter)
    return model


def backbone(classes: int) -> nn.Module:
    """The shipped Swin-pico with a fresh head for `classes` classes."""
    return shipped(build_swin_pico(classes), "lalora_kit.tasks.assets", "swin_pico.safetensors")


def targets_of(model: nn.Module) -> tuple[str, ...]:
    """Where LoRA goes in a Swin-pico: the two linear layers of every attention."""
    return tuple(name for name, _ in model.named_modules() if name.endswith(TARGETS))


def load() -> Task:
    """The embedded vision task: the shipped backbone, LoRA on attention, a fresh head of zeros."""
    train, test = private_splits()
    model = backbone(classes=10)
    return Task(
        name="digits",
        backbone=model,
        targets=targets_of(model),
        head="head.fc",
        train=train,
        test=test,
        classes=tuple("0123456789"),
        description="handwritten digits, sideways, black on white; Swin-pico learnt upright white print",
    )
