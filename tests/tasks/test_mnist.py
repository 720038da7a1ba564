"""Task mnist: real digits, a simulated camera that is the same everywhere, and a backbone that has its record."""

import hashlib

import numpy as np
import pytest
import torch

from lalora_kit.tasks.assets.letters import fonts
from lalora_kit.tasks.embedded.camera import SHEET, SIDE, photograph, upright
from lalora_kit.tasks.embedded.mnist import CHARACTERS, PRIVATE_SHOTS, PUBLIC_SHOTS, printed, splits, stored

#: Of the photographs' bytes: IEEE 754 and PCG64 fix them, on every machine.
PRIVATE = "ba7f64e7e2fa5fe4e0beb7d4c2d8657fb6cdd75041e6be270a33cf615bea6839"
PUBLIC = "c572264613f84f32bde7de28b0d31f0904a0e056f5e964a50817e768a24be959"


@pytest.fixture(scope="module")
def both():
    return splits()


def digest(shots):
    return hashlib.sha256(shots.tobytes()).hexdigest()


def test_the_photographs_are_these_bytes():
    assert digest(photograph(stored("mnist10k.npz")["x"], PRIVATE_SHOTS)) == PRIVATE
    assert digest(photograph(stored("printed.npz")["x"].reshape(-1, SHEET, SHEET), PUBLIC_SHOTS)) == PUBLIC


def test_a_sheet_s_photograph_does_not_depend_on_those_after_it():
    sheets = stored("mnist10k.npz")["x"][:700]
    assert np.array_equal(photograph(sheets, 5)[:620], photograph(sheets[:620], 5))
    assert not np.array_equal(photograph(sheets[:9], 5), photograph(sheets[:9], 6))
    assert photograph(sheets[:0], 5).shape == (0, SIDE, SIDE)


def test_the_camera_only_dims_lights_and_grains_what_it_does_not_turn():
    sheet = np.zeros((1, SHEET, SHEET), np.uint8)
    sheet[0, 4:12, 14] = 255  # upper half, right of the middle
    shots = np.repeat(sheet, 400, axis=0)
    mean = photograph(shots, 1, askew=0).mean(0)
    where = upright(sheet)[0] > 0
    ink = mean[where].mean() - mean[~where].mean()
    assert 0.65 * 255 < ink < 0.75 * 255  # .7 on the average
    assert 0.1 * 255 < mean[~where].mean() < 0.16 * 255
    assert photograph(shots, 1, askew=0.6).mean(0).max() < mean.max()  # a turned stroke is somewhere else each time


def test_a_stroke_keeps_its_side_at_small_angles():
    sheet = np.zeros((1, SHEET, SHEET), np.uint8)
    sheet[0, 6:10, 18:22] = 255  # above, on the right
    mean = photograph(np.repeat(sheet, 300, axis=0), 2, askew=0.3).mean(0)
    row, column = np.unravel_index(mean.argmax(), mean.shape)
    assert row < SIDE / 2 < column


def test_every_fifth_image_is_for_testing_and_none_is_in_both(both):
    train, test = both
    assert (len(train), len(test)) == (8000, 2000)
    whole = torch.bincount(torch.cat([train.labels, test.labels]))
    assert whole.sum() == 10_000 and (torch.bincount(test.labels) - whole / 5).abs().max() < 1
    sheets = torch.from_numpy(stored("mnist10k.npz")["x"]).flatten(1)
    assert len(torch.unique(sheets, dim=0)) == 10_000


def test_inputs_are_what_the_backbone_takes(both):
    for split in both:
        images = split.inputs["x"]
        assert images.shape[1:] == (1, SIDE, SIDE) and images.dtype == torch.float32
        assert images.min() >= -1 and images.max() <= 1 and split.labels.dtype == torch.int64


def test_upright_is_the_digit_and_a_margin():
    train, _ = splits(photographed=False)
    images = train.inputs["x"]
    assert torch.equal(
        images[0, 0, 2:-2, 2:-2] * 127.5 + 127.5, torch.from_numpy(stored("mnist10k.npz")["x"][0]).float()
    )
    assert (images[:, :, :2] == -1).all() and (images[..., -2:] == -1).all()


def test_public_inputs_are_printed_and_in_the_same_view(both):
    public, characters = printed()
    assert public["x"].shape[1:] == both[0].inputs["x"].shape[1:] and len(characters) == len(public["x"])
    assert torch.bincount(characters).tolist() == [len(characters) // len(CHARACTERS)] * len(CHARACTERS)
    gap = (public["x"].mean() - both[0].inputs["x"].mean()).abs()
    assert gap < 0.05, "the same light"


def test_the_printed_sheets_are_drawn_again_where_the_fonts_are():
    if not all(fonts.listing(name).is_file() for name in fonts.PACKAGES):
        pytest.skip("the fonts are not installed here, which making the sheets alone needs")
    assert np.array_equal(fonts.printed(), stored("printed.npz")["x"])


def test_every_package_of_fonts_has_an_open_licence():
    free = ("OFL-1.", "Apache-2.0", "CC-BY-SA-3.0")
    for name, licence in fonts.PACKAGES.items():
        assert licence.startswith(free) or ("GPL" in licence and "font exception" in licence), name


def test_a_font_is_held_out_as_a_whole():
    held = fonts.held_out(52 * 30).view(30, 52)
    assert held.any(1).equal(held.all(1)) and held[:, 0].nonzero().flatten().tolist() == [7, 17, 27]
