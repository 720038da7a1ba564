"""The panel of lesson 03: ε, rank, clients and β move the forecast at once, and a run is measured beside it."""

import math
from dataclasses import replace

import pytest
import torch

from lalora_kit import METHODS, Settings, federated_rounds, load_task
from lalora_kit.engine.persample import Engine
from lalora_kit.lessons.gradients import noised_gradient
from lalora_kit.panels.lenses import Uploads, heights_lens
from lalora_kit.panels.lesson.heights import Shares, forecast, scores_of, shares_of, std_of_round
from lalora_kit.panels.lesson.valley import ValleyPanel
from lalora_kit.panels.live import LiveTraining
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger, Streams

SETTINGS = Settings(
    epsilon=3.0, rank=2, clients=4, rounds=2, local_steps=2, dirichlet_beta=0.3, seed=0, max_samples=64
)  # fmt: skip
SIGMA = 1.2


@pytest.fixture(scope="module")
def made():
    task = load_task("digits")
    probe = task.test.select(torch.arange(64))
    starts = {r: make_plan(task, METHODS["dp-lora"], replace(SETTINGS, rank=r), Ledger()).start for r in (2, 8)}
    scores = {
        r: scores_of(task, replace(SETTINGS, rank=r), start, probe, std_of_round(task, SETTINGS, SIGMA))
        for r, start in starts.items()
    }
    uploads = Uploads(METHODS["dp-lora"])
    lens, records = heights_lens(task, probe, uploads), []
    for r in federated_rounds(task, uploads.method, SETTINGS):
        lens.measure(SETTINGS, r)
        records.append(r)
    return task, probe, starts[2], scores, uploads, lens, records


def training_of(made):
    task, *_, uploads, lens, records = made
    return LiveTraining(task, uploads.method, SETTINGS, ledger=Ledger(), first=records, lens=lens)


@pytest.fixture
def panel(made):
    training = training_of(made)
    panel = ValleyPanel(training, made[3], mode="live")
    yield panel
    training.stop()
    panel.keep.cancel()
    for wait in (training._refine, training._restart):
        wait.cancel()


def dot(panel):
    [height] = panel.figure.data[5].y
    return height


def test_a_client_of_one_class_is_the_real_one(made):
    """Without noise the forecast of clients that hold one class each is what steps on that class give."""
    task, probe, start, scores, *_ = made
    engine = Engine(task, SETTINGS.scale, max_samples=64)
    losses = []
    for label in (3, 7):
        point, rows = start, (probe.labels == label).nonzero()[:, 0]
        for _ in range(SETTINGS.local_steps):
            gradient = noised_gradient(
                engine, point, probe.select(rows), clip_norm=1.0, noise_std=0.0,
                generator=Streams.from_seed(0).generator("none"),
            )  # fmt: skip
            point = point.with_tensors({key: point.tensors[key] - 0.5 * g.float() for key, g in gradient.items()})
        losses.append(engine.evaluate(point, probe)[1])
    classes = torch.zeros(2, 10, dtype=torch.float64)
    classes[0, 3] = classes[1, 7] = 1
    found = forecast(scores[2], Shares(classes, torch.tensor([10.0, 10.0], dtype=torch.float64)), SETTINGS, 0.0)
    assert found.clients == pytest.approx(sum(losses) / 2, rel=1e-4)


def test_like_clients_without_noise_are_their_average(made):
    _, _, _, scores, *_ = made
    even = Shares(torch.full((5, 10), 0.1, dtype=torch.float64), torch.full((5,), 20.0, dtype=torch.float64))
    assert forecast(scores[2], even, SETTINGS, 0.0).above == pytest.approx(0, abs=1e-9)
    assert forecast(scores[2], even, SETTINGS, SIGMA).above > 1e-3
    one = Shares(even.classes[:1], even.sizes[:1])
    assert forecast(scores[2], one, SETTINGS, SIGMA).above == pytest.approx(0, abs=1e-9)


def test_the_split_is_that_of_the_run(made):
    task = made[0]
    plan = make_plan(task, METHODS["dp-lora"], SETTINGS, Ledger())
    shares = shares_of(task, SETTINGS)
    assert shares.sizes.tolist() == [len(shard) for shard in plan.shards]
    assert shares.classes.sum(dim=1).tolist() == pytest.approx([1] * 4)


def test_a_split_without_a_class_is_refused(made):
    task, probe, start, *_ = made
    with pytest.raises(ValueError, match=r"no sample of class 0, and a client may; take more samples"):
        scores_of(task, SETTINGS, start, probe.select((probe.labels > 0).nonzero()[:, 0]), 0.1)


def test_each_slider_moves_the_forecast_at_once_and_says_so(panel):
    first = dot(panel)
    for name, value, said in (
        ("epsilon", 0.5, "ε went from 3 to 0.5"),
        ("rank", 8, "The rank went from 2 to 8"),
        ("clients", 12, "The number of clients went from 4 to 12"),
        ("dirichlet_beta", 10.0, "β went from 0.3 to 10"),
    ):
        before = dot(panel)
        panel.controls[name].value = value
        assert dot(panel) != before and list(panel.figure.data[0].y) == [dot(panel)]
        assert f"{said}: the forecast is" in panel.text.value and f"{dot(panel):.2f} nats." in panel.text.value
        assert not panel.training.running
    assert panel.figure.data[5].x[0] == 10.0
    panel.buttons["Reset"].click()
    assert dot(panel) == pytest.approx(first) and "went" not in panel.text.value


def test_less_budget_and_less_even_data_lift_the_clients(panel):
    at_three = dot(panel)
    panel.controls["epsilon"].value = 0.5
    assert dot(panel) > at_three
    panel.controls["epsilon"].value = math.inf
    assert dot(panel) < at_three and list(panel.figure.data[6].y) == pytest.approx([0] * 5, abs=1e-9)
    skewed = dot(panel)
    panel.controls["dirichlet_beta"].value = 10.0
    assert dot(panel) < skewed


def test_a_rank_without_a_forecast_takes_the_nearest_and_names_it(panel):
    panel.controls["rank"].value = 16
    assert "(of rank 8, the nearest)" in panel.text.value
    with pytest.raises(ValueError, match=r"rank=2 has no forecast among \[8\]"):
        ValleyPanel(panel.training, {8: panel.scores[8]}, mode="headless")


def test_a_split_that_cannot_be_is_said(made):
    """At β = .01 each class goes to about one client: 64 clients cannot all get a digit of ten classes."""
    task, _, _, scores, uploads, lens, _ = made
    given = replace(SETTINGS, dirichlet_beta=0.01, clients=64)
    training = LiveTraining(task, uploads.method, given, ledger=Ledger(), lens=lens)
    panel = ValleyPanel(training, scores, mode="live")
    try:
        assert "no such split" in panel.figure.layout.title.text and list(panel.figure.data[5].y) == []
        panel.controls["dirichlet_beta"].value = 3.0
        assert list(panel.figure.data[5].y) and "no such split" not in panel.figure.layout.title.text
        panel.controls["dirichlet_beta"].value = 0.01
        assert "β went from 3 to 0.01: in 100 draws some client was left without a digit" in panel.text.value
    finally:
        panel.keep.cancel()
        training._refine.cancel()


def test_a_run_is_measured_beside_its_forecast(panel, made):
    records = made[-1]
    first = [height for r in records for _, height in panel.training.seen[r].points]
    assert list(panel.figure.data[2].y) == first
    panel.controls["epsilon"].value = 1.0
    panel.buttons["Run"].click()
    assert panel.training.join(120) and panel.training.error is None
    assert len(panel.figure.data[2].y) == 2 and list(panel.figure.data[1].y) == first
    assert "measured in round 1" in panel.text.value


def test_headless_leaves_one_figure_and_its_facts(made, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("lalora_kit.panels.panel.pio.show", lambda figure, renderer: shown.append(figure))
    ValleyPanel(training_of(made), made[3], mode="headless").show()
    assert len(shown) == 1 and "forecast for round 1" in capsys.readouterr().out
