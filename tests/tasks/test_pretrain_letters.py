"""Swin-pico-32: the file is the one in its record, its fonts are open, a stopped run ends where a whole one does."""

import hashlib
import json
import string
from importlib.resources import files

import pytest
import torch

from lalora_kit.tasks import load_task, logits
from lalora_kit.tasks.assets.letters import fonts
from lalora_kit.tasks.assets.letters import pretrain as script
from lalora_kit.tasks.embedded.swin_pico_32 import DEPTHS, build, targets_of

ASSETS = files("lalora_kit.tasks.assets.letters")
RECORD = json.loads((ASSETS / script.RECORD).read_text(encoding="utf-8"))


def letters(count=40):
    """Rectangles in place of letters, `(count, 1, 40, 40)`."""
    images = torch.zeros(count, 1, fonts.BANK, fonts.BANK, dtype=torch.uint8)
    for place, image in enumerate(images):
        image[0, 8 : 10 + place % 20, 8:30] = 255
    return images, torch.arange(count) % len(fonts.CLASSES)


def test_the_weights_are_the_ones_in_the_record():
    weights = (ASSETS / RECORD["file"]).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == RECORD["sha256"]
    assert len(weights) <= 3e6


def test_every_font_lies_in_a_package_with_an_open_licence():
    licences = {entry["package"]: entry["licence"] for entry in RECORD["packages"]}
    assert licences.keys() == {"matplotlib", *(f"fonts-{name}" for name in fonts.PACKAGES)}
    free = ("OFL-1", "Apache-2.0", "GPL", "AGPL", "CC-BY-SA-3.0", "Bitstream Vera")
    assert all(licence.startswith(free) for licence in licences.values())
    assert all("with the font exception" in licence for licence in licences.values() if "GPL" in licence)
    assert len(RECORD["fonts"]) > 200 and set(RECORD["held-out fonts"]) < set(RECORD["fonts"])


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


def test_lora_goes_on_the_four_linear_layers_of_every_block_and_the_head_starts_at_zero():
    task = load_task("mnist")
    places = [f"layers.{stage}.blocks.{block}" for stage, depth in enumerate(DEPTHS) for block in range(depth)]
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert set(task.targets) == {f"{place}.{layer}" for place in places for layer in layers}
    assert task.targets == targets_of(build(10)) and task.head == "head.fc"
    assert torch.equal(logits(task.backbone, task.test.select(torch.arange(3)).inputs), torch.zeros(3, 10))


def test_print_names_photographs_better_than_chance_before_any_training():
    assert 0 < RECORD["letters in held-out fonts"] < 1
    for view in ("photographed", "upright"):
        assert all(0.1 < value < 1 for value in RECORD["digits by the frozen features"][view].values())
    task = load_task("mnist")
    share = (task.guess(task.test.inputs) == task.test.labels).double().mean().item()
    recorded = RECORD["digits by the frozen features"]["photographed"]["by the nearest mean of printed digits"]
    assert share == pytest.approx(recorded, abs=0.002)
