"""Task digits: what it is made of, and that it is the same each time it is loaded."""

import sys

import numpy as np
import torch

from lalora_kit.tasks import Task, load_task, logits
from lalora_kit.tasks.embedded import digits
from lalora_kit.tasks.embedded.digits import build_swin_pico, private_splits, to_input


def task() -> Task:
    return load_task("digits")


def test_every_digit_is_in_exactly_one_split():
    train, test = private_splits()
    assert (len(train), len(test)) == (1437, 360)
    rows = torch.cat([train.inputs["x"], test.inputs["x"]]).flatten(1)
    assert len(torch.unique(rows, dim=0)) == 1797  # no scan occurs twice, so none is on both sides


def test_the_table_and_the_rows_are_scikit_learns_own():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    scans = load_digits()
    rows = train_test_split(
        range(len(scans.target)), test_size=0.2, stratify=scans.target, random_state=20260219
    )  # the split that the kit ships
    for split, chosen in zip(private_splits(), map(sorted, rows), strict=True):
        assert torch.equal(split.inputs["x"], to_input(torch.from_numpy(scans.images[chosen])))
        assert split.labels.tolist() == scans.target[chosen].tolist()


def test_scikit_learn_is_not_imported_for_them_where_its_file_lies(monkeypatch):
    whole = digits.scanned()
    with monkeypatch.context() as m:
        m.setitem(sys.modules, "sklearn.datasets", None)  # an import of it would fail
        assert np.array_equal(digits.scanned(), whole)
    monkeypatch.setattr(digits, "find_spec", lambda _: None)  # where it does not, scikit-learn reads it
    assert np.array_equal(digits.scanned(), whole)


def test_both_splits_hold_every_class_in_nearly_equal_shares():
    for split in private_splits():
        counts = torch.bincount(split.labels, minlength=10).double() / len(split)
        assert counts.min() > 0.09 and counts.max() < 0.11


def test_inputs_are_one_channel_images_in_the_pretraining_range():
    train, test = private_splits()
    for split in (train, test):
        images = split.inputs["x"]
        assert images.shape[1:] == (1, 16, 16) and images.dtype == torch.float32
        assert images.min() >= -1 and images.max() <= 1
        assert split.labels.dtype == torch.int64


def test_digits_lie_on_their_side():
    scans = torch.zeros(1, 8, 8)
    scans[0, 0] = 16  # ink along the top edge
    turned = to_input(scans)[0, 0]
    assert turned[:, 0].max() == -1 and turned[:, -1].min() == 1  # now along the left edge


def test_ink_is_black_and_paper_white():
    scans = torch.zeros(1, 8, 8)
    assert (to_input(scans) == 1).all()
    assert (to_input(scans + 16) == -1).all()


def test_loading_twice_gives_the_same_tensors():
    first, second = task(), task()
    for a, b in ((first.train, second.train), (first.test, second.test)):
        assert torch.equal(a.inputs["x"], b.inputs["x"]) and torch.equal(a.labels, b.labels)
    for (name, a), b in zip(first.backbone.state_dict().items(), second.backbone.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_the_head_starts_at_zero_and_nothing_trains():
    loaded = task()
    assert loaded.head == "head.fc"
    assert torch.equal(logits(loaded.backbone, loaded.test.select(torch.arange(3)).inputs), torch.zeros(3, 10))
    assert not loaded.backbone.training
    assert not any(parameter.requires_grad for parameter in loaded.backbone.parameters())


def test_lora_goes_on_every_attention_projection_and_nowhere_else():
    loaded = task()
    blocks = ("layers.0.blocks.0", "layers.0.blocks.1", "layers.1.blocks.0", "layers.1.blocks.1")
    expected = [f"{block}.attn.{layer}" for block in blocks for layer in ("qkv", "proj")]
    assert list(loaded.targets) == expected
    assert min(loaded.backbone.get_submodule(name).in_features for name in expected) >= 32  # ranks up to 32


def test_the_first_stage_sees_four_windows_and_shifts_them():
    folded = {}
    backbone = build_swin_pico(classes=10).eval()
    attention = backbone.layers[0].blocks[1].attn
    attention.register_forward_hook(lambda module, inputs, output: folded.update(shape=tuple(inputs[0].shape)))
    backbone(torch.zeros(3, 1, 16, 16))
    assert folded["shape"] == (3 * 4, 16, 32)  # (samples·windows, tokens, width)
    assert backbone.layers[0].blocks[1].shift_size == (2, 2)
