"""What a user can do to the command line, the notebooks' runner and saved adapters, without a traceback."""

from __future__ import annotations

import json

import pytest

# ---- T15: configurations of adapters that ask for more than plain LoRA -------------------------------------------


@pytest.fixture
def adapter(tmp_path):
    """An adapter of the tiny task, its folder, and how to rewrite its configuration."""
    from lalora_kit import adapters
    from tests.tiny import linear_task, random_adapter

    task = linear_task()
    folder = tmp_path / "adapter"
    adapters.save(random_adapter(task, 2, 0.5, seed=1), folder, task.backbone, task.targets, task.head)
    path = folder / "adapter_config.json"

    def rewrite(**values):
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}), "utf-8")
        return folder, task

    return rewrite


REFUSED_FIELDS = {
    "peft_type": "IA3",
    "layers_to_transform": [0],
    "use_rslora": True,
    "use_dora": True,
    "rank_pattern": {"body": 1},
    "alpha_pattern": {"body": 1},
    "bias": "lora_only",
    "modules_to_save": None,
    "fan_in_fan_out": True,
    "init_lora_weights": "pissa_niter_4",
    "loftq_config": {"loftq_bits": 4},
    "layers_pattern": "layers",
    "exclude_modules": ["body"],
    "target_parameters": ["body.weight"],
    "target_modules": ["head"],
    "lora_bias": True,
    "alora_invocation_tokens": [1, 2],
    "trainable_token_indices": [0],
    "a_field_of_tomorrow": "on",
}


@pytest.mark.parametrize("name", REFUSED_FIELDS)
def test_t15_a_field_that_is_not_honoured_is_refused_by_name(name, adapter):
    from lalora_kit import load_adapter

    folder, task = adapter(**{name: REFUSED_FIELDS[name]})
    with pytest.raises(ValueError, match=name) as caught:
        load_adapter(folder, task)
    assert str(folder) in str(caught.value) and "; " in str(caught.value)


@pytest.mark.parametrize("value", ["pissa", "olora", "loftq", "corda", "eva", "lora_ga", 7])
def test_t15_an_initialisation_that_changes_the_base_is_refused(value, adapter):
    from lalora_kit import load_adapter

    with pytest.raises(ValueError, match="init_lora_weights"):
        load_adapter(*adapter(init_lora_weights=value))


def test_t15_a_first_layer_is_not_taken_for_nothing(adapter):
    """`layers_to_transform` may be a bare number, and 0 equals False."""
    from lalora_kit import load_adapter

    with pytest.raises(ValueError, match="layers_to_transform=0"):
        load_adapter(*adapter(layers_to_transform=0))


@pytest.mark.parametrize(
    "values",
    [
        {"lora_dropout": 0.1, "task_type": "SEQ_CLS", "inference_mode": True, "revision": "main"},
        {"init_lora_weights": "gaussian", "bias": "none", "qalora_group_size": 16, "loftq_config": {}},
        {"a_field_of_tomorrow": None, "another": False, "a_third": [], "a_fourth": 0},
        {"modules_to_save": ["head", "score"], "target_modules": "bo.*"},
    ],
)
def test_t15_what_asks_for_nothing_more_is_read(values, adapter):
    from lalora_kit import load_adapter

    load_adapter(*adapter(**values))
