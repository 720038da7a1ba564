"""Feed: brings each step its samples. A split lies on the device if there is room; else it stays on the host.

What stays is fetched a step ahead: a batch is gathered into pinned memory and copied on a stream of its own while the
step before it computes. The batch is pinned and not the whole split, which would be locked into memory a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lalora_kit.base.transfer import to_device
from lalora_kit.tasks import Split
from lalora_kit.tasks.padding import MASK, widths_of

SHARE = 0.25  # of the free memory that a split may take; `engine.memory` gives a chunk twice as much


def numbered(*names: Tensor) -> Tensor:
    """`(samples,)` 0, 0, 1, ...: one more wherever any of the names `(samples,)` is not the one before."""
    return torch.unique_consecutive(torch.stack(names, dim=1), dim=0, return_inverse=True)[1]


def resides(data: Split, free: int) -> bool:
    """Whether all of a split is to lie where `free` bytes are left (-1: nobody knows), beside a step's samples."""
    size = sum(value.nbytes for value in (*data.inputs.values(), data.labels))
    return free < 0 or size <= SHARE * free


class Drawn(NamedTuple):
    """What the participants draw in one local step, in the order in which it is computed.

    `rows` `(samples,)` are places in the training split, `owner` `(samples,)` the participants' own places, `units`
    `(samples,)` the persons, `numbered` (empty where a sample is its own unit), `keys` `(clients, 2)` the noise's.
    """

    rows: torch.Tensor
    owner: torch.Tensor
    units: torch.Tensor
    keys: torch.Tensor


@dataclass(frozen=True, eq=False)
class Coming:
    """A local step that is ready: its batch on the device, and what was drawn, on the host and there.

    `widths` holds one tensor `(samples,)` on the host, the columns that each text uses; pictures have none.
    """

    batch: Split
    here: Drawn
    there: Drawn
    widths: tuple[Tensor, ...]


class Feed:
    """A training split on its way to a device.

    Args:
        data: the split, on the host.
        device: where steps are computed.
        resident: whether all of it is to lie there; numbers do not depend on it.
    """

    def __init__(self, data: Split, device: torch.device, resident: bool = True) -> None:
        self.device, self.persons = device, data.units is not None
        texts = MASK in data.inputs
        # Sizes that a step must know, so that nobody asks the device for them.
        self.lengths = data.inputs[MASK].sum(1).cpu() if texts else None
        self.widths = widths_of(data.inputs[MASK]).cpu() if texts else None
        self.resident = resident
        plain = Split(data.inputs, data.labels)
        self.data = plain.to(device) if resident else plain
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" and not resident else None

    def ordered(self, rows: Tensor) -> Tensor:
        """The order `(k,)` in which samples `rows` `(k,)` are computed: texts by length, but persons as they come."""
        if self.persons or self.lengths is None:
            return torch.arange(len(rows))
        return self.lengths[rows].argsort(stable=True)

    def coming(self, here: Sequence[Drawn]) -> Iterator[Coming]:
        """Local steps as they were drawn, one after the other: one copy takes all draws over, and none comes back."""
        fields = iter(to_device([value for one in here for value in one], self.device))
        there = [Drawn(*values) for values in zip(*[fields] * len(Drawn._fields), strict=True)]
        batches = self.batches([one.rows for one in here], [one.rows for one in there])
        for one, sent, batch in zip(here, there, batches, strict=True):
            yield Coming(batch, one, sent, () if self.widths is None else (self.widths[one.rows],))

    def batches(self, rows: Sequence[Tensor], there: Sequence[Tensor]) -> Iterator[Split]:
        """The samples of one step after the other, on the device.

        Args:
            rows, there: places in the split a step, on the host, and the same on the device.
        """
        if self.resident:
            yield from map(self.data.select, there)
            return
        fetched = map(self.fetch, rows)
        coming = next(fetched, None)
        while coming is not None:
            (batch, ready), coming = coming, next(fetched, None)  # the next one is on its way before this one is used
            if ready is not None:
                here = torch.cuda.current_stream(self.device)
                here.wait_event(ready)  # the device waits, the host does not
                for value in (*batch.inputs.values(), batch.labels):
                    value.record_stream(here)
            yield batch

    def fetch(self, rows: Tensor) -> tuple[Split, torch.cuda.Event | None]:
        """A batch on its way, and the event that tells when it is there."""
        batch = self.data.select(rows.to(self.data.labels.device))
        if self.stream is None:
            return batch.to(self.device), None
        with torch.cuda.stream(self.stream):
            sent = {name: value.pin_memory().to(self.device, non_blocking=True) for name, value in batch.inputs.items()}
            labels = batch.labels.pin_memory().to(self.device, non_blocking=True)
            return Split(sent, labels), self.stream.record_event()
