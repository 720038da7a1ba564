"""Tasks: a frozen public backbone, a private data set to adapt it to, and a public test set.

A `Task` says where LoRA goes (`targets`) and which module is the head; everything downstream reads only these fields,
so a new task is a loader in `embedded` or `hub`, and a row of `TASKS` below. Imports base, settings. Read `Task` first.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lalora_kit.base.checks import near
from lalora_kit.tasks.soundness import SAMPLE, check_finite, check_labels, check_lengths, check_owners, check_units

if TYPE_CHECKING:
    from lalora_kit.tasks.heads.standardise import Statistics

Inputs = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Split:
    """Samples in memory: keyword inputs of the backbone, each `(samples, ...)`, and integer labels `(samples,)`.

    `owners` `(samples,)`, where given, says whose each sample is, as a place in `Task.owners`. `units` `(samples,)`,
    where given, numbers the persons (patients, authors) whose data are protected together: see `Task.unit`.
    """

    inputs: Inputs
    labels: Tensor
    owners: Tensor | None = None
    units: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor) -> Split:
        """The samples at `index` `(k,)`, in that order."""
        return self._map(lambda value: value[index])

    def to(self, device: torch.device | str) -> Split:
        """The same samples on a device."""
        return self._map(lambda value: value.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Split:
        whose = [None if value is None else change(value) for value in (self.owners, self.units)]
        return Split({name: change(value) for name, value in self.inputs.items()}, change(self.labels), *whose)


@dataclass(frozen=True, eq=False)
class Task:
    """A frozen backbone with a fresh head, the private training split, and the public test split.

    `targets` are the full names of the `nn.Linear` modules that carry LoRA; `head` is the name of the module
    that is trained in full. `classes` are the label names. The backbone is in eval mode, without gradients.
    Where `owners` are named, each client is made of whole owners. `unit` is what ε protects: a "sample", or, where
    `train.units` are given, what they are ("patient", "author"); it is drawn and clipped as one.
    `notes` are what the data depend on besides the kit (a Python version, say); they are part of a run's identity.
    `prepare` turns stored inputs (images as bytes, say) into what the backbone takes, a chunk at a time and on the
    device; each sample by itself. `source` is what `load_source` takes to load this very task again; empty for one
    that was made in Python.
    `public` are unlabelled inputs that are nobody's secret: from them mean and covariance of what the head sees are
    taken, once, and features reach the head standardised by these `statistics` (see `heads.standardise`), unless
    `standardise` is False. `decode` turns inputs back into texts, for the linear baseline on words. `guess` names a
    class for each input, `(samples,)`, by public knowledge alone: what no training at all would reach.
    """

    name: str
    backbone: nn.Module
    targets: tuple[str, ...]
    head: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    owners: tuple[str, ...] = ()
    unit: str = SAMPLE
    description: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Inputs], Inputs] | None = None
    source: Mapping[str, str] = field(default_factory=dict)
    public: Inputs | None = None
    standardise: bool = True
    decode: Callable[[Inputs], list[str]] | None = None
    guess: Callable[[Inputs], Tensor] | None = None
    statistics: Statistics | None = None  # taken from `public` when a task is made, whatever is given

    def __post_init__(self) -> None:
        check_lengths(self.train, f"{self.name}: training")
        check_lengths(self.test, f"{self.name}: test")
        check_labels(self.train.labels, len(self.classes), f"{self.name}: training")
        check_labels(self.test.labels, len(self.classes), f"{self.name}: test")
        check_finite(self.train, f"{self.name}: training")
        check_finite(self.test, f"{self.name}: test")
        check_owners(self.train, self.owners, f"{self.name}: training")
        check_owners(self.test, self.owners, f"{self.name}: test")
        check_units(self.train, self.unit, f"{self.name}: training")
        self.backbone.eval().requires_grad_(False)
        if self.public is not None or self.statistics is not None:
            from lalora_kit.tasks.heads.standardise import settle

            settle(self)

    @classmethod
    def from_arrays(cls, backbone: nn.Module, inputs: Any, labels: Any, **about: Any) -> Task:
        """A task of arrays or tensors in memory, converted and checked.

        `inputs` are `(samples, ...)`, the backbone's `x`, or a mapping of such by keyword; `labels` `(samples,)` are
        places in `classes` or their names. `about` must hold `test_inputs`, `test_labels`, `classes` and `head`, and
        may hold `targets` (else every linear layer outside the head), `owners` and `test_owners` `(samples,)`, which
        make the clients, `units` `(samples,)` with what they are in `unit`, and `test_units`, so that no person is in
        both (without them no test row may equal a training row), `prepare`, `name`, `description`, and `public`
        inputs with `standardise`.

        >>> model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
        >>> task = Task.from_arrays(model, torch.randn(8, 5), ["no", "yes"] * 4, test_inputs=torch.randn(2, 5),
        ...     test_labels=[0, 1], classes=("no", "yes"), head="2", owners=list("AABBAABB"), test_owners=["A", "B"])
        >>> task.targets, task.owners, task.train.labels.tolist()
        (('0',), ('A', 'B'), [0, 1, 0, 1, 0, 1, 0, 1])

        Raises:
            ValueError: naming every bad row (up to ten): NaN, an unknown label or owner, an owner with one sample, a
                unit with two owners; or what does not fit together.
        """
        from lalora_kit.tasks.arrays import from_arrays

        return from_arrays(backbone, inputs, labels, **about)


def logits(model: nn.Module, inputs: Inputs) -> Tensor:
    """Class scores `(samples, classes)` of a timm model or of a transformers classifier."""
    output = model(**inputs)
    return output if isinstance(output, Tensor) else output.logits


HUB = "lalora_kit.tasks.hub:load"

#: name -> (module:function that loads it, one line for `lalora tasks`)
TASKS: dict[str, tuple[str, str]] = {
    "mnist": (
        "lalora_kit.tasks.embedded.mnist:load",
        "10,000 handwritten digits of MNIST, photographed by a simulated camera, on Swin-pico-32 (embedded)",
    ),
    "mnist-upright": (
        "lalora_kit.tasks.embedded.mnist:load_upright",
        "the same digits without the camera: what a head alone can do (embedded)",
    ),
    "digits": (
        "lalora_kit.tasks.embedded.digits:load",
        "scikit-learn's 1,797 handwritten digits on Swin-pico (embedded: nothing to download)",
    ),
    "stdlib-docs": (
        "lalora_kit.tasks.embedded.stdlib_docs:load",
        f"sentences from Python {platform.python_version()}'s own docstrings, four subjects, on RoBERTa-pico "
        "(embedded; another Python version has slightly other sentences)",
    ),
    "stdlib-docs-by-module": (
        "lalora_kit.tasks.embedded.stdlib_docs:load_by_module",
        "the same sentences, each client made of whole library modules: a natural split, far from IID",
    ),
    "stdlib-docs-distilled": (
        "lalora_kit.tasks.embedded.minilm_pico:load",
        "the sentences of stdlib-docs on MiniLM-pico, which was distilled from a sentence transformer",
    ),
    "cifar100": (HUB, "50,000 pictures of 32x32 in 100 classes, on Swin-T (from the hub)"),
    "tiny-imagenet": (HUB, "100,000 pictures of 64x64 in 200 classes, on Swin-T (from the hub)"),
    "glue/sst2": (HUB, "67,349 sentences on films, good or bad, on RoBERTa-base (from the hub)"),
    "glue/qnli": (HUB, "104,743 pairs: does the sentence answer the question? (RoBERTa-base, from the hub)"),
    "glue/qqp": (HUB, "363,846 pairs of questions: the same? (RoBERTa-base, from the hub)"),
    "glue/mnli": (HUB, "392,702 pairs: does one follow from the other? tested on matched sources (from the hub)"),
    "glue/mnli-mm": (HUB, "the same training pairs, tested on mismatched sources (from the hub)"),
}


def loader_at(place: str) -> Callable[..., Task]:
    """The function at `module:function`."""
    module, function = place.split(":")
    return getattr(importlib.import_module(module), function)


def load_task(name: str, backbone: str | None = None) -> Task:
    """Load a task of `TASKS` by name, with its usual backbone or another.

    Raises:
        ValueError: for an unknown name (it lists the nearest ones), or another backbone for an embedded task.

    >>> task = load_task("digits")
    >>> len(task.train), len(task.test), task.unit
    (1437, 360, 'sample')
    """
    if name not in TASKS:
        raise ValueError(f"task {name!r} is unknown; {near(name, TASKS)}choose one of {', '.join(sorted(TASKS))}")
    loader, source = loader_at(TASKS[name][0]), {"task": name}
    if backbone is not None:
        from lalora_kit.tasks.own.sources import placed

        source = placed({**source, "backbone": backbone})
        backbone = source["backbone"]
    takes = inspect.signature(loader).parameters
    if backbone is not None and "backbone" not in takes:
        raise ValueError(
            f"backbone={backbone!r} cannot be given for task {name!r}, whose pretrained backbone ships with it; leave "
            "it out, or choose another task"
        )
    offered = {"name": name, "backbone": backbone}  # a loader of many tasks takes the name too
    return dataclasses.replace(loader(**{key: offered[key] for key in offered if key in takes}), source=source)
