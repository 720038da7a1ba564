"""Who averages what: one round's uploads, three servers, how far each lands from the mean of the moves.

    factors    B̄·Ā, the product of the mean factors (FedAvg of LoRA): loses Σ wᵢ(Bᵢ−B̄)(Aᵢ−Ā)
    products   Σ wᵢBᵢAᵢ, by stacking (FLoRA) or with the residual (FedEx-LoRA): exact
    SVD        that mean, cut to rank r (FlexLoRA)

The measure is the exact mean of the same clients without noise. With noise of standard deviation τ on every entry of
every client's factors, the energy (squared Frobenius norm) of N_B·N_A falls with 1/N² where factors are averaged and
with 1/N where products are. The noise's own walk only: what noise does to later gradients is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lalora_kit.engine.adapters import Adapter
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import Run, Side, rounds
from lalora_kit.lessons.amplification import pairs, square_sum
from lalora_kit.local import Uploads
from lalora_kit.methods import Method
from lalora_kit.methods.algebra import moved
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger, gaussian, safe_noise_multiplier
from lalora_kit.records import Round
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task

WAYS = ("factors", "products", "SVD")


class Seen(NamedTuple):
    """A round as only a simulator can see it: its record, what the server sent, and what each client sent back."""

    record: Round
    sent: Adapter
    uploads: Sequence[Adapter]
    weights: Sequence[float]


class Kept:
    """All clients in one process, as a run has them; keeps what went down and what came up in the last round."""

    def __init__(self, run: Run) -> None:
        self.side = Side(run)
        self.last: tuple[Adapter, Uploads]

    def uploads(self, server: Adapter, t: int, steps: range | None = None) -> Uploads:
        """The clients' own, looked at on their way."""
        sent = self.side.uploads(server, t, steps)
        self.last = server, sent
        return sent


def watched(task: Task, method: Method, settings: Settings, ledger: Ledger) -> Iterator[Seen]:
    """A run, round by round, with every client's upload; all releases are charged to `ledger`.

    Raises:
        ValueError: if settings do not fit the task.
        BudgetExceeded: before the round that would pass the target ε.
    """
    plan = make_plan(task, method, settings, ledger, None)
    engine = Engine(task, settings.scale, device=settings.device, max_samples=plan.max_samples)
    run = Run(task, method, settings, plan, engine, ledger, None)
    sites = Kept(run)
    for record in rounds(replace(run, sites=sites)):
        server, sent = sites.last
        yield Seen(record, server, sent.adapters, plan.weights(sent.clients))


def served(method: Method, task: Task, seen: Seen) -> dict[str, Tensor]:
    """What a method's server makes of the uploads of any run that trains A and B: each layer's move, `(m, n)`."""
    broadcast = method.begins(seen.sent, task.backbone, np.random.default_rng(0))
    return moved(method.aggregate(broadcast, seen.uploads, seen.weights, frozenset("AB")))


def exact_mean(seen: Seen) -> dict[str, Tensor]:
    """s·Σ wᵢBᵢAᵢ of each layer `(m, n)`: the mean of what the clients' own models move by."""
    moves = [one.map(Tensor.double).products() for one in seen.uploads]
    return {
        name: torch.stack([w * move[name] for w, move in zip(seen.weights, moves, strict=True)]).sum(0)
        for name in moves[0]
    }


def apart(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """‖one − other‖ / ‖other‖ over all layers (Frobenius)."""
    return math.sqrt(sum(square_sum(one[x] - y) for x, y in other.items()) / sum(map(square_sum, other.values())))


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of all clients: A `(N, r, n)`, B `(N, m, r)`, and a draw of noise of deviation 1 for each.

    `own` `(N, r)` says which of the r rows a client has: one of a smaller rank has zeros beyond, and no noise there.
    """

    A: Tensor
    B: Tensor
    N_A: Tensor
    N_B: Tensor
    own: Tensor

    def first(self, clients: int) -> Layer:
        """The first so many of them."""
        return Layer(*(part[:clients] for part in (self.A, self.B, self.N_A, self.N_B, self.own)))

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The mean of N clients' products at noise τ is `exact + τ·linear + τ²·cross`, `(m, n)` each."""
        linear = self.B @ self.N_A + self.N_B @ self.A
        return (self.B @ self.A).mean(0), linear.mean(0), (self.N_B @ self.N_A).mean(0)

    def made(self, way: str, noise_std: float) -> Tensor:
        """What a server makes of them, `(m, n)`: its factors' product, its mean product, or that cut to rank r."""
        if way == "factors":
            return (self.B + noise_std * self.N_B).mean(0) @ (self.A + noise_std * self.N_A).mean(0)
        exact, linear, cross = self.parts()
        product = exact + noise_std * linear + noise_std**2 * cross
        return product if way == "products" else best_of_rank(product, self.A.shape[1])


def best_of_rank(product: Tensor, rank: int) -> Tensor:
    """The closest `(…, m, n)` of that rank: through the eigenvectors of its smaller Gram matrix, which is fast."""
    wide = product if product.shape[-2] >= product.shape[-1] else product.mT
    directions = torch.linalg.eigh(wide.mT @ wide)[1][..., -rank:]  # of the largest eigenvalues
    best = wide @ directions @ directions.mT
    return best if product.shape[-2] >= product.shape[-1] else best.mT


def layers_of(uploads: Sequence[Adapter], generator: np.random.Generator) -> list[Layer]:
    """Clients' uploads without noise, layer by layer, each with a draw of noise beside it."""
    found = []
    for layer in zip(*map(pairs, uploads), strict=True):
        A, B = (torch.stack(factors) for factors in zip(*layer, strict=True))
        own = (A != 0).any(-1)  # (N, r)
        N_A, N_B = (gaussian(x.numel(), 1.0, generator).reshape(x.shape) for x in (A, B))
        found.append(Layer(A, B, N_A * own[:, :, None], N_B * own[:, None, :], own))
    return found


@dataclass(frozen=True)
class Off:
    """How far a server lands from the exact mean, in energies over that mean's own.

    lost: what the mean of factors loses without any noise. linear: of noise on one factor. cross: of N_B·N_A.
    exact: the energy of the exact mean.
    """

    lost: float
    linear: float
    cross: float
    exact: float

    @property
    def size(self) -> float:
        """The norm of it all over the norm of the exact mean; the three are uncorrelated, so their energies add up."""
        return math.sqrt(self.lost + self.linear + self.cross)


def expected_off(layers: Sequence[Layer], noise_std: float, way: str) -> Off:
    """In closed form, for clients of equal weight.

    With u_k = Σ 1/N² over the clients that have row k: factors have τ⁴·m·n·Σ u_k² of N_B·N_A, products τ⁴·m·n·Σ u_k.

    Raises:
        ValueError: for a way that has no closed form.
    """
    if way not in WAYS[:2]:
        raise ValueError(f"way={way!r} has no closed form; it is one of {', '.join(WAYS[:2])}; use sampled_off")
    total = lost = linear = cross = 0.0
    for layer in layers:
        A, B, own = layer.A, layer.B, layer.own.double()
        count, m, n = len(A), B.shape[1], A.shape[2]
        exact, factors = (B @ A).mean(0), B.mean(0) @ A.mean(0)
        u = own.sum(0) / count**2  # (r,)
        if way == "factors":
            rows, columns = A.mean(0).square().sum(1), B.mean(0).square().sum(0)  # (r,) each
            linear += float((u * (n * columns + m * rows)).sum())
            lost, cross = lost + square_sum(exact - factors), cross + m * n * float(u.square().sum())
        else:
            rows, columns = A.square().sum(2), B.square().sum(1)  # (N, r) each
            linear += float((own * (n * columns + m * rows)).sum()) / count**2
            cross += m * n * float(u.sum())
        total += square_sum(exact)
    return Off(lost / total, noise_std**2 * linear / total, noise_std**4 * cross / total, total)


def sampled_off(layers: Sequence[Layer], noise_std: float, way: str) -> tuple[float, float]:
    """`Off.size` as measured at the layers' draw of noise, for the SVD too; and the cosine to the exact mean.

    The cosine does not change when a result is scaled: who only makes everything smaller gains nothing in it.
    """
    error = total = size = inner = 0.0
    for layer in layers:
        exact, made = layer.parts()[0], layer.made(way, noise_std)
        error, total = error + square_sum(made - exact), total + square_sum(exact)
        size, inner = size + square_sum(made), inner + float((made * exact).sum())
    return math.sqrt(error / total), inner / math.sqrt(size * total)


def gap_at(layers: Sequence[Layer], noise_std: float) -> float:
    """The aggregation gap of a private round, foretold: of the mean of products, what the mean of factors lacks."""
    made = [{str(i): layer.made(way, noise_std) for i, layer in enumerate(layers)} for way in WAYS[:2]]
    return apart(*made)


def round_noise(settings: Settings, held: float) -> float:
    """Noise per entry of a client's factors after a round that trains both: √K·η·C·σ / L, with L = q·held samples."""
    rate = settings.sample_rate if settings.batch_size is None else settings.batch_size / held
    assert rate is not None
    steps = settings.rounds * settings.local_steps
    sigma = safe_noise_multiplier(settings.epsilon, settings.delta, rate, steps) if settings.private else 0.0
    return math.sqrt(settings.local_steps) * settings.learning_rate * settings.clip_norm * sigma / (rate * held)
