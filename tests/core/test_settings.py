"""Settings: what is refused, how it is said, and that they survive being written down."""

from __future__ import annotations

import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalora_kit.settings import DEFAULT_SAMPLE_RATE, Settings

REFUSED = [
    ("epsilon", 0),
    ("epsilon", -1.0),
    ("epsilon", math.nan),
    ("epsilon", -math.inf),
    ("epsilon", 0.001),
    ("epsilon", "3"),
    ("epsilon", None),
    ("epsilon", True),
    ("epsilon", 1j),
    ("delta", 0.0),
    ("delta", 1.0),
    ("delta", 2),
    ("delta", -1e-5),
    ("delta", math.nan),
    ("clip_norm", 0.0),
    ("clip_norm", -1.0),
    ("clip_norm", math.inf),
    ("clip_norm", math.nan),
    ("clip_head_share", 1.0),
    ("clip_head_share", -0.1),
    ("clip_head_share", math.nan),
    ("clip_head_share", None),
    ("rank", 0),
    ("rank", 2.0),
    ("rank", True),
    ("alpha", 0.0),
    ("alpha", -1.0),
    ("clients", 0),
    ("clients", 2.5),
    ("participation", 0.0),
    ("participation", 1.1),
    ("participation", math.nan),
    ("dirichlet_beta", 0.0),
    ("dirichlet_beta", math.inf),
    ("rounds", 0),
    ("rounds", 1.5),
    ("local_steps", 0),
    ("local_steps", -3),
    ("sample_rate", 0.0),
    ("sample_rate", 1.5),
    ("sample_rate", math.nan),
    ("batch_size", 0.5),
    ("batch_size", math.inf),
    ("batch_size", math.nan),
    ("learning_rate", 0.0),
    ("learning_rate", math.nan),
    ("head_learning_rate", -1.0),
    ("head_learning_rate", math.inf),
    ("optimizer", "adam"),
    ("weight_decay", -0.1),
    ("weight_decay", math.inf),
    ("lr_decay", 0.0),
    ("lr_decay", 1.01),
    ("precondition", 0.0),
    ("seed", -1),
    ("seed", 1.0),
    ("device", ""),
    ("device", 0),
    ("precision", "fp16"),
    ("max_samples", 0),
    ("evaluate_every", 0),
    ("evaluate_every", None),
    ("evaluate_every", 1.5),
    ("teaching", 1),
]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=lambda part: repr(part))
def test_a_bad_value_is_refused_with_the_value_the_rule_and_the_remedy(name, value):
    with pytest.raises(ValueError) as caught:
        Settings(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}={value!r} is not possible: ")
    rule, remedy = message.removeprefix(f"{name}={value!r} is not possible: ").split("; ", 1)
    assert rule and remedy


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_an_integer_too_long_to_write_out_is_refused_in_short(field):
    with pytest.raises(ValueError, match=rf"^{field.name}=<integer of 16610 bits> is not possible: .*; "):
        Settings(**{field.name: 10**5000})


@pytest.mark.parametrize("name", ["nan", "alhpa", "lr"])
def test_an_unknown_setting_is_refused(name):
    with pytest.raises(TypeError):
        Settings(**{name: 1})


def test_rate_and_batch_exclude_each_other():
    with pytest.raises(ValueError, match=r"batch_size=16 is not possible: sample_rate=0\.1 is set too.*set one"):
        Settings(sample_rate=0.1, batch_size=16)
    assert Settings().sample_rate == DEFAULT_SAMPLE_RATE and Settings().batch_size is None
    assert Settings(batch_size=16).sample_rate is None


def test_the_edges_are_allowed():
    Settings(epsilon=0.03, sample_rate=1.0, participation=1.0, lr_decay=1.0, weight_decay=0.0, seed=0, rank=1)
    Settings(epsilon=math.inf, clients=1, rounds=1, local_steps=1, batch_size=1, max_samples=1, device="cuda")


def test_settings_are_frozen_and_equal_by_value():
    assert Settings(seed=1) == Settings(seed=1) != Settings(seed=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().rank = 3


def test_scale_private_and_participants():
    assert Settings(rank=4).scale == 1.0 and Settings(rank=4, alpha=8).scale == 2.0
    assert Settings().private and not Settings(epsilon=math.inf).private
    shares = {(8, 1.0): 8, (8, 0.5): 4, (8, 0.51): 5, (10, 0.3): 3, (5, 0.01): 1, (1, 0.5): 1, (20, 0.15): 3}
    assert {key: Settings(clients=key[0], participation=key[1]).participants for key in shares} == shares


@given(
    epsilon=st.floats(0.03, 1e6) | st.just(math.inf),
    rank=st.integers(1, 64),
    beta=st.none() | st.floats(0.01, 10),
    seed=st.none() | st.integers(0, 2**40),
    sampling=st.fixed_dictionaries({"sample_rate": st.floats(0.01, 1)})
    | st.fixed_dictionaries({"batch_size": st.integers(1, 99)}),
)
def test_settings_survive_json(epsilon, rank, beta, seed, sampling):
    settings = Settings(epsilon=epsilon, rank=rank, dirichlet_beta=beta, seed=seed, **sampling)
    written = json.dumps(settings.to_json(), allow_nan=False)
    assert (json.loads(written)["epsilon"] is None) == math.isinf(epsilon)
    assert Settings.from_json(json.loads(written)) == settings


def test_numbers_of_numpy_and_fractions_become_plain_ones():
    """A slider or a loop over an array hands these in, and equal settings must be written alike."""
    given_ = Settings(
        epsilon=3, seed=np.int64(0), clients=np.int32(8), learning_rate=np.float32(0.5), sample_rate=Fraction(1, 4)
    )
    plain = Settings(epsilon=3.0, seed=0, clients=8, learning_rate=0.5, sample_rate=0.25)
    assert json.dumps(given_.to_json()) == json.dumps(plain.to_json())


def test_settings_of_another_version_are_refused():
    values = {**Settings().to_json(), "colour": "red"}
    with pytest.raises(ValueError, match=r"unknown names \['colour'\]"):
        Settings.from_json(values)
