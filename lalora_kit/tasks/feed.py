"""Feed: brings each step its samples. A split lies on the device if there is room; else it stays on the host.

What stays is fetched a step ahead: a batch is gathered into pinned memory and copied on a stream of its own while the
step before it computes. The batch is pinned and not the whole split, which would be locked into memory a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lalora_kit.tasks import Split
from lalora_kit.tasks.padding import MASK, widths_of


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
        """The order `(k,)` in which samples `rows` `(k,)` are computed: texts by length, pictures as they come."""
        return torch.arange(len(rows)) if self.lengths is None else self.lengths[rows].argsort(stable=True)

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
