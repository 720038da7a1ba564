"""Vectors in a disc: lengths that are true, clips that stay inside, a sum that moves by what the one sample brings."""

import numpy as np
import pytest
import torch

from lalora_kit.figures.pictures.disc import disc, projected


@pytest.fixture
def batch():
    return np.random.default_rng(0).normal(0, 1, (16, 40)) * np.linspace(0.01, 0.9, 16)[:, None]


def test_the_one_sample_is_seen_whole_and_nothing_is_longer_than_it_is(batch):
    seen = projected(batch, 0.5)
    lengths = np.linalg.norm(batch, axis=1) / 0.5
    assert seen.one == lengths.argmax() and seen.lengths == pytest.approx(lengths)
    assert seen.before[seen.one] == pytest.approx([lengths[seen.one], 0.0], abs=1e-9)
    assert (np.linalg.norm(seen.before, axis=1) <= lengths + 1e-9).all()
    assert seen.shortened == (lengths > 1).sum()


def test_what_is_clipped_stays_in_the_disc_and_short_ones_stay_as_they_are(batch):
    seen = projected(batch, 0.5)
    assert (np.linalg.norm(seen.after, axis=1) <= 1 + 1e-9).all()
    assert np.linalg.norm(seen.after[seen.one]) == pytest.approx(1)
    short = seen.lengths <= 1
    assert short.any() and seen.after[short] == pytest.approx(seen.before[short])


def test_the_second_axis_holds_most_of_what_is_left():
    gradients = np.array([[2.0, 0, 0], [0.1, 0.9, 0], [0.1, -0.8, 0.05]])
    assert np.abs(projected(gradients, 1.0).after[1]) == pytest.approx([0.1, 0.9], abs=0.01)


def test_the_row_has_three_pictures_that_say_what_they_show(batch):
    row = disc(torch.from_numpy(batch), 0.5, 1.25)
    shown = row._repr_html_()
    assert len(row.pictures) == 3 and shown.count("<svg") == 3 and shown.count("aria-label") == 3
    assert "σ = 1.25" in row.pictures[2].title and "of 16 gradients are longer than C" in row.title
    assert row.pictures[1].body.count("class='moves clips'") == projected(batch, 0.5).shortened
    assert shown == disc(torch.from_numpy(batch), 0.5, 1.25)._repr_html_(), "a picture is drawn the same again"


@pytest.mark.parametrize("bad", [np.zeros((3, 2)), np.ones(4), np.ones((1, 4))])
def test_what_is_no_batch_is_refused(bad):
    with pytest.raises(ValueError, match=r"choose another sample|two samples"):
        projected(bad, 1.0)
