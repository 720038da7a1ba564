"""What the lessons' panels measure of a round."""

import dataclasses
import math

import pytest
import torch

from lalora_kit import METHODS, Settings, federated_rounds
from lalora_kit.engine.persample import Engine
from lalora_kit.figures.training import training_data
from lalora_kit.lessons.coupling import coupling
from lalora_kit.panels import lenses as panels
from lalora_kit.panels.live import LiveTraining
from lalora_kit.panels.widgets import TrainingPanel, choice_slider, view
from lalora_kit.privacy import Ledger

SETTINGS = Settings(epsilon=3.0, rank=2, clients=2, rounds=1, local_steps=2, seed=0, max_samples=64)


@pytest.fixture(scope="module")
def probe(task):
    return task.test.select(torch.arange(16))


@pytest.fixture(scope="module")
def r(task):
    [r] = federated_rounds(task, METHODS["dp-lora"], SETTINGS)
    return r


def test_noise_of_a_client_of_average_size(task):
    batch = SETTINGS.sample_rate * len(task.train) / 2
    assert panels.noise_std(task, SETTINGS, 3.0) == pytest.approx(3.0 / batch)


def test_quiet_and_noised_differ_by_the_noise_alone(task, probe, r):
    pair = panels.step_gradients(task, SETTINGS, r, probe)
    assert coupling(r.adapter, pair.quiet).pooled.gauge == pytest.approx(1, abs=1e-4)
    added = torch.cat([(pair.noised[key] - pair.quiet[key]).flatten() for key in pair.quiet])
    std = panels.noise_std(task, SETTINGS, r.noise_multiplier)
    # Standard error of the deviation is std/√(2n): five of them, a false alarm in about two million seeds.
    assert added.std() == pytest.approx(std, rel=5 / math.sqrt(2 * len(added)))
    again = panels.step_gradients(task, SETTINGS, r, probe)
    assert all(torch.equal(pair.noised[key], again.noised[key]) for key in pair.noised)


def test_a_lens_is_what_the_panel_draws(task, probe, r):
    training = LiveTraining(
        task, METHODS["dp-lora"], SETTINGS, ledger=Ledger(), first=[r],
        lens=panels.surprise_lens(panels.Steps(task, probe)),
        labels={"learning_rate": "η"},
    )  # fmt: skip
    with pytest.raises(ValueError, match="this panel draws 'surprise"):
        TrainingPanel(training, runs={}, mode="headless")
    rate = choice_slider([0.25, 1.0], SETTINGS.learning_rate, "η")
    panel = TrainingPanel(training, extra={"learning_rate": rate}, mode="live")
    seen = training.seen[r]
    noised, quiet = seen.points[0][1], seen.beside[0][1]
    assert noised > quiet > 0
    assert list(panel.figure.data[2].y) == [noised] and list(panel.figure.data[0].y) == [quiet]
    assert "surprise" in panel.figure.layout.title.text and "η 0.5" in training.name
    rate.value = 1.0
    assert training.settings.learning_rate == 1.0
    training.run()
    assert training.join(60) and training.error is None
    assert len(training.records) == 1 and training.seen[training.records[0]].points[0][1] > 0
    assert "η 1.0" in training.name
    panel.keep.cancel()


def test_without_a_lens_a_panel_draws_accuracy(task, r):
    training = LiveTraining(task, METHODS["dp-lora"], SETTINGS, ledger=Ledger(), first=[r])
    now = dataclasses.replace(view(training), seen={})
    assert training_data(now)[2]["y"] == [r.accuracy] == training_data(view(training))[2]["y"]


def test_uploads_look_on_and_change_nothing(task):
    uploads = panels.Uploads(METHODS["dp-lora"])
    [plain] = federated_rounds(task, METHODS["dp-lora"], SETTINGS)
    [watched] = federated_rounds(task, uploads.method, SETTINGS)
    assert all(torch.equal(plain.adapter.tensors[key], value) for key, value in watched.adapter.tensors.items())
    assert len(uploads.clients) == 2
    mean = sum(client.tensors["B", task.targets[0]].double() for client in uploads.clients) / 2
    # Clients of a random split differ in size by one at most, so FedAvg's weights are nearly a half each.
    assert torch.allclose(mean.float(), watched.adapter.tensors["B", task.targets[0]], rtol=1e-2, atol=1e-4)


def test_heights_are_the_clients_losses_above_their_average(task, probe):
    uploads = panels.Uploads(METHODS["dp-lora"])
    lens = panels.heights_lens(task, probe, uploads)
    [r] = federated_rounds(task, uploads.method, SETTINGS)
    seen = lens.measure(SETTINGS, r)
    engine = Engine(task, SETTINGS.scale)
    alone = [engine.evaluate(client, probe)[1] for client in uploads.clients]
    average = engine.evaluate(r.adapter, probe)[1]
    assert seen.points == [(1, pytest.approx(sum(alone) / 2 - average))] and seen.beside == [
        (1, pytest.approx(average))
    ]
    assert f"{sum(alone) / 2 - average:.2f} nats above" in lens.headline(r, seen)
    uploads.clients = []  # the next round has come: what was seen of this one stays
    assert lens.measure(SETTINGS, r) is seen


def test_one_client_stands_at_its_own_average(task, probe):
    uploads = panels.Uploads(METHODS["dp-lora"])
    alone = dataclasses.replace(SETTINGS, clients=1)
    [r] = federated_rounds(task, uploads.method, alone)
    [(_, height)] = panels.heights_lens(task, probe, uploads).measure(alone, r).points
    assert height == pytest.approx(0, abs=1e-6)
