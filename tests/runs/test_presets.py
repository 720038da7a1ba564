"""Presets: the paper's settings as they stand in its sources, that they can run, and the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lalora_kit.runs import presets
from lalora_kit.runs.presets import PRESETS, SAMPLES, best_of, combined, described, find_preset
from lalora_kit.settings import Settings
from lalora_kit.tasks import TASKS
from lalora_kit.tasks.partition import partition
from tests.cli.test_cli import lalora

CLASSES = {"cifar100": 100, "tiny-imagenet": 200, "glue/mnli": 3}


def test_each_preset_is_a_task_a_backbone_that_exists_and_settings_that_hold():
    import timm

    assert len(PRESETS) == 8
    for name, preset in PRESETS.items():
        assert preset.name == name and preset.task in TASKS and preset.task in SAMPLES
        assert preset.backbone in timm.list_models() or preset.backbone == "FacebookAI/roberta-base"
        settings = Settings(**preset.settings)
        assert settings.scale == 1 and settings.participants == 4 and settings.seed is None
        assert (settings.rounds, settings.local_steps, settings.batch_size, settings.delta) == (100, 20, 16, 1e-5)


@pytest.mark.parametrize("name", ["paper/swin-t-cifar100", "paper/roberta-base-sst2", "paper/roberta-base-mnli"])
def test_every_client_can_expect_a_batch_and_keep_its_delta(name):
    """Five draws of the paper's skew over labels as even as the data's own nearly are: none too small or too large."""
    preset = PRESETS[name]
    labels = np.arange(SAMPLES[preset.task]) % CLASSES.get(preset.task, 2)
    s = Settings(**preset.settings)
    for seed in range(5):
        sizes = [len(p) for p in partition(labels, s.clients, s.dirichlet_beta, np.random.default_rng(seed))]
        assert s.batch_size is not None and min(sizes) >= s.batch_size and max(sizes) <= 1 / s.delta


def test_what_is_given_wins():
    preset = find_preset("paper/swin-t-cifar100")
    values = combined(preset, {"epsilon": 1.0, "rank": 4, "device": "cpu"})
    assert (values["epsilon"], values["rank"], values["clients"], values["task"]) == (1.0, 4, 8, "cifar100")
    rated = combined(preset, {"sample_rate": 0.1})
    assert "batch_size" not in rated and Settings(**{k: v for k, v in rated.items() if k not in preset.source})
    assert combined(preset, {"task": "tiny-imagenet"})["backbone"] == preset.backbone
    assert "backbone" not in combined(preset, {"task": "digits"})
    assert combined(preset, {"task": "digits", "backbone": "x"})["backbone"] == "x"


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp32")])
def test_precision_is_bf16_only_where_the_hardware_has_it(native, precision, monkeypatch):
    asked = []
    monkeypatch.setattr(presets, "bf16_in_hardware", lambda device: asked.append(device) or native)
    assert best_of("cpu") == {"device": "cpu", "precision": precision}
    assert (best_of()["device"] == "cuda") == torch.cuda.is_available()
    assert asked[0] == "cpu"


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'paper/swin-t-cifar100'"):
        find_preset("paper/swint-cifar100")


def test_a_preset_tells_its_settings_noise_and_choices():
    said = described(PRESETS["paper/swin-t-cifar100"])
    for part in (
        "rank = 16",
        "dirichlet_beta = 0.1",
        "q = 0.00256",
        "6250 samples",
        "plain mean",
        "Dropout",
        "Poisson",
    ):
        assert part in said, part
    assert "α = 2r" in "".join(PRESETS["paper/roberta-base-sst2"].choices)


def test_the_command_line_lists_them_and_keeps_the_name_with_the_run(tmp_path):
    listed = lalora("presets").stdout
    assert all(name in listed for name in PRESETS)
    quick = ["--task", "digits", "--rounds", "1", "--local-steps", "2", "--epsilon", "inf", "--participation", "0.25"]
    quick += ["--device", "cpu", "--precision", "fp32", "--dirichlet-beta", "10", "--seed", "0"]
    directory = tmp_path / "run"
    done = lalora("train", "--preset", "paper/swin-t-cifar100", *quick, "--json", "--out", str(directory))
    assert done.returncode == 0, done.stderr
    assert (
        "preset paper/swin-t-cifar100: digits on its own backbone, cpu, fp32; given besides: task=digits" in done.stderr
    )
    about = json.loads((directory / "settings.json").read_text())
    assert about["source"] == {"task": "digits", "preset": "paper/swin-t-cifar100"}
    assert (about["settings"]["rank"], about["settings"]["rounds"], about["settings"]["precision"]) == (16, 1, "fp32")
    again = lalora("train", "--resume", str(directory), "--preset", "paper/swin-t-cifar100", "--json")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    wrong = lalora("train", "--preset", "paper/swin")
    assert (wrong.returncode, wrong.stdout) == (2, "") and "did you mean" in wrong.stderr
