"""The plan of a run: everything that is fixed, and public, before the first sample is drawn.

Who holds what, who joins which round, how often each client samples and how much noise it adds; and the run's
identity, by which a resume is recognised and a replayed release is not charged twice. Nothing here depends on what
the data say, only on how many there are (client sizes are public constants).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lalora_kit.base.files import digest
from lalora_kit.base.machine import check_device, device_name
from lalora_kit.base.threads import threads_for, torch_threads
from lalora_kit.engine.adapters import Adapter, create
from lalora_kit.engine.limits import check_fits, check_rank, check_steps
from lalora_kit.engine.memory import chunk_for
from lalora_kit.methods import Method
from lalora_kit.methods.personal import with_homes
from lalora_kit.privacy import Ledger, Release, Streams
from lalora_kit.privacy.calibration import calibrate, draw_schedule, sampling_rates
from lalora_kit.privacy.identity import computed_by, identity_of, machine_of, moved, moves_of, randomness
from lalora_kit.privacy.mechanism import generator_of
from lalora_kit.privacy.soundcheck import check_sound
from lalora_kit.records import RunState
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task
from lalora_kit.tasks.partition import Shards, partition, size_of, units_of


@dataclass(frozen=True, eq=False)
class Plan:
    """A checked run.

    Attributes:
        shards: each client's sample indices.
        units: for each of a client's samples, the number of its unit of privacy there, from 0 on; a sample is its own
            unit unless the task says otherwise.
        unit: what a unit is called.
        rates: q of each client.
        sigmas: noise multiplier σ of each client, for the most rounds that any client joins.
        schedule: participants of each round, drawn up front, independent of the data.
        identity: what makes this run this run (settings, method, data, ...), as short strings.
        machine: device, versions and threads, and what the task computes: bit-for-bit repetition depends on them.
        run: the run's name in the ledger: equal names mean the same releases.
        moves: where the run changed machines; from each on the noise is fresh, and charged.
        threads: torch's, on the CPU, for all that the run computes.
        max_samples: the chunk; chosen from the free memory where the settings leave it open.
        streams: the run's keyed randomness; empty when the run has ended and its secret was deleted.
        told: the keys of those streams that give nothing away, as hexadecimal digits.
        start: the adapter to begin from, and the round after which it stands (0 for a fresh run).
    """

    task: str
    clip_norm: float
    clip_head_share: float
    local_steps: int
    shards: Shards
    units: Shards
    unit: str
    rates: tuple[float, ...]
    sigmas: tuple[float, ...]
    schedule: tuple[tuple[int, ...], ...]
    identity: Mapping[str, str]
    machine: Mapping[str, str]
    moves: tuple[tuple[int, str], ...]
    run: str
    threads: int
    max_samples: int | None
    streams: Streams
    secret: bytes = field(repr=False)
    told: Mapping[str, str]
    start: Adapter = field(repr=False)
    done: int

    def state(self, done: int, adapter: Adapter) -> RunState:
        """What a resume needs after round `done`."""
        return RunState(done, adapter, self.identity, self.machine, self.secret, self.moves, self.told)

    @property
    def shard(self) -> str:
        """The name of this way of splitting the samples over the clients."""
        return self.identity["shards"]

    def size(self, client: int) -> int:
        """How many units a client holds: samples, or persons."""
        return size_of(self.units[client])

    def divisor(self, client: int) -> float:
        """The constant that a client's noised sum is divided by: its expected batch, never the realised one."""
        return self.rates[client] * self.size(client)

    def weights(self, clients: Sequence[int]) -> list[float]:
        """Weights of the server's mean: each participant's share of the units."""
        total = sum(map(self.size, clients))
        return [self.size(client) / total for client in clients]

    def releases(self, t: int, client: int) -> list[Release]:
        """What a client is about to release in round t."""
        return [
            Release(
                client=client,
                round=t,
                step=k,
                sample_rate=self.rates[client],
                noise_multiplier=self.sigmas[client],
                clip_norm=self.clip_norm,
                divisor=self.divisor(client),
                run=self.run,
                shard=self.shard,
                task=self.task,
                unit=self.unit,
            )
            for k in range(1, self.local_steps + 1)
        ]


def make_plan(task: Task, method: Method, settings: Settings, ledger: Ledger, state: RunState | None = None) -> Plan:
    """Check settings and method against the task, and fix the run; σ leaves room for what other runs released.

    Raises:
        ValueError: if the rank, the clients, the batch or the steps do not fit, or `state` is of another run.
        BudgetExceeded: if other runs in the ledger have spent the target ε already.
    """
    with torch_threads(threads_for(sum(map(Tensor.numel, task.backbone.parameters())), settings.threads)):
        return planned(task, method, settings, ledger, state)


def planned(task: Task, method: Method, settings: Settings, ledger: Ledger, state: RunState | None) -> Plan:
    """The plan, made with the threads that the run will have."""
    method.check(settings.local_steps, settings.optimizer)
    check_device(settings.device)
    check_sound(task, method, settings)
    check_rank(task, settings.rank)
    secret, seed, told = randomness(settings, state)
    shards = partition(
        task.train.labels.numpy(), settings.clients, settings.dirichlet_beta, generator_of(told["partition"]),
        owners=None if task.train.owners is None else task.train.owners.numpy(),
        units=None if task.train.units is None else task.train.units.numpy(),
    )  # fmt: skip
    units = tuple(units_of(task, shard) for shard in shards)
    sizes = [size_of(held) for held in units]
    rates = sampling_rates(settings, sizes, task.unit)
    schedule = draw_schedule(settings, generator_of(told["schedule"]))
    identity = identity_of(task, method, settings, shards, seed, told["partition"])
    first = generator_of(told["init"])
    start = create(task.backbone, task.targets, task.head, settings.rank, settings.scale, first)
    start = method.begins(start, task.backbone, first)
    if task.statistics is not None:
        start = start.with_head(task.statistics.begun(start.of("head")))
    start = with_homes(start, method, settings.clients)
    sent = method.opens(start, 1, first)  # what a round begins with may be larger
    chunk = chosen_chunk(task, settings, sent, [rate * len(s) for rate, s in zip(rates, shards, strict=True)], state)
    done = 0 if state is None else state.round
    ended = done == settings.rounds  # nothing more is released, wherever it is read: it needs no room and no noise
    if state is not None and ended:
        machine = dict(state.machine)
    else:
        machine = {**machine_of(settings, chunk), **computed_by(task, method)}
    moves = moves_of(state, identity, machine)
    if state is not None:
        check_fits(state.adapter, start, f"the state of round {state.round}")
        start = state.adapter
    run = digest([identity, machine, moves])
    priors = [
        () if ended else ledger.composition(client, run, identity["shards"], others_only=True)
        for client in range(settings.clients)
    ]
    begun = done if ended else moves[-1][0] if moves else 0
    sigmas = calibrate(settings, rates, schedule[begun:], priors)
    check_steps(settings, rates, sigmas, [rate * size for rate, size in zip(rates, sizes, strict=True)])
    # What this run has released stands, even if other runs have come since: the same noise at another σ, beside the
    # first, would tell the gradient exactly.
    recorded = [ledger.sigma(client, run, identity["shards"]) for client in range(settings.clients)]
    return Plan(
        task=task.name,
        clip_norm=settings.clip_norm,
        clip_head_share=settings.clip_head_share,
        local_steps=settings.local_steps,
        shards=shards,
        units=units,
        unit=task.unit,
        rates=rates,
        sigmas=tuple(new if old is None else old for new, old in zip(sigmas, recorded, strict=True)),
        schedule=schedule,
        identity=identity,
        machine=machine,
        moves=moves,
        run=run,
        threads=torch.get_num_threads(),
        max_samples=chunk,
        streams=moved(Streams(secret), moves),
        secret=secret,
        told={purpose: key.hex() for purpose, key in told.items()},
        start=start,
        done=done,
    )


def chosen_chunk(
    task: Task, settings: Settings, adapter: Adapter, batches: Sequence[float], state: RunState | None
) -> int | None:
    """The chunk: as set, or as this run had it on this device before, or as much as fits; None for no chunks."""
    if settings.max_samples is not None:
        return settings.max_samples
    device = torch.device(settings.device)
    if state is not None and state.machine.get("device") == device_name(settings.device):
        before = state.machine.get("max_samples", "None")
        return int(before) if before.isdecimal() else None
    return chunk_for(task, adapter, device, sorted(batches)[-settings.participants :])
