"""The terms of a federation: everything public that server and sites agree on before a round is asked for.

A site computes whatever protects it (rate, σ, ε spent) by itself, from its own data, ledger and limit; of the terms it
takes what is to be computed, and compares what is installed here with what is installed there.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lalora_kit.base.checks import counting, number, require
from lalora_kit.base.files import digest, parse_object
from lalora_kit.base.fingerprint import as_bytes, code_of
from lalora_kit.methods import Method
from lalora_kit.privacy.calibration import draw_schedule
from lalora_kit.privacy.identity import computed
from lalora_kit.privacy.mechanism import generator_of
from lalora_kit.runs.sites.travels import check_travels, to_travel
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task

REMEDY = "take the terms file that the server's administrator sent, as it is"
FIELDS = {"title", "sites", "quorum", "timeout", "settings", "method", "key", "about"}
MOST_TERMS = 2**18  # bytes
Schedule = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Terms:
    """What all agree on.

    Attributes:
        title: the federation's name; a site agrees to one text of terms a title.
        sites: their names; the place of a name is the client's number at the server.
        quorum: the least number of uploads with which a round goes on once it is late.
        timeout: seconds after which a round is late.
        settings: what is computed; without a seed, and with a finite ε.
        method: a method of the kit's that travels.
        key: from which who joins when and the first adapter are drawn; it gives nothing away.
        about: what must be the same at server and sites, see `about`.
    """

    title: str
    sites: tuple[str, ...]
    quorum: int
    timeout: float
    settings: Settings
    method: Method
    key: bytes
    about: Mapping[str, str]

    def __post_init__(self) -> None:
        plain = all(map(is_plain, self.sites))
        require("title", self.title, is_plain(self.title), "it names the federation in 1 to 60 printable letters",
                "give another title")  # fmt: skip
        require("sites", self.sites, plain and len(set(self.sites)) == len(self.sites) > 0, "each site has a name of "
                "its own, of 1 to 60 printable letters", "name each site once")  # fmt: skip
        require("clients", self.settings.clients, self.settings.clients == len(self.sites),
                f"there are {len(self.sites)} sites", "leave clients out")  # fmt: skip
        counting("quorum", self.quorum, 1, self.settings.participants)
        seconds = number("timeout", self.timeout)
        require("timeout", self.timeout, 0 < seconds <= 1e7, "it is seconds, above 0", "600 is usual")
        require("seed", self.settings.seed, self.settings.seed is None, "whoever knows the seed knows the noise",
                "leave the seed out")  # fmt: skip
        require("epsilon", self.settings.epsilon, self.settings.private, "without noise an upload tells the data",
                "use 0.1 to 10")  # fmt: skip
        require("dirichlet_beta", self.settings.dirichlet_beta, self.settings.dirichlet_beta is None,
                "sites hold what they hold", "leave it out")  # fmt: skip
        check_travels(self.method)
        self.method.check(self.settings.local_steps, self.settings.optimizer)

    @property
    def name(self) -> str:
        """Equal names mean equal terms."""
        return digest(self.to_json())

    @property
    def schedule(self) -> Schedule:
        """Participants of each round, drawn up front: everybody can tell who is asked when."""
        return draw_schedule(self.settings, generator_of(self.key))

    @property
    def joins(self) -> int:
        """The most rounds that any site joins, for which σ is calibrated."""
        return max(Counter(client for clients in self.schedule for client in clients).values())

    @property
    def first(self) -> bytes:
        """The key of the first adapter."""
        return hashlib.blake2b(self.key, digest_size=16, person=b"first adapter").digest()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "title": self.title, "sites": list(self.sites), "quorum": self.quorum, "timeout": self.timeout,
            "settings": computed(self.settings.to_json()), "method": self.method.name, "key": self.key.hex(),
            "about": dict(self.about),
        }  # fmt: skip

    def text(self) -> str:
        """What is sent, and written to a file."""
        return json.dumps(self.to_json(), sort_keys=True, indent=1)

    @classmethod
    def read(cls, text: str) -> Terms:
        """The inverse of `text`, which trusts nothing that it reads; `ValueError` with the remedy."""
        if len(text) > MOST_TERMS:
            raise ValueError(f"terms of {len(text)} letters are longer than {MOST_TERMS}; {REMEDY}")
        values = parse_object(text, "the terms", REMEDY)
        if values.keys() != FIELDS:
            differ = sorted(values.keys() ^ FIELDS)
            raise ValueError(f"these are no terms of this kit's: names differ, {differ}; {REMEDY}")
        method, sites, about = to_travel(values["method"]), values["sites"], values["about"]
        if not isinstance(sites, list) or not is_names(about):
            raise ValueError(f"the terms' sites or facts are not what this kit writes there; {REMEDY}")
        try:
            key = bytes.fromhex(values["key"])
            assert len(key) == 16
        except (ValueError, TypeError, AssertionError) as error:
            raise ValueError(f"the terms' key is no 32 hexadecimal digits; {REMEDY}") from error
        given = Settings.from_json(values["settings"])
        return cls(values["title"], tuple(sites), values["quorum"], values["timeout"], given, method, key, about)


def is_plain(name: Any) -> bool:
    """A short text that a terminal only shows."""
    return isinstance(name, str) and 0 < len(name) <= 60 and name.isprintable()


def is_names(value: Any) -> bool:
    """A mapping of texts."""
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def about(task: Task, method: Method) -> dict[str, str]:
    """What must be the same at server and sites: classes, unit, what trains, the frozen model, the method's code.

    Nothing here depends on a sample. The head is left out: its first values come from the server.
    """
    backbone = hashlib.blake2b(digest_size=8)
    for name, value in task.backbone.state_dict().items():
        if not name.startswith(f"{task.head}."):
            backbone.update(name.encode() + as_bytes(value).tobytes())
    public = hashlib.blake2b(digest_size=8)
    for name, value in (task.public or {}).items() if task.statistics is not None else ():
        public.update(name.encode() + as_bytes(value).tobytes())
    inputs = {name: str(value.dtype) for name, value in task.test.inputs.items()}  # not shapes: texts are padded
    return {
        "classes": json.dumps(task.classes),
        "unit": task.unit,
        "inputs": json.dumps(inputs),
        "trains": json.dumps([*task.targets, task.head]),
        "backbone": backbone.hexdigest(),
        "public inputs": public.hexdigest(),
        "prepare": "none" if task.prepare is None else code_of(task.prepare),
        "schedule": code_of(method.trains),
        "smooth": code_of(method.smooth),
        "aggregate": code_of(method.aggregate),
        **{name: code_of(hook) for name, hook in sorted(method.hooked().items())},
    }


def check_about(terms: Terms, mine: Mapping[str, str]) -> None:
    """Refuse terms that speak of another model, other classes or other code than there is here."""
    for name in sorted(terms.about.keys() | mine.keys()):
        theirs, here = terms.about.get(name, "nothing"), mine.get(name, "nothing")
        if theirs != here:
            raise ValueError(
                f"the federation's {name} is {theirs:.200}, and here it is {here:.200}; install the same version of "
                "the kit, and name the same classes, unit and backbone"
            )
