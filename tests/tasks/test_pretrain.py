"""The shipped backbone: the file is the one in its record, and the script makes the same file twice."""

import hashlib
import subprocess
import sys
from importlib.resources import files

import pytest
import torch
from safetensors.torch import load_file

from lalora_kit.tasks.assets.glyphs import DIGITS, HELD_OUT_FONTS, LETTERS, TRAIN_FONTS, augment, draw
from lalora_kit.tasks.assets.pretrain import RECORD, WEIGHTS, glyphs, rate_factor


def remake(folder) -> str:
    """Run the script for three steps in a process of its own and return its file's sha256."""
    command = [sys.executable, "-m", "lalora_kit.tasks.assets.pretrain", "--steps", "3", "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def test_the_weights_are_the_ones_in_the_record():
    assets = files("lalora_kit.tasks.assets")
    weights = (assets / WEIGHTS).read_bytes()
    assert f"sha256: {hashlib.sha256(weights).hexdigest()}\n" in (assets / RECORD).read_text(encoding="utf-8")
    assert len(weights) < 1.5e6


def test_a_miniature_is_the_same_file_each_time(tmp_path):
    pytest.importorskip("matplotlib")
    first, second = tmp_path / "first", tmp_path / "second"
    assert remake(first) == remake(second)
    assert load_file(first / WEIGHTS).keys() == load_file(str(files("lalora_kit.tasks.assets") / WEIGHTS)).keys()
    assert "held-out letters: " in (first / RECORD).read_text(encoding="utf-8")


def test_pretraining_never_sees_a_digit_or_a_held_out_font():
    assert not set(LETTERS) & set(DIGITS)
    assert not set(TRAIN_FONTS) & set(HELD_OUT_FONTS)


def test_glyphs_are_white_on_black_and_all_different():
    pytest.importorskip("matplotlib")
    bitmaps, labels = draw(LETTERS, TRAIN_FONTS)
    assert bitmaps.shape == (len(LETTERS) * len(TRAIN_FONTS), 1, 32, 32)
    assert bitmaps.mean() < 0.5 and bitmaps.amax((1, 2, 3)).min() > 0.5
    assert torch.bincount(labels).tolist() == [len(TRAIN_FONTS)] * len(LETTERS)
    assert len(torch.unique(bitmaps.flatten(1), dim=0)) == len(bitmaps)


def test_augmented_glyphs_follow_their_seed_and_stay_in_range():
    pytest.importorskip("matplotlib")
    bitmaps, _ = draw("AB", TRAIN_FONTS[:1])
    first, second = (augment(bitmaps, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second) and first.shape == (2, 1, 16, 16)
    assert first.min() >= 0 and first.max() <= 1
    images, _ = glyphs("AB", TRAIN_FONTS[:1], samples=5, seed=0)
    assert images.min() >= -1 and images.max() <= 1


def test_the_rate_warms_up_then_falls_to_nothing():
    factors = [rate_factor(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == 1.0
    assert factors[9:] == sorted(factors[9:], reverse=True) and factors[-1] < 0.05
