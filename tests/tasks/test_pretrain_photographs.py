"""Pretraining of Swin-pico-32: its fonts are open, and a stopped run ends where a whole one does."""

import string

import pytest
import torch

from lalora_kit.tasks.assets import fonts
from lalora_kit.tasks.assets import pretrain_photographs as script
from lalora_kit.tasks.embedded.mnist import CHARACTERS
from lalora_kit.tasks.embedded.swin_pico_32 import build, targets_of


def letters(count=40):
    """Rectangles in place of letters, `(count, 1, 40, 40)`."""
    images = torch.zeros(count, 1, fonts.BANK, fonts.BANK, dtype=torch.uint8)
    for place, image in enumerate(images):
        image[0, 8 : 10 + place % 20, 8:30] = 255
    return images, torch.arange(count) % len(fonts.CLASSES)


def test_pretraining_sees_letters_alone_and_no_held_out_font():
    assert not set(fonts.CLASSES) & set(string.digits)
    held = fonts.held_out(52 * 30).view(30, 52)
    assert held.any(1).equal(held.all(1)), "a font is held out as a whole"
    assert held[:, 0].nonzero().flatten().tolist() == [7, 17, 27]


def test_a_stopped_run_goes_on_to_the_same_end(tmp_path, monkeypatch):
    monkeypatch.setattr(script, "SAVED_EVERY", 2)
    monkeypatch.setattr(script, "BATCH", 8)
    whole, _ = script.pretrain(*letters(), 4, tmp_path / "whole")
    augment, calls = script.augment, []

    def stopping(*given):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return augment(*given)

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(script, "augment", stopping)
        script.pretrain(*letters(), 4, tmp_path / "stopped")
    again, _ = script.pretrain(*letters(), 4, tmp_path / "stopped")
    for (name, one), other in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert not list(tmp_path.glob("*.new"))


def test_augmented_letters_follow_their_seed_and_stay_in_range():
    images = letters()[0].float() / 255
    first, second = (script.augment(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second) and first.shape == (40, 1, 32, 32)
    assert first.min() >= -1 and first.max() <= 1 and first.flatten(1).std(1).min() > 0


def test_the_printed_sheets_are_the_fonts_own():
    if not all(fonts.listing(name).is_file() for name in fonts.PACKAGES):
        pytest.skip("the fonts are not installed here, which pretraining alone needs")
    pytest.importorskip("matplotlib")
    assert fonts.printed().shape[1] == len(CHARACTERS)
    assert len(fonts.font_files()) > 200


def test_every_package_of_fonts_has_an_open_licence():
    free = ("OFL-1", "Apache-2.0", "GPL", "AGPL", "CC-BY-SA-3.0")
    assert all(licence.startswith(free) for licence in fonts.PACKAGES.values())
    assert all("with the font exception" in licence for licence in fonts.PACKAGES.values() if "GPL" in licence)


def test_lora_goes_on_the_four_linear_layers_of_every_block():
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert set(targets_of(build(10))) == {f"layers.0.blocks.{block}.{layer}" for block in range(3) for layer in layers}
