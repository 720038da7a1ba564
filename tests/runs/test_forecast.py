"""The plan from sizes alone says what a run then does: the same σ, the same noise, the same refusals."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import pytest
import torch

from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from lalora_kit.runs.forecast import forecast, trained_numbers
from lalora_kit.settings import Settings
from lalora_kit.tasks.own.reader import without_weights
from tests.tiny import FAST, linear_task


def test_the_noise_is_the_one_that_a_run_adds():
    """σ to the last digit, and the spread of what the server sees where every gradient is zero (chance 2e-9)."""
    task, method, settings = linear_task(), METHODS["head-only"], replace(FAST, clip_norm=0.5, rounds=3)
    frozen = replace(task, train=replace(task.train, inputs={"x": torch.zeros_like(task.train.inputs["x"])}))
    torch.nn.init.zeros_(frozen.backbone.body.bias)  # so the head sees zeros, and its weights have no gradient
    plan = make_plan(frozen, method, settings, Ledger())
    parameters = trained_numbers(task.backbone, task.targets, task.head, settings.rank, method)
    found = forecast([len(shard) for shard in plan.shards], settings, parameters)
    assert tuple(site.noise_multiplier for site in found.sites) == plan.sigmas
    assert [site.expected_batch for site in found.sites] == [plan.divisor(c) for c in range(settings.clients)]

    seen: list[torch.Tensor] = []

    def see(client: int, t: int, k: int, release: torch.Tensor) -> None:
        assert len(release) == parameters
        seen.append(release[3:])  # the weights, after the biases

    last = list(federated_rounds(frozen, method, settings, observe=see))[-1]
    assert last.epsilon == pytest.approx(max(site.epsilon for site in found.sites))
    values = torch.cat(seen)
    spread = found.sites[0].noise_std * 6 / math.sqrt(2 * len(values))
    assert abs(float(values.std()) - found.sites[0].noise_std) < spread


def test_signal_to_noise_by_hand():
    """σ = 0 is silent; otherwise q·n/(σ·√d), and two equal sites together are louder by √2."""
    settings = replace(FAST, clients=2)
    found = forecast([50, 50], settings, parameters=400)
    site = found.sites[0]
    assert site.signal_to_noise == pytest.approx(0.3 * 50 / (site.noise_multiplier * 20))
    assert site.noise_std == pytest.approx(site.noise_multiplier * settings.clip_norm / 15)
    assert found.signal_to_noise == pytest.approx(math.sqrt(2) * site.signal_to_noise)
    silent = forecast([50, 50], replace(settings, epsilon=math.inf), parameters=400)
    assert silent.to_json()["signal_to_noise"] is None and silent.sites[0].signal_to_noise == math.inf


def test_what_training_refuses_the_plan_names_with_a_remedy():
    settings = Settings(clients=3, batch_size=40, delta=0.005)
    found = forecast([320, 60, 30], settings, parameters=10)
    assert found.refused
    assert "use delta below 3.1e-03" in found.sites[0].remedies[0]
    assert "weak promise" in found.sites[1].remedies[0]
    assert "batch_size=40 is more than its 30 samples" in found.sites[2].remedies[0]
    assert found.to_json()["sites"][2]["noise_multiplier"] is None
    alone = forecast([4], Settings(clients=1), parameters=10)
    assert not alone.refused and "noise alone" in alone.sites[0].remedies[0]


def test_a_plan_that_is_not_refused_can_begin():
    task = linear_task(40)
    for settings in (FAST, replace(FAST, delta=0.2), replace(FAST, sample_rate=None, batch_size=11)):
        found = forecast([10] * 4, settings, parameters=10)
        if found.refused:
            with pytest.raises(ValueError, match=r"delta|batch_size"):
                make_plan(task, METHODS["la-lora"], settings, Ledger())
        else:
            make_plan(task, METHODS["la-lora"], settings, Ledger())


def command(monkeypatch, capsys, *words: str) -> tuple[str, str]:
    from lalora_kit.cli.app import main

    monkeypatch.setattr(sys, "argv", ["lalora", "plan", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, 2)
    return capsys.readouterr()


def test_the_command_needs_no_data(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ("--sizes", "60,30", "--epsilon", "3", "--delta", "1e-3", "--rounds", "2", "--local-steps", "2")
    out, _ = command(monkeypatch, capsys, *words, "--json")
    found = json.loads(out)
    assert [site["samples"] for site in found["sites"]] == [60, 30] and found["steps"] == 4
    assert all(2.9 < site["epsilon"] <= 3 for site in found["sites"])
    out, _ = command(monkeypatch, capsys, *words, "--parameters", "50")
    assert "d=50" in out and "No data were touched" in out
    assert "per patient of one client" in command(monkeypatch, capsys, *words, "--unit", "patient")[0]


@pytest.mark.parametrize("name", ["swin-pico", "roberta-pico", "swin_tiny_patch4_window7_224"])
def test_a_backbone_is_counted_without_its_weights(name, monkeypatch, capsys):
    out, _ = command(monkeypatch, capsys, "--sizes", "60,30", "--backbone", name, "--rank", "2", "--json")
    read = without_weights(name, 10)
    shapes = [read.module.get_submodule(target).weight.shape for target in read.targets]
    head = sum(value.numel() for value in read.module.get_submodule(read.head).parameters())
    assert json.loads(out)["parameters"] == head + 2 * max(sum(m for m, _ in shapes), sum(n for _, n in shapes))


def test_a_backbone_that_does_not_fit_or_is_said_twice_is_refused(monkeypatch, capsys):
    out, err = command(monkeypatch, capsys, "--sizes", "60,30", "--backbone", "resnet18")
    assert out == "" and "BatchNorm" in err
    out, err = command(monkeypatch, capsys, "--sizes", "60,30", "--backbone", "swin-pico", "--parameters", "5")
    assert out == "" and "leave one out" in err


@pytest.mark.parametrize("sizes", ["", "320,x", "3.5", "0", "-4,5", "1e3"])
def test_sizes_that_are_none_are_one_sentence(sizes, monkeypatch, capsys):
    out, err = command(monkeypatch, capsys, f"--sizes={sizes}")
    assert out == "" and err.startswith("lalora: sizes=") and err.count("\n") == 1
