"""One round, looked at from inside: where each client's copy of the adapter stands after every local step.

A simulator may look; a server sees what is uploaded at the end, and nobody sees a step without its noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter, unstack
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import Run, Side, charge
from lalora_kit.methods import Method
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task


@dataclass(frozen=True)
class OneRound:
    """The first round of a run, in the plane in which the clients' paths are told apart best.

    paths: for each client its `(x, y)` after 0, 1, … local steps; x is along the server's move, y along the direction
    in which the clients' ends differ most. Both are L2 lengths over all entries of A and B.
    average: `(x, y)` of the average of the ends: where the server goes.
    factors: what trains at each local step, "A", "B" or "AB"; "" where no factor does.
    lengths: L2 length of each client's whole move; `moved` that of the average.
    """

    paths: Sequence[Sequence[tuple[float, float]]]
    average: tuple[float, float]
    factors: Sequence[str]
    lengths: Sequence[float]
    moved: float


def one_round(task: Task, method: Method, settings: Settings, ledger: Ledger) -> OneRound:
    """Play round 1 of a run, whose releases are charged to `ledger`, and look at every client after every local step.

    Raises:
        ValueError: if settings do not fit the task, or the method trains no factor.
        BudgetExceeded: if the round would pass the target ε.
    """
    factors = ["".join(sorted(method.trains(1, k))) for k in range(1, settings.local_steps + 1)]
    if not any(factors):
        raise ValueError(f"method={method.name!r} trains no factor, so its adapter stays where it is; choose another")
    plan = make_plan(task, method, settings, ledger, None)
    engine = Engine(task, settings.scale, device=settings.device, max_samples=plan.max_samples)
    run = Run(task, method, settings, plan, engine, ledger, None)
    charge(run, 1)
    start = plan.start.map(lambda value: value.to(engine.device))
    side, places = Side(run), [torch.zeros(len(plan.schedule[0]), flat(start).numel(), dtype=torch.float64)]
    for k in range(1, settings.local_steps + 1):  # the same draws and the same noise each time, one step further
        local, _ = side.local_round(start, 1, range(1, k + 1))
        clients = unstack(local, len(plan.schedule[0]))
        places.append(torch.stack([flat(one) - flat(start) for one in clients]))
    ends = places[-1]
    weights = torch.tensor(plan.weights(plan.schedule[0]), dtype=torch.float64)
    average = (weights[:, None] * ends).sum(0) / weights.sum()
    plane = torch.stack([average / average.norm(), apart(ends, average)])
    seen = torch.stack(places) @ plane.T  # (steps + 1, clients, 2)
    paths = [[(float(x), float(y)) for x, y in seen[:, c]] for c in range(len(ends))]
    x, y = (float(value) for value in plane @ average)
    return OneRound(paths, (x, y), factors, [float(end.norm()) for end in ends], float(average.norm()))


def flat(adapter: Adapter) -> Tensor:
    """All entries of A and B in a row, in float64 on the CPU."""
    parts = [
        value.detach().cpu().double().flatten() for (kind, _), value in sorted(adapter.tensors.items()) if kind in "AB"
    ]
    return torch.cat(parts)


def apart(ends: Tensor, average: Tensor) -> Tensor:
    """The direction, at right angles to the average's, in which the clients' ends `(clients, n)` differ most."""
    along = average / average.norm()
    rest = ends - (ends @ along)[:, None] * along
    return torch.linalg.svd(rest, full_matrices=False)[2][0]
