"""What cannot be trained privately, or cannot be computed at all, as one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lalora_kit.base.machine import ran_out
from lalora_kit.tasks.online import first_line

REMEDY = "leave that layer out of targets, or mend the model"
MEND = "mend the model, or give it inputs of the names, types and sizes that it takes"


class Unsound(Exception):
    """Why a task cannot be trained privately, naming its module."""


class Broken(Unsound):
    """What could not be computed at all."""


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """What fails in the block, for whatever reason, as one sentence; but memory that runs out is told as such."""
    try:
        yield
    except Unsound:
        raise
    except Exception as error:
        if ran_out(error):
            raise
        place = getattr(getattr(error, "obj", None), "place", "")
        if isinstance(error, AttributeError) and place:
            raise Broken(
                f"its layer {place!r} is asked for its {error.name}, so that it is computed with past the layer and no "
                f"LoRA would act; {REMEDY}"
            ) from error
        remedy = "switch gradient checkpointing off" if "checkpoint" in f"{type(error)}{error}".lower() else MEND
        raise Broken(f"trying it failed ({type(error).__name__}: {first_line(error)}); {remedy}") from error
