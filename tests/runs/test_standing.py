"""The sentence on whether an adapter pays: right when it is ahead, level and behind."""

from __future__ import annotations

import pytest

from lalora_kit.methods import METHODS
from lalora_kit.runs.standing import AHEAD, BEHIND, LEVEL, by_samples, of_one_run, sentence


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({"a": (0.6, AHEAD)}, "is behind a (60.0%): the adapter pays over it; 5"),
        ({"a": (0.5, LEVEL)}, "is level with a (50.0%): the adapter is not shown to pay over it; 5"),
        ({"a": (0.4, BEHIND)}, "is ahead of a (40.0%): the adapter does not pay over it; 5"),
        ({"a": (0.6, AHEAD), "b": (0.7, AHEAD)}, "behind a (60.0%) and b (70.0%): every adapter pays over it; 5"),
        ({"a": (0.4, BEHIND), "b": (0.4, BEHIND)}, "ahead of a (40.0%) and b (40.0%): no adapter pays over it; 5"),
        (
            {"a": (0.4, BEHIND), "b": (0.5, LEVEL)},
            "ahead of a (40.0%), and level with b (50.0%): no adapter is shown to pay over it; 5",
        ),
        ({"a": (0.5, LEVEL), "b": (0.6, AHEAD)}, "level with a (50.0%), and behind b (60.0%): a is not shown to pay"),
        (
            {"a": (0.5, LEVEL), "b": (0.5, LEVEL), "c": (0.5, LEVEL), "d": (0.6, AHEAD)},
            "level with a (50.0%), b (50.0%) and c (50.0%), and behind d (60.0%): a, b and c are not shown to pay",
        ),
        ({"a": (0.4, BEHIND), "b": (0.6, AHEAD)}, "ahead of a (40.0%), and behind b (60.0%): a does not pay over it"),
    ],
)
def test_who_pays_follows_from_where_each_stands(places, words):
    said = sentence("linear", 0.5, places, "5 seeds", "at ε=3")
    assert said.startswith("linear at ε=3 (50.0%) is ") and words in said and said.endswith("; 5 seeds")


def test_test_samples_decide_about_one_run():
    assert [by_samples(p, 0.5, 400) for p in (0.6, 0.55, 0.45, 0.4)] == [AHEAD, LEVEL, LEVEL, BEHIND]
    assert by_samples(0.55, 0.5, 40_000) == AHEAD and by_samples(0.5, 0.5, 400) == LEVEL
    assert by_samples(1.0, 1.0, 400) == LEVEL, "nothing scatters, and nobody is ahead"


def test_one_run_is_held_against_what_it_is_not_ahead_of():
    bare = [("head-only", 0.2), ("linear", 0.52), ("untrained", 0.9)]
    said = of_one_run(METHODS["la-lora"], 0.5, 400, bare, "one run")
    assert [line.split(" (")[0] for line in said] == ["linear", "untrained"]
    ends = ("is not shown to pay over it; one run", "does not pay over it; one run")  # level, and ahead
    assert all(line.endswith(f": the adapter {end}") for line, end in zip(said, ends, strict=True))
    assert of_one_run(METHODS["la-lora"], 0.99, 400, bare, "one run") == []
    head = of_one_run(METHODS["head-only"], 0.2, 400, bare, "one run")
    assert len(head) == 2 and not any("adapter" in line for line in head)
