"""Texts are trimmed to their chunk's longest and taken by length; the numbers stay those of the padded text."""

from __future__ import annotations

from dataclasses import replace

import torch

from lalora_kit import METHODS, federated_rounds
from lalora_kit.engine.memory import kept_bytes
from lalora_kit.engine.persample import Engine
from lalora_kit.tasks import Split, Task
from lalora_kit.tasks.padding import TEXTS, by_length, trimmed
from tests.tiny import FAST, distance, random_adapter, stacked, task_of

LENGTHS = (3, 9, 5, 2, 9, 1)


def texts(lengths: tuple[int, ...] = LENGTHS, width: int = 12) -> dict[str, torch.Tensor]:
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": torch.where(mask.bool(), 7, 1), "attention_mask": mask}


def padded(task: Task, more: int) -> Task:
    """The same sentences with `more` columns of padding behind them."""

    def wider(split: Split) -> Split:
        columns = {"input_ids": 1, "attention_mask": 0}
        inputs = {n: torch.nn.functional.pad(v, (0, more), value=columns[n]) for n, v in split.inputs.items()}
        return Split(inputs, split.labels, split.owners, split.units)

    return replace(task, train=wider(task.train), test=wider(task.test))


def seen_by_the_backbone(engine: Engine) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    engine.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    return shapes


def test_what_is_padding_everywhere_goes_and_nothing_else():
    inputs = texts() | {"length": torch.tensor(LENGTHS)}
    short = trimmed(inputs)
    assert short["input_ids"].shape == short["attention_mask"].shape == (6, 9)
    assert torch.equal(short["input_ids"], inputs["input_ids"][:, :9])
    assert torch.equal(short["length"], inputs["length"])


def test_padding_in_front_and_inputs_without_a_mask_stay():
    inputs = {name: value.flip(1) for name, value in texts().items()}
    assert all(torch.equal(value, inputs[name]) for name, value in trimmed(inputs).items())
    pictures = {"x": torch.zeros(3, 1, 4, 4)}
    assert trimmed(pictures) is pictures
    assert by_length(pictures).tolist() == [0, 1, 2]


def test_texts_without_a_single_word_keep_their_width():
    assert trimmed(texts((0, 0)))["input_ids"].shape == (2, 12)


def test_lengths_grow_and_equals_keep_their_order():
    assert by_length(texts()).tolist() == [5, 3, 0, 2, 1, 4]


def test_a_round_is_the_same_with_any_padding_and_any_chunk():
    task, settings = task_of("roberta"), replace(FAST, rounds=1)
    [expected] = federated_rounds(task, METHODS["dp-lora"], settings)
    for other, chunk in ((padded(task, 5), None), (task, 2), (padded(task, 3), 3)):
        [found] = federated_rounds(other, METHODS["dp-lora"], replace(settings, max_samples=chunk))
        assert distance(found.adapter, expected.adapter) < 1e-5
        assert abs(found.loss - expected.loss) < 1e-5
        assert found.accuracy == expected.accuracy


def test_predictions_come_in_the_order_of_the_samples():
    task = task_of("roberta")
    engine, adapter = Engine(task, 0.7), random_adapter(task, 2, 0.7, seed=0)
    together = engine.predict(adapter, task.test.inputs, chunk=3)
    for place in range(len(task.test)):
        alone = engine.predict(adapter, task.test.select(torch.tensor([place])).inputs)
        torch.testing.assert_close(together[place : place + 1], alone, rtol=1e-4, atol=1e-5)


def test_the_backbone_sees_chunks_no_wider_than_their_longest():
    task = padded(task_of("roberta"), 5)
    engine, adapter = Engine(task, 0.7), random_adapter(task, 2, 0.7, seed=0)
    shapes = seen_by_the_backbone(engine)
    engine.predict(adapter, task.test.inputs, chunk=4)
    lengths = task.test.inputs["attention_mask"].sum(1).sort().values
    assert shapes == [(len(part), int(part.max())) for part in lengths.split(4)]


def test_many_texts_are_taken_in_parts():
    task = task_of("roberta")
    engine, stack = Engine(task, 0.7), stacked([random_adapter(task, 2, 0.7, seed=0)])
    batch = task.train.select(torch.arange(2 * TEXTS + 1) % len(task.train))
    owner = torch.zeros(len(batch), dtype=torch.long)
    parts = [len(part) for part, _ in engine.gradients(stack, stack.keys("B"), batch.inputs, batch.labels, owner)]
    assert parts == [TEXTS, TEXTS, 1]


def test_memory_is_reckoned_with_the_longest_text():
    task = task_of("roberta")
    adapter = random_adapter(task, 2, 0.7, seed=0)
    shortest, longest = by_length(task.train.inputs)[[0, -1]]
    first = {
        place: replace(task, train=task.train.select(torch.tensor([place, longest]))) for place in (shortest, longest)
    }
    assert kept_bytes(first[shortest], adapter) == kept_bytes(first[longest], adapter)
    alone = replace(task, train=task.train.select(torch.tensor([shortest])))
    assert kept_bytes(alone, adapter) < kept_bytes(task, adapter)
