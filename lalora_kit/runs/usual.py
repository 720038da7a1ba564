"""What suits an embedded task better than `Settings`' own defaults, which know nothing of the data.

`lalora train`, panels and the studies of a task take it where nobody says otherwise:

    settings_for("mnist", epsilon=1.0)

The rates were set by hand, from runs of seed 10; each method's best are what `tests.benchmarks.photographs` finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lalora_kit.settings import Settings

#: Four clients of 2,000 people each, as a network of hospitals might have; 100 of them join a local step.
PHOTOGRAPHS: Mapping[str, Any] = MappingProxyType(
    {"clients": 4, "sample_rate": 0.05, "learning_rate": 4.0, "head_learning_rate": 4.0}
)
#: Sentences: on drafts of the backbone, at α = r, an adapter added nothing to the head; so α is 16, set on seed 10.
SENTENCES: Mapping[str, Any] = MappingProxyType(
    {
        "clients": 4,
        "sample_rate": 0.05,
        "rounds": 20,
        "alpha": 16.0,
        "learning_rate": 1.0,
        "head_learning_rate": 2.0,
    }
)
#: What the first lesson and every command take where nobody names a task.
DEFAULT_TASK = "mnist"
USUAL: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"mnist": PHOTOGRAPHS, "mnist-upright": PHOTOGRAPHS, "stdlib-docs-distilled": SENTENCES}
)


def settings_for(task: str, **given: Any) -> Settings:
    """The usual settings on a task; what is given wins. A task that has none gets `Settings`' own.

    Raises:
        ValueError: as `Settings` does.

    >>> settings_for("mnist", epsilon=1.0).clients, settings_for("digits").clients
    (4, 8)
    """
    usual = dict(USUAL.get(task, {}))
    if given.get("batch_size") is not None:  # which stands in place of a sample rate
        usual.pop("sample_rate", None)
    return Settings(**{**usual, **given})
