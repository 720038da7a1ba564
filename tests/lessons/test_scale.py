"""At scale: a preset or its miniature; a kept run that is broken off and goes on; the meter and the figures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lalora_kit.federated import federated_rounds
from lalora_kit.figures.scale import CrowdView, PaysView, crowd_figure, crowd_panel_figure, pays_figure
from lalora_kit.lessons import scale
from lalora_kit.lessons.scale import at_scale, rounds_kept
from lalora_kit.methods import METHODS
from lalora_kit.panels.meter import metered, told
from lalora_kit.runs.presets import PRESETS
from lalora_kit.settings import Settings
from lalora_kit.tasks.online import Unread
from tests.tiny import FAST, identical, linear_task

LA_LORA = METHODS["la-lora"]


@pytest.fixture
def tasks(monkeypatch):
    """Loading the embedded tasks is tested elsewhere; here only which one is asked for."""
    asked = []
    monkeypatch.setattr(scale, "load_task", lambda name: asked.append(name) or linear_task())
    return asked


def pretend_a_gpu(monkeypatch):
    """As far as is asked before anything is computed there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine with a GPU runs the preset itself")
@pytest.mark.parametrize("preset", PRESETS)
def test_without_a_gpu_every_preset_has_a_miniature_that_says_so(preset, tasks):
    run = at_scale(preset, epsilon=1.0, rank=0, clients=3, rounds=0, seed=0)
    assert not run.full and tasks == ["stdlib-docs" if "roberta" in preset else "digits"]
    assert run.why == f"This is the miniature ({tasks[0]}, by the same code), not {preset}: " \
        "this machine has no GPU that torch can use."  # fmt: skip
    assert run.settings == Settings(epsilon=1.0, clients=3, seed=0, max_samples=64)


def test_where_the_data_cannot_be_had_the_miniature_says_why(tasks, monkeypatch):
    pretend_a_gpu(monkeypatch)

    def nothing(source):
        assert source == {"task": "cifar100", "backbone": "swin_tiny_patch4_window7_224"}
        raise Unread("task 'cifar100' cannot be loaded: the hub cannot be reached")

    monkeypatch.setattr(scale, "load_source", nothing)
    run = at_scale("paper/swin-t-cifar100", epsilon=2.0)
    assert not run.full and run.why.endswith("not paper/swin-t-cifar100: task 'cifar100' cannot be loaded: the hub "
                                             "cannot be reached.")  # fmt: skip


def test_a_wrong_setting_is_no_reason_for_a_miniature(tasks, monkeypatch):
    pretend_a_gpu(monkeypatch)
    monkeypatch.setattr(scale, "load_source", lambda source: linear_task())
    with pytest.raises(ValueError, match=r"epsilon=-1\.0 is not possible"):
        at_scale("paper/swin-t-cifar100", epsilon=-1.0)


def test_with_both_the_preset_itself_is_run(tasks, monkeypatch):
    pretend_a_gpu(monkeypatch)
    monkeypatch.setattr(scale, "load_source", lambda source: linear_task())
    run = at_scale("paper/swin-t-cifar100", epsilon=1.0, rank=8, clients=0, rounds=0, seed=0)
    assert run.full and not tasks and run.why.startswith("Running paper/swin-t-cifar100 itself, on cuda")
    assert (run.settings.rank, run.settings.clients, run.settings.rounds) == (8, 8, 100)
    assert (run.settings.epsilon, run.settings.batch_size, run.settings.seed) == (1.0, 16.0, 0)


def test_a_run_that_was_broken_off_goes_on_and_is_the_same(tmp_path):
    task = replace(linear_task(), source={"task": "linear"})
    r = next(rounds_kept(task, LA_LORA, FAST, tmp_path / "run"))
    [*_, last] = rounds_kept(task, LA_LORA, FAST, tmp_path / "run")
    [*_, whole] = federated_rounds(task, LA_LORA, FAST)
    assert r.round == 1 and last.round == FAST.rounds and identical(last.adapter, whole.adapter)
    assert list(rounds_kept(task, LA_LORA, FAST, tmp_path / "run")) == []
    with pytest.raises(ValueError, match=r"holds another run \(la-lora on .*ε=3\).*name another"):
        rounds_kept(task, LA_LORA, replace(FAST, epsilon=6.0), tmp_path / "run")


def test_the_meter_hands_every_round_on(capsys):
    rounds = list(federated_rounds(linear_task(), LA_LORA, FAST))
    assert list(metered(iter(rounds), FAST, mode="headless")) == rounds
    assert capsys.readouterr().out == told(rounds[-1], FAST) + "\n"
    assert f"round 2 of 2: accuracy {rounds[-1].accuracy:.1%}, ε" in told(rounds[-1], FAST)
    assert list(metered(iter([]), FAST, mode="headless")) == [] and not capsys.readouterr().out
    assert " of " not in told(rounds[-1], replace(FAST, epsilon=math.inf)).split(",")[1]


def test_the_live_meter_shows_rounds_and_what_is_spent(monkeypatch):
    from lalora_kit.panels import meter

    shown = []
    monkeypatch.setattr(meter, "display", shown.append)
    for r in metered(federated_rounds(linear_task(), LA_LORA, FAST), FAST, mode="live"):
        [box] = shown
        (done, spent), line = box.children[0].children, box.children[1]
        assert (done.value, done.max, spent.max) == (r.round, 2, 3.0) and spent.value == pytest.approx(r.epsilon)
        assert line.value == told(r, FAST)


def test_figures_hold_what_they_were_given():
    crowd = crowd_figure({"ε = 1": {500: 5.9, 6250: 0.98}, "ε = 3": {500: 2.3, 6250: 0.67}}, [180], "cheap")
    assert [list(trace.y) for trace in crowd.data] == [[5.9, 0.98], [2.3, 0.67]]
    assert crowd.layout.xaxis.type == crowd.layout.yaxis.type == "log" and crowd.layout.title.text == "cheap"
    view = CrowdView([(100, 9.0), (1000, 2.0)], [(100, 5.0), (1000, 1.0)], [(100, 5.0), (1000, 0.5)], 1000, 16)
    panel = crowd_panel_figure(view, "here")
    assert [list(trace.y) for trace in panel.data] == [[9, 2], [5, 1], [5, 0.5], [2], [1], [0.5]]
    view = PaysView(["2–12", "84–465"], [0.4, 0.5], [0.3, 0.45], [10.0, 5.0], [1.0, 2.0], [0.35, 0.5], "ε = 1")
    pays = pays_figure(view, "who")
    assert [list(trace.y) for trace in pays.data[:4]] == [[0.4, 0.5], [0.3, 0.45], [0.35, 0.5], [10.0, 5.0]]
    assert list(pays.data[4].y) == pytest.approx([5.0, 0.0]) and list(pays.data[3].error_y.array) == [1.0, 2.0]


def owners():
    """Ten owners with 1, 2, ... 10 training samples and ten test samples each; noise costs the two smallest half."""
    clear, noisy = [8] * 10, [4, 4, *[8] * 8]
    return scale.Owners(range(1, 11), [10] * 10, {math.inf: {0: clear, 1: clear}, 1.0: {0: noisy, 1: clear}})


def test_owners_are_grouped_by_what_they_brought_and_paired_by_seed():
    kept = owners()
    assert kept.sizes() == [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]
    assert kept.lost(1.0) == pytest.approx(np.array([[40, 0, 0, 0, 0], [0, 0, 0, 0, 0]]))
    assert kept.lost_by_all(1.0) == pytest.approx([8, 0])
    assert kept.nearest(0.2) == kept.nearest(math.inf) == 1.0


def test_owners_without_a_test_sample_are_left_out_and_each_has_its_own_right_names():
    task = linear_task(samples=6)
    test = replace(task.test, owners=torch.arange(len(task.test)) % 2 * 2)  # owner 1 has none
    task = replace(task, train=replace(task.train, owners=torch.arange(6) % 3), test=test, owners=("a", "b", "c"))
    who = scale.owners_of(task)
    assert who.train == [2, 2] and sum(who.test) == len(task.test)
    right = np.arange(len(task.test)) % 2 == 0  # those of owner a
    assert scale.right_by_owner(task, right) == [who.test[0], 0]


def test_the_shipped_owners_are_ten_whole_pairs():
    kept = scale.kept_owners()
    assert set(kept.hits) == {math.inf, 1.0, 3.0} and all(
        sorted(runs) == list(range(10)) for runs in kept.hits.values()
    )
    assert len(kept.train) == len(kept.test) == len(kept.hits[1.0][0]) and min(kept.test) > 0
    right = [
        h <= n for runs in kept.hits.values() for hits in runs.values() for h, n in zip(hits, kept.test, strict=True)
    ]
    assert all(right)
