"""Travel: how much of what leaves a site, and how the same is run for real; as texts and tables for a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from lalora_kit.engine.adapters import create
from lalora_kit.lessons.sites.across import NAMES
from lalora_kit.methods import Method
from lalora_kit.runs.sites.wire import pack
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task

TOLD = ("site", "round", "size", "rate", "sigma", "epsilon")


def weighed(task: Task, method: Method, settings: Settings) -> dict[str, int]:
    """Bytes that the server and one site send each other in a round: the model, the upload's numbers, facts beside."""
    start = create(task.backbone, task.targets, task.head, settings.rank, 1.0, np.random.default_rng(0))
    keys, steps = start.keys(method.trained_in(1, settings.local_steps)), range(1, settings.local_steps + 1)
    kinds = [{kind for kind, _ in start.keys(method.trains(1, k))} for k in steps]
    size, most = len(task.train) // settings.clients, 1 / 3  # as many digits as a number can have
    facts = {"site": NAMES[0], "round": 1, "size": size, "rate": settings.sample_rate, "sigma": most, "others": []}
    facts["epsilon"] = most
    reply = len(pack(start, keys, facts, [0.0] * sum(map(len, kinds))))
    numbers = 4 * sum(start.tensors[key].numel() for key in keys)
    down = len(pack(start, sorted(start.tensors), {}))
    return {"down: the model": down, "up: the noised upload": numbers, "facts beside them": reply - numbers}


def contents(task: Task, method: Method, settings: Settings, reply: bytes) -> str:
    """What an upload holds, as a Markdown table: what it is, how much of it, and who else may see it."""
    weight, about_ = weighed(task, method, settings), facts_in(reply)
    numbers = weight["up: the noised upload"] // 4
    said = ", ".join(f"{name} {shown(value)}" for name, value in about_.items() if name in TOLD)
    return as_table(
        ["in the upload", "how much", "what it is"],
        [
            ["factors and head", f"{numbers:,} numbers, {4 * numbers:,} bytes",
             "the model after its local steps, noised"],
            ["facts", f"{len(reply) - 4 * numbers:,} bytes", f"public: {said}; lengths of the noised steps"],
            ["samples, labels, plain gradients, the secret", "0 bytes", "stay at the site"],
        ],
    )  # fmt: skip


def facts_in(reply: bytes) -> dict[str, Any]:
    """The facts beside an upload's numbers."""
    head = json.loads(reply[8 : 8 + int.from_bytes(reply[:8], "little")])
    return dict(json.loads(head["__metadata__"]["about"]))


def shown(value: Any) -> str:
    """A fact, short."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def as_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def for_real() -> str:
    """How to run the same over Flower from here, and whether it is installed."""
    here = f"Flower {version('flwr')} is installed here." if find_spec("flwr") else (
        "Flower is not installed here, so no message left this process. In an environment of its own:\n"
        "    python -m pip install 'lalora-kit[flower]'"
    )  # fmt: skip
    return "\n".join([
        here, "Three terminals (DEPLOYING.md has each line, and what to break afterwards):",
        "    lalora serve app trial --sites north,south --task digits --rounds 5    # the server: app and terms",
        "    lalora site init north --name north --task digits --share 1/2 --epsilon 3",
        "    lalora site run north --terms trial/terms.json --connect 127.0.0.1:8000 --insecure",
    ])  # fmt: skip
