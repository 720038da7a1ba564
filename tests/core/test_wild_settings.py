"""Settings of every kind and type: refused in one sentence before anything happens, or a round that keeps its promises.

Each example either raises `ValueError` (no sample drawn, no file made) or runs one real round on a tiny task.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections import Counter
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from lalora_kit import local
from lalora_kit.engine.adapters import create
from lalora_kit.methods import METHODS
from lalora_kit.privacy import Ledger, Streams
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.settings import Settings
from tests.tiny import linear_task

pytestmark = pytest.mark.slow

TASK = linear_task()
#: What a careful user sets; the accountant's answers for these few are computed once and cached.
SENSIBLE: dict[str, list[object]] = {
    "epsilon": [3.0, math.inf],
    "delta": [1e-3],
    "clip_norm": [0.1, 1.0, 50.0],
    "clip_head_share": [0.0, 0.5],
    "rank": [1, 2, 3],
    "alpha": [None, 1.0, 16.0],
    "clients": [1, 2, 4, 7],
    "participation": [0.3, 0.5, 1.0],
    "dirichlet_beta": [None, 0.5, 10.0],
    "rounds": [1],
    "local_steps": [2],
    "sample_rate": [0.3, 1.0],
    "batch_size": [None],
    "learning_rate": [0.01, 0.5],
    "head_learning_rate": [0.01, 0.5],
    "optimizer": ["sgd", "adamw"],
    "weight_decay": [0.0, 0.1],
    "lr_decay": [0.5, 1.0],
    "precondition": [None, 1e-3],
    "seed": [None, 0, 7],
    "device": ["cpu"],
    "precision": ["fp32", "bf16"],
    "threads": [None, 1, 2],
    "max_samples": [None, 1, 5],
    "evaluate_every": [1, 2],
    "teaching": [True, False],
}
assert SENSIBLE.keys() == {field.name for field in fields(Settings)}

#: What nobody should, of every type; where it is allowed all the same, the run must keep its promises.
WILD = [
    *(None, True, False, 0, 1, -1, 2, 10**3, 10**9, 10**12, 10**400, -(10**400)),
    *(0.5, 1e-3, 1e3, 1e9, 1e-9, 1e-300, 1e300, 5e-324, math.nan, math.inf, -math.inf),
    *("", "1", "nan", "cpu", "cuda:99", "meta", "sgd", "\x00", "\ud800", "../../x", b"1"),
    *([], [1], {}, {"a": 1}, (), object, float, 1j, Decimal("0.5"), Fraction(1, 3), Fraction(10**400)),
    *(np.float32(0.5), np.int64(2), np.bool_(True), np.array([1, 2]), np.array(0.5), np.longdouble("1e400")),
    *(torch.tensor(2), torch.tensor([0.5, 1.0])),
]
#: The accountant may take seconds for numbers that it has not met: `EXTREMES` has some of those, by themselves.
ACCOUNTED = ("epsilon", "delta", "sample_rate", "batch_size", "rounds", "local_steps")


def moderate(value: object) -> bool:
    """A number that is likely to be allowed."""
    return isinstance(value, int | float | Fraction | np.number) and 0 < abs(value) < 1e7


@st.composite
def settings_given(draw: st.DrawFn) -> dict[str, object]:
    """Sensible settings, of which some have been replaced by something wild."""
    values = {name: draw(st.sampled_from(choices)) for name, choices in SENSIBLE.items()}
    free = [name for name in SENSIBLE if name not in ACCOUNTED]
    for name in draw(st.lists(st.sampled_from(free), max_size=2, unique=True)):
        values[name] = draw(st.sampled_from(WILD) | st.integers() | st.floats() | st.text(max_size=5))
    if draw(st.integers(0, 4)) == 0:
        name = draw(st.sampled_from(ACCOUNTED))
        values[name] = draw(st.sampled_from([value for value in WILD if not moderate(value)]) | st.text(max_size=5))
    return values


def check_round(directory: Path, given_: Settings, method: str) -> None:
    """One round, and everything that must hold of it."""
    frozen = {name: value.clone() for name, value in TASK.backbone.state_dict().items()}
    rounds = save_rounds(TASK, METHODS[method], given_, directory)
    first = next(rounds)
    rounds.close()
    streams = Streams(first.state.secret)
    start = create(TASK.backbone, TASK.targets, TASK.head, given_.rank, given_.scale, streams.generator("init"))
    assert first.epsilon <= given_.epsilon + 1e-9
    assert all(torch.equal(value, frozen[name]) for name, value in TASK.backbone.state_dict().items())
    assert all(torch.isfinite(value).all() for value in first.adapter.tensors.values())
    trained = METHODS[method].trained_in(1, given_.local_steps)
    for key, value in first.adapter.tensors.items():
        if key[0] not in (*trained, "head"):
            assert torch.equal(value, start.tensors[key]), f"{key} was to stand still"
        elif given_.private:
            assert not torch.equal(value, start.tensors[key]), f"{key} was to move"
    [line] = (directory / "rounds.jsonl").read_text().splitlines()
    assert json.loads(line) == json.loads(json.dumps(first.to_json(), allow_nan=False))
    releases = [json.loads(line) for line in (directory / "ledger.jsonl").read_text().splitlines()]
    assert len(releases) == given_.participants * given_.local_steps == len(Ledger(directory / "ledger.jsonl"))
    assert set(Counter(line["client"] for line in releases)) == set(first.participants)


def try_out(values: dict[str, object], method: str, directory: Path) -> str:
    """Refused before anything happened, or a run that keeps its promises."""
    with mock.patch.object(local, "poisson_draw", wraps=local.poisson_draw) as drawn, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"delta=.* is above a tenth", UserWarning)
        try:
            given_ = Settings(**values)  # type: ignore[arg-type]
            check_round(directory, given_, method)
        except ValueError as error:
            assert not drawn.called and not directory.exists(), f"work had begun: {error}"
            message = str(error)
            assert "; " in message, message  # what is wrong, and what to do
            assert len(message) < 1000 and "\n" not in message
            return "refused"
    return "ran"


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    values=settings_given(), method=st.sampled_from(["la-lora", "dp-lora", "ffa-lora", "head-only", "la-lora-nofilter"])
)
def test_any_settings_are_refused_up_front_or_run_as_promised(values, method, tmp_path):
    directory = tmp_path / "run"
    shutil.rmtree(directory, ignore_errors=True)
    event(try_out(values, method, directory))


PLAIN = {name: choices[-1] for name, choices in SENSIBLE.items()} | {"epsilon": 3.0, "precision": "fp32"}
EXTREMES = [
    ("epsilon", 0.03),
    ("epsilon", 1e6),
    ("epsilon", 1e300),
    ("epsilon", 50),
    ("delta", 1e-300),
    ("delta", 5e-324),
    ("delta", 0.999),
    ("sample_rate", 1e-12),
    ("sample_rate", 5e-324),
    ("rounds", 5_000),
    ("rounds", 10**6),
    ("rounds", 10**12),
    ("local_steps", 10**12),
    ("clip_norm", 1e-300),
    ("clip_norm", 1e300),
    ("learning_rate", 1e-300),
    ("learning_rate", 1e30),
    ("weight_decay", 1e30),
    ("alpha", 1e300),
    ("alpha", 1e-300),
    ("alpha", 1e6),
    ("alpha", 1e-6),
    ("precondition", 1e-300),
    ("precondition", 1e-7),
    ("precondition", 1e7),
    ("dirichlet_beta", 1e-3),
    ("dirichlet_beta", 1e6),
    ("dirichlet_beta", 1e300),
    ("seed", 2**64 - 1),
    ("max_samples", 10**12),
    ("lr_decay", 1e-300),
    ("participation", 1e-300),
    ("device", "meta"),
    ("device", "mps"),
    ("device", "cpu:3"),
    ("device", "xpu"),
]


@pytest.mark.parametrize(("name", "value"), EXTREMES, ids=lambda part: str(part))
def test_extremes_alone_neither_hang_nor_break(name, value, tmp_path):
    try_out({**PLAIN, name: value}, "la-lora", tmp_path / "run")
