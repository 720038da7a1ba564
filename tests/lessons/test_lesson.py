"""What lessons rest on: mode, look ahead, predictions, observations, results."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from lalora_kit import METHODS, Settings, load_task
from lalora_kit.book.execute import RESULT_MIME
from lalora_kit.lessons import lesson
from lalora_kit.privacy import noise_multiplier, safe_noise_multiplier

SETTINGS = Settings(epsilon=3.0, rounds=2, clients=4)


@pytest.fixture(scope="module")
def task():
    return load_task("digits")


def test_mode_is_found_given_or_refused(monkeypatch):
    for name in ("LALORA_MODE", "VOILA_KERNEL_ID"):
        monkeypatch.delenv(name, raising=False)
    assert lesson.mode() == "headless"  # no kernel at all
    assert lesson.mode("live") == "live"
    monkeypatch.setenv("VOILA_KERNEL_ID", "1")
    assert lesson.mode() == "live"
    monkeypatch.setenv("LALORA_MODE", "headless")
    assert lesson.mode() == "headless"
    with pytest.raises(ValueError, match="'lively' is unknown"):
        lesson.mode("lively")


@pytest.mark.parametrize(("allow_stdin", "expected"), [(True, "live"), (False, "headless")])
def test_mode_follows_whether_the_kernel_may_ask(monkeypatch, allow_stdin, expected):
    kernel = type("Kernel", (), {"_allow_stdin": allow_stdin})
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: type("Shell", (), {"kernel": kernel}))
    for name in ("LALORA_MODE", "VOILA_KERNEL_ID"):
        monkeypatch.delenv(name, raising=False)
    assert lesson.mode() == expected


def test_outlook_is_safe_first_and_tight_then(task):
    method, plan = METHODS["la-lora"], (3.0, 1e-5, SETTINGS.sample_rate, 8)
    first, then = (lesson.outlook(task, method, SETTINGS, tight=tight) for tight in (False, True))
    assert first.noise_multiplier == safe_noise_multiplier(*plan) > then.noise_multiplier == noise_multiplier(*plan)
    assert first.noise > then.noise and first.bound == then.bound
    assert [y for _, y in first.curve] == sorted((y for _, y in first.curve), reverse=True)


def test_no_noise_without_a_budget(task):
    endless = dataclasses.replace(SETTINGS, epsilon=math.inf)
    outlook = lesson.outlook(task, METHODS["la-lora"], endless, tight=True)
    assert outlook.noise == outlook.noise_multiplier == 0.0 and outlook.bound == 1.0


def test_noise_per_sigma_is_what_averaging_noised_sums_gives(task):
    """20 averages of 4 clients' noise in 2000 or so numbers: the mean norm is within 2 % (6 standard errors)."""
    settings = Settings(clients=4, rank=2)
    method, generator = METHODS["head-only"], torch.Generator().manual_seed(0)
    numbers = sum(value.numel() for value in task.backbone.get_submodule(task.head).parameters())
    batch = settings.sample_rate * len(task.train) / 4
    noise = torch.randn(400, 4, numbers, generator=generator, dtype=torch.float64) / batch
    expected = lesson.noise_per_sigma(task, method, settings)
    assert abs(noise.mean(dim=1).norm(dim=1).mean() / expected - 1) < 0.02


def test_noise_grows_with_the_root_of_the_clients_that_share_the_same_data(task):
    one, many = (lesson.noise_per_sigma(task, METHODS["la-lora"], Settings(clients=n)) for n in (1, 64))
    assert many == pytest.approx(8 * one)
    sized = lesson.noise_per_sigma(task, METHODS["la-lora"], Settings(clients=4, batch_size=20.0))
    rated = Settings(clients=4, sample_rate=20 * 4 / len(task.train))
    assert sized == pytest.approx(lesson.noise_per_sigma(task, METHODS["la-lora"], rated))


def test_a_prediction_is_told_beside_the_answer_and_kept(tmp_path):
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps({"older": {"choice": "a", "answer": "b"}}))
    prediction = lesson.Prediction("how much?", ["little", "much"], None, asked=True)
    assert prediction.verdict() == ""
    prediction.answer = "much"
    assert "no choice" in prediction.verdict()
    prediction.choose("little")
    assert prediction.verdict() == "You chose: little. It came out: much."
    prediction.save(path)
    kept = json.loads(path.read_text())
    assert kept == {"older": {"choice": "a", "answer": "b"}, "how much?": {"choice": "little", "answer": "much"}}
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_file_of_predictions_is_not_overwritten(tmp_path):
    path = tmp_path / "predictions.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=str(path)):
        lesson.Prediction("q", ["a"], "a", asked=True).save(path)
    assert path.read_text() == "{"


def test_an_observation_is_asserted_at_the_defaults_and_told_elsewhere(capsys):
    assert lesson.observed("it grows", True, at_defaults=True)
    assert not lesson.observed("it grows", False, at_defaults=False, effect="-1")
    assert "seen here: no: it grows (-1)" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="it grows"):
        lesson.observed("it grows", False, at_defaults=True)
    assert lesson.observed("numpy's own truth", np.bool_(True), at_defaults=True) is True


def test_a_result_is_one_json_that_the_runner_finds(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    lesson.result("n", {"epsilon": math.inf}, "it came out", {"accuracy": 0.5}, {"it": True})
    record = shown[0][RESULT_MIME]
    assert record["parameters"] == {"epsilon": None} and shown[0]["text/plain"] == "it came out"
    json.dumps(record, allow_nan=False)


def test_a_long_sentence_is_broken_between_words_where_a_page_ends(capsys):
    claim = "a claim of many words that goes on and on " * 4
    lesson.observed(claim.strip(), True, at_defaults=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(len(line) <= lesson.PAGE_WIDTH for line in lines)
    assert " ".join(" ".join(lines).split()) == f"seen here: yes: {claim.strip()}"
