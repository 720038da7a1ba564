"""The door that every task passes before anything is charged: it is tried on two made-up samples.

ε holds if each sample's gradient is its own and is clipped. So one sample, a short text where there are lengths,
goes through the engine beside another one and alone; see `engine.tryout`. What cannot be computed fails here,
before a release.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator

import torch
from torch import nn

from lalora_kit.base.steps import step
from lalora_kit.engine.onepass import Way
from lalora_kit.engine.tryout import SEED, try_out
from lalora_kit.methods import Method
from lalora_kit.methods.method import check_smooth
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task
from lalora_kit.tasks.adaptable import check_backbone, linear_names
from lalora_kit.tasks.madeup import check_positions
from lalora_kit.tasks.unsound import Unsound

_PASSED: weakref.WeakKeyDictionary[Task, set[tuple[object, ...]]] = weakref.WeakKeyDictionary()


@step("trying the backbone on made-up samples")
def check_sound(task: Task, method: Method, settings: Settings) -> None:
    """Try a task, once a process for each way of computing it.

    It costs no more than a forward and backward pass of 4 samples at the task's own size: two together and one of
    them alone go forward and backward, the other goes forward alone, and once more as it is evaluated; texts at half
    their length, and once forward at full length. With two copies of the model that was 1.1 of it in processor time on
    Swin-T and 1.4 on RoBERTa-base. No private sample is touched, and no random stream of the run.

    Raises:
        ValueError: naming the module that rules the task out, or what could not be computed; nothing was charged.
    """
    check_mode()
    check_backbone(task)
    linear_names(task.backbone.get_submodule(task.head))
    check_positions(task)
    steps = range(1, settings.local_steps + 1)
    factors = frozenset().union(*(method.trains(t, k) for t in range(1, settings.rounds + 1) for k in steps))
    if factors and not task.targets:
        raise ValueError(f"task {task.name!r} has no targets: {method.name} adapts nothing; name some or use head-only")
    check_smooth(task, method, factors, settings.rank)
    done = _PASSED.setdefault(task, set())
    key = (factors, settings.device, settings.precision, *made_of(task.backbone))
    if key in done:
        return
    device = torch.device(settings.device)
    try:
        with apart(device):
            try_out(Way(task, factors, device, settings.precision))
    except Unsound as error:
        raise ValueError(f"task {task.name!r} cannot be trained privately: {error}") from error
    done.add(key)


def check_mode() -> None:
    """Refuse torch's inference mode, in which no gradient can be had."""
    if torch.is_inference_mode_enabled():
        raise ValueError(
            "torch.inference_mode is on, and no gradient can be computed in it; train outside of it (torch.no_grad "
            "does no harm)"
        )


def made_of(model: nn.Module) -> tuple[object, ...]:
    """What a model is built of, cheaply: a layer that is exchanged, or given another forward, is tried again."""
    return tuple(
        (name, id(module), type(module).forward, id(vars(module).get("forward")))
        for name, module in model.named_modules()
    )


@contextlib.contextmanager
def apart(device: torch.device) -> Iterator[None]:
    """A random stream of its own for models that draw numbers; torch's are given back as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        yield
