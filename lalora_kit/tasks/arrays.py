"""Arrays in memory as a task: `Task.from_arrays`. Conversions, and checks that name every bad row before a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lalora_kit.tasks import SAMPLE, Inputs, Split, Task
from lalora_kit.tasks.heads.public import contents
from lalora_kit.tasks.own.spelling import composed, is_empty, look_alikes

MOST_NAMED = 10
REMEDY = "mend these rows or take them out, and start again"


def refuse_rows(bad: Sequence[str]) -> None:
    """Raise `ValueError` if there are bad rows: the first ten in full, and how many more."""
    if bad:
        more = f"; and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        count = "1 bad row" if len(bad) == 1 else f"{len(bad)} bad rows"
        raise ValueError(f"{count}: {'; '.join(bad[:MOST_NAMED])}{more}; {REMEDY}")


def lonely_owners(owners: Sequence[str], place: Callable[[int], str]) -> list[str]:
    """Owners with one sample: it cannot be both trained on and tested with, and its noise would drown it."""
    counts = Counter(owners)
    return [
        f"{place(row)} is the only sample of owner {owner!r}, who needs two at least"
        for row, owner in enumerate(owners)
        if counts[owner] == 1
    ]


def shared_units(units: Sequence[str], owners: Sequence[str], unit: str, place: Callable[[int], str]) -> list[str]:
    """Units that are with two owners: each would release something about them, and their ε would add up."""
    first: dict[str, str] = {}
    return [
        f"{place(row)} is {unit} {person!r} with owner {owner!r}, who is with owner {first[person]!r} too, so that ε "
        f"of one {unit} would add up over both"
        for row, (person, owner) in enumerate(zip(units, owners, strict=True))
        if first.setdefault(person, owner) != owner
    ]


def from_arrays(
    backbone: nn.Module,
    inputs: Any,
    labels: Any,
    *,
    test_inputs: Any,
    test_labels: Any,
    classes: Sequence[str] | int,
    head: str,
    targets: Sequence[str] | None = None,
    owners: Any = None,
    test_owners: Any = None,
    units: Any = None,
    test_units: Any = None,
    unit: str = "person",
    prepare: Callable[[Inputs], Inputs] | None = None,
    public: Any = None,
    standardise: bool = True,
    decode: Callable[[Inputs], list[str]] | None = None,
    name: str = "own",
    description: str = "",
) -> Task:
    """See `Task.from_arrays`; `test_units` `(test samples,)` say of whom the test samples are.

    What is tested with is told as it is, so nobody may be in both parts. Where `units` are given without `test_units`,
    a test sample that equals a training sample is refused, for it may be the same person's.
    """
    named = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(map(composed, map(str, classes)))
    check_classes(backbone, head, named)
    bad: list[str] = []
    whose, test_whose = as_names(owners, "owners", bad), as_names(test_owners, "test_owners", bad)
    if (whose is None) != (test_whose is None):
        raise ValueError(
            "owners and test_owners are given one without the other; results are told per owner; give both or neither"
        )
    people, tested = as_names(units, "units", bad), as_names(test_units, "test_units", bad)
    if tested is not None and people is None:
        raise ValueError("test_units are given without units; give both, or units alone, or neither")
    train, test = as_inputs(inputs, "inputs", prepare), as_inputs(test_inputs, "test_inputs", prepare)
    bad += [*unfinished(train, "inputs"), *unfinished(test, "test_inputs")]
    truth, test_truth = as_labels(labels, named, "labels", bad), as_labels(test_labels, named, "test_labels", bad)
    pairs = ((whose, truth, "owners"), (test_whose, test_truth, "test_owners"), (people, truth, unit),
             (tested, test_truth, "test_units"))  # fmt: skip
    for given, rows, what in pairs:
        if given is not None and len(given) != len(rows):
            raise ValueError(f"{what} has {len(given)} rows and there are {len(rows)} labels; give one a label")
    if whose is not None and test_whose is not None:
        known = set(whose)
        bad += lonely_owners(whose, lambda row: f"owners row {row}")
        bad += [f"test_owners row {row} is {o!r}, unknown" for row, o in enumerate(test_whose) if o not in known]
    if people is not None and whose is not None:
        bad += shared_units(people, whose, unit, lambda row: f"units row {row}")
    if people is not None:
        bad += in_both(people, tested, unit) if tested is not None else same_inputs(train, test)
    refuse_rows(bad)
    places = sorted(set(whose or ()))
    return Task(
        name=name,
        backbone=backbone,
        targets=tuple(linear_outside(backbone, head) if targets is None else targets),
        head=head,
        train=Split(train, truth, as_places(whose, places), as_places(people, sorted(set(people or ())))),
        test=Split(test, test_truth, as_places(test_whose, places)),
        classes=named,
        owners=tuple(places),
        unit=SAMPLE if people is None else unit,
        description=description,
        prepare=prepare,
        public=None if public is None else as_inputs(public, "public", prepare),
        standardise=standardise,
        decode=decode,
    )


def check_classes(backbone: nn.Module, head: str, classes: Sequence[str]) -> None:
    """At least two different classes, as many as the head tells apart."""
    alike = look_alikes(classes, "class", lambda at: f"number {at}")
    if alike:
        raise ValueError(f"classes cannot be told apart: {'; '.join(alike)}; write each in one way")
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ValueError(f"classes={list(classes)[:10]} is not possible: there must be two or more, each named once")
    modules = dict(backbone.named_modules())
    if head not in modules:
        linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
        raise ValueError(f"head={head!r} is no module of the backbone; name the last one, of {', '.join(linear[-5:])}")
    last = [module for module in modules[head].modules() if isinstance(module, nn.Linear)]
    if last and last[-1].out_features != len(classes):
        raise ValueError(
            f"head={head!r} ends in {last[-1].out_features} scores and {len(classes)} classes are named; build the "
            "backbone for as many classes, or name every class"
        )


def linear_outside(backbone: nn.Module, head: str) -> list[str]:
    """Every linear layer that is not part of the head."""
    linear = (name for name, module in backbone.named_modules() if isinstance(module, nn.Linear))
    return [name for name in linear if not (name + ".").startswith(head + ".")]


def as_inputs(given: Any, where: str, prepare: object) -> Inputs:
    """Keyword inputs as tensors; an array alone is called `x`, as timm does."""
    named = given if isinstance(given, Mapping) else {"x": given}
    tensors = {str(name): as_tensor(value, f"{where} {name!r}") for name, value in named.items()}
    for name, value in tensors.items():
        if value.dtype == torch.uint8 and prepare is None:
            raise ValueError(f"{where} {name!r} are bytes, which no layer takes; give prepare=, or floats")
    return tensors


def as_tensor(value: Any, what: str) -> Tensor:
    """float32, int64, uint8 or bool `(samples, ...)` on the CPU."""
    if not isinstance(value, Tensor):
        try:
            array = np.array(value)
            value = torch.from_numpy(array if array.dtype.kind != "u" or array.itemsize == 1 else array.astype("int64"))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{what} is no array of numbers ({str(error).splitlines()[0]}); give each sample the same shape"
            ) from error
    value = value.detach().cpu()
    if value.ndim < 2 or value.is_complex():
        raise ValueError(
            f"{what} is {value.dtype} of shape {tuple(value.shape)}; a sample is a vector or more of real numbers, "
            "samples first; reshape it to (samples, ...)"
        )
    return (
        value
        if value.dtype in (torch.uint8, torch.bool)
        else value.float()
        if value.is_floating_point()
        else value.long()
    )


def unfinished(inputs: Inputs, where: str) -> Iterable[str]:
    """Rows that hold NaN or an infinity."""
    for name, value in inputs.items():
        bad = ~torch.isfinite(value.flatten(1)).all(dim=1)
        yield from (f"{where} {name!r} row {int(row)} holds NaN or an infinity" for row in bad.nonzero())


def as_labels(given: Any, classes: Sequence[str], where: str, bad: list[str]) -> Tensor:
    """Labels `(samples,)` as int64, from places or names of classes; unknown ones are added to `bad`."""
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if array.ndim != 1 or array.dtype.kind not in "iuUSO":
        raise ValueError(
            f"{where} are {array.dtype} of shape {array.shape}; they must be a vector of whole numbers, or of names of "
            "classes; encode each class as 0, 1, 2, ..."
        )
    place = {name: number for number, name in enumerate(classes)}
    if array.dtype.kind in "iu":
        place = {str(number): number for number in range(len(classes))}
    found = [place.get(composed(str(value)), -1) for value in array]
    known = f"0 to {len(classes) - 1}" if array.dtype.kind in "iu" else ", ".join(classes[:10])
    bad += [
        f"{where} row {row} is {str(value)!r}, none of {known}"
        for row, (value, at) in enumerate(zip(array, found, strict=True))
        if at < 0
    ]
    return torch.tensor(found, dtype=torch.int64)


def as_names(given: Any, what: str, bad: list[str]) -> list[str] | None:
    """A name a sample, as composed text; None stays None. Missing names and look-alikes are added to `bad`."""
    if given is None:
        return None
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if array.ndim != 1 or array.dtype.kind not in "iuUSO":
        raise ValueError(f"{what} are {array.dtype} of shape {array.shape}; give one name or whole number a sample")
    values = array.tolist()
    names = ["" if value is None or value != value else composed(str(value)) for value in values]
    bad += [f"{what} row {row} is {values[row]!r} and names nobody" for row, name in enumerate(names) if is_empty(name)]
    bad += look_alikes(names, "name", lambda row: f"{what} row {row}")
    return names


def in_both(units: Sequence[str], tested: Sequence[str], unit: str) -> list[str]:
    """Test samples of a person who is in training: a line each."""
    known = set(units)
    both = [row for row, who in enumerate(tested) if who in known]
    return [f"test_units row {row} is {unit} {tested[row]!r}, who is in training too" for row in both]


def same_inputs(train: Inputs, test: Inputs) -> list[str]:
    """Test samples that equal a training sample in every input: a line each."""
    first: dict[bytes, int] = {}
    for row, key in enumerate(contents(train)):
        first.setdefault(key, row)
    return [
        f"test_inputs row {row} equals inputs row {first[key]}, perhaps of one person (test_units say of whom it is)"
        for row, key in enumerate(contents(test))
        if key in first
    ]


def as_places(names: Sequence[str] | None, order: Sequence[str]) -> Tensor | None:
    """Each name's place in `order`, as int64."""
    place = {name: number for number, name in enumerate(order)}
    return None if names is None else torch.tensor([place[name] for name in names], dtype=torch.int64)
