"""Tasks of the hub, loaded by the same code from small data of the same form; and what is said without network."""

from __future__ import annotations

import dataclasses
import math
import socket
import time

import pytest
import torch

import lalora_kit.tasks.online as online
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.settings import Settings
from lalora_kit.tasks import HUB as PLACE
from lalora_kit.tasks import TASKS, hub, load_task
from lalora_kit.tasks.hub import HUB
from lalora_kit.tasks.own.sources import load_source
from tests.hubs import WORDS, glue_directory, images_directory, roberta_directory, vit_directory

IMAGES = {name: data for name, data in HUB.items() if data.kind == "image"}
TEXTS = {name: data for name, data in HUB.items() if data.kind == "text"}
QUICK = Settings(epsilon=math.inf, clients=2, rounds=1, local_steps=2, batch_size=2, rank=2, seed=0, learning_rate=0.1)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """The cache of `datasets` in the test's own folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def no_network(monkeypatch):
    """As on a machine whose cache is empty and which asks nobody."""
    import huggingface_hub.constants as client

    monkeypatch.setattr(client, "HF_HUB_OFFLINE", True)


def test_every_task_of_the_hub_is_listed():
    assert {name for name, (place, _) in TASKS.items() if place == PLACE} == HUB.keys()
    assert all("from the hub" in TASKS[name][1] for name in HUB)


@pytest.mark.parametrize("name", IMAGES)
def test_pictures_are_bytes_as_they_were_stored(name, monkeypatch, tmp_path):
    side, data = 32 if name == "cifar100" else 64, IMAGES[name]
    place = images_directory(tmp_path / "data", (data.columns[0], data.label), data.test, side, grey=True)
    monkeypatch.setitem(HUB, name, dataclasses.replace(data, path=str(place)))
    task = load_task(name, vit_directory(tmp_path / "vit"))
    x = task.train.inputs["x"]
    assert (x.dtype, x.shape, len(task.test)) == (torch.uint8, (12, 3, side, side), 6)
    for i in range(12):
        shade, bright = (20 * i, 255) if i % 4 != 3 else (x[i, 0, 1, 1], x[i, 0, i, 0])  # grey has one value of three
        assert (x[i, :, 1, 1] == shade).all() and (x[i, :, i, 0] == bright).all(), "row i of column 0 is bright"
    assert task.train.labels.tolist() == [i % 3 for i in range(12)] and task.classes == ("ant", "bee", "cow")
    assert task.prepare is not None
    assert task.prepare({"x": x[:2]})["x"].shape == (2, 3, 160, 160)
    [record] = federated_rounds(task, METHODS["la-lora"], QUICK)
    assert math.isfinite(record.loss) and sum(record.update_norms.values()) > 0
    assert load_source(task.source).name == name


def test_pictures_of_unequal_size_are_refused(monkeypatch, tmp_path):
    data = HUB["cifar100"]
    place = images_directory(tmp_path / "data", (data.columns[0], data.label), data.test, 32)
    images_directory(tmp_path / "other", (data.columns[0], data.label), data.test, 40)
    shards = [place / "data" / f"train-0000{i}-of-00002.parquet" for i in range(2)]
    (place / "data" / "train-00000-of-00001.parquet").rename(shards[0])
    (tmp_path / "other" / "data" / "train-00000-of-00001.parquet").rename(shards[1])
    monkeypatch.setitem(HUB, "cifar100", dataclasses.replace(data, path=str(place)))
    with pytest.raises(ValueError, match="of \\(40, 40\\) pixels where the first is of \\(32, 32\\)"):
        load_task("cifar100", vit_directory(tmp_path / "vit"))


@pytest.mark.parametrize("name", TEXTS)
def test_sentences_and_pairs_are_tokens_of_one_length(name, monkeypatch, tmp_path):
    data, classes = TEXTS[name], 3 if "mnli" in name else 2
    tests = ("validation_matched", "validation_mismatched") if "mnli" in name else ("validation",)
    place = glue_directory(tmp_path / "data", data.config, data.columns, tests, classes)
    monkeypatch.setitem(HUB, name, dataclasses.replace(data, path=str(place)))
    task = load_task(name, str(roberta_directory(tmp_path / "model")))
    pair = len(data.columns) == 2
    longest = 2 + 10 if not pair else 4 + 20  # special tokens, and the last row's words
    width = -(-longest // 8) * 8
    for split, count in ((task.train, 9), (task.test, 4)):
        ids, mask = split.inputs["input_ids"], split.inputs["attention_mask"]
        assert (ids.dtype, ids.shape, mask.shape) == (torch.int64, (count, width), (count, width))
        assert mask.sum(1).tolist() == [(4 if pair else 2) + (2 + i) * (2 if pair else 1) for i in range(count)]
        assert ((ids == 1) == (mask == 0)).all(), "RoBERTa's padding is 1"
        assert split.labels.tolist() == [i % classes for i in range(count)]
    first = task.train.inputs["input_ids"][0]
    known = {word: 4 + index for index, word in enumerate(WORDS)}
    words = [[known[WORDS[j + 3 * k]] for j in range(2)] for k in range(len(data.columns))]
    assert first[: 8 if pair else 4].tolist() == ([0, *words[0], 2, 2, *words[1], 2] if pair else [0, *words[0], 2])
    assert "tested on " + data.test in task.description
    [record] = federated_rounds(task, METHODS["la-lora"], QUICK)
    assert math.isfinite(record.loss) and sum(record.update_norms.values()) > 0


def test_what_was_decoded_once_is_not_decoded_again(monkeypatch, tmp_path):
    data = HUB["glue/sst2"]
    place = glue_directory(tmp_path / "data", "sst2", data.columns, ("validation",), 2)
    monkeypatch.setitem(HUB, "glue/sst2", dataclasses.replace(data, path=str(place)))
    model = str(roberta_directory(tmp_path / "model"))
    first = load_task("glue/sst2", model)
    files = sorted((tmp_path / "cache").rglob("cache-*.arrow"))
    written = [path.stat().st_mtime_ns for path in files]
    assert files and hub.load("glue/sst2", model).train.inputs.keys() == first.train.inputs.keys()
    assert sorted((tmp_path / "cache").rglob("cache-*.arrow")) == files
    assert [path.stat().st_mtime_ns for path in files] == written


def test_a_backbone_for_other_data_is_refused_before_anything_is_fetched(no_network):
    with pytest.raises(ValueError, match="takes texts, but these data are images"):
        load_task("cifar100", "FacebookAI/roberta-base")
    with pytest.raises(ValueError, match="takes images, but these data are texts"):
        load_task("glue/sst2", "swin_tiny_patch4_window7_224")


def test_a_backbone_that_does_not_fit_is_refused_before_the_data_are_fetched(no_network):
    with pytest.raises(ValueError, match="BatchNorm"):
        load_task("cifar100", "resnet18")


@pytest.mark.parametrize("name", HUB)
def test_without_network_one_sentence_names_the_embedded_task(name, no_network):
    start = time.monotonic()
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set") as refused:
        load_task(name)
    said = str(refused.value)
    assert repr(name) in said and "use an embedded task: mnist" in said and "\n" not in said
    assert time.monotonic() - start < 60, "no minutes of retries"


def test_a_hub_that_refuses_is_not_called_again(monkeypatch):
    """An address that nobody listens at: said at once, and the clients' own switches are as they were."""
    import datasets
    import huggingface_hub.constants as client

    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = taken.getsockname()
        monkeypatch.setattr(online, "hub_address", lambda: address)
        monkeypatch.setattr(client, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        start = time.monotonic()
        with pytest.raises(ValueError, match=r"the hub \(127.0.0.1\) cannot be reached"):
            load_task("cifar100")
    assert time.monotonic() - start < 20, "the clients' own retries alone take longer"
    assert client.HF_HUB_OFFLINE is datasets.config.HF_HUB_OFFLINE is False


def test_a_hub_that_does_not_have_it_is_no_missing_network(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(online, "hub_address", server.getsockname)
        said = r"task 'x' cannot be loaded from the hub \(FileNotFoundError: gone\)"
        with pytest.raises(ValueError, match=said), online.from_hub("task 'x'"):
            raise FileNotFoundError("gone")
