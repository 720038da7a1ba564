"""Personal state: tensors that stay with each client, for a method whose server has no model for all (`Method.stays`).

A simulator is the clients too. So the adapter that it carries from round to round, and through a checkpoint, also holds
what they have at home: `home B` is each client's B `(clients, m, r)`. What a client sends up holds none of it, and
neither does what the server averages. Such a method makes a model a client; any other makes one, the server's.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, Key, stack
from lalora_kit.methods.method import Method
from lalora_kit.tasks import Split

if TYPE_CHECKING:
    from lalora_kit.engine.persample import Engine

HOME = "home "


def homes(adapter: Adapter) -> dict[Key, Tensor]:
    """What the clients have at home, `(clients, ...)`, by the key that it has in a client's adapter."""
    at_home = [(kind, name) for kind, name in adapter.tensors if kind.startswith(HOME)]
    return {(kind.removeprefix(HOME), name): adapter.tensors[kind, name] for kind, name in at_home}


def without_homes(adapter: Adapter) -> Adapter:
    """The server's part."""
    return Adapter({key: value for key, value in adapter.tensors.items() if not key[0].startswith(HOME)}, adapter.scale)


def with_homes(start: Adapter, method: Method, clients: int) -> Adapter:
    """The first adapter, with a copy at each client's of what stays there; as it is where nothing stays."""
    staying = {key: value for key, value in stack(start, clients).own().items() if key[0] in method.stays}
    return start.with_tensors({(f"{HOME}{kind}", name): value for (kind, name), value in staying.items()})


def stacked_at_home(server: Adapter, clients: Sequence[int]) -> Adapter:
    """The server's adapter, one copy a client, each with its own of what it has at home."""
    local = stack(server, len(clients))
    return local.with_tensors({key: value[list(clients)] for key, value in homes(server).items()})


def averaged(
    method: Method, server: Adapter, clients: Sequence[int], adapters: Sequence[Adapter], weights: Sequence[float],
    trained: frozenset[str],
) -> Adapter:  # fmt: skip
    """What the server makes of what clients send, by the method's `aggregate`, and what they keep at home.

    Of what stays at home, `aggregate` is shown what the server sent, which nobody's data have moved.
    """
    kept = homes(server)
    if not kept:
        return method.aggregate(server, adapters, weights, trained)
    away = without_homes(server)
    sent = [away.with_tensors({k: v for k, v in adapter.own().items() if k not in kept}) for adapter in adapters]
    mean = method.aggregate(away, sent, weights, trained)
    for key, before in kept.items():
        after = before.clone()
        after[list(clients)] = torch.stack([adapter.tensors[key] for adapter in adapters])
        mean = mean.with_tensors({(f"{HOME}{key[0]}", key[1]): after})
    return mean


def models(method: Method, adapter: Adapter) -> dict[str, Adapter]:
    """The models that a method makes, as its layers read them, by folder: "" for one, `client-0`, ... for several."""
    kept, bare = homes(adapter), without_homes(adapter)
    count = len(next(iter(kept.values()), ()))
    own = {f"client-{c}": bare.with_tensors({key: value[c] for key, value in kept.items()}) for c in range(count)}
    return {name: Adapter(method.reads(one.tensors), one.scale) for name, one in (own or {"": bare}).items()}


def the_model(method: Method, adapter: Adapter) -> Adapter:
    """The one model of a method that makes one; `ValueError` if each client has its own."""
    found = models(method, adapter)
    if "" not in found:
        raise ValueError(
            f"{method.name} leaves each client a model of its own, so there is not one to look at here; "
            f"take one of {', '.join(found)} from the run's adapter folder, with load_adapter"
        )
    return found[""]


def judged(method: Method, engine: Engine, adapter: Adapter, test: Split) -> tuple[float, float, tuple[float, ...]]:
    """Accuracy and loss on a split, means over the models; and each model's accuracy, where there are several."""
    scores = [engine.evaluate(model, test) for model in models(method, adapter).values()]
    each, losses = zip(*scores, strict=True)
    return mean_of(each), mean_of(losses), each if homes(adapter) else ()


def mean_of(values: Sequence[float]) -> float:
    """Of one value that value, to the bit; NaN where nothing was judged."""
    return math.nan if any(map(math.isnan, values)) else statistics.fmean(values)
