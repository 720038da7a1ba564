"""What comes from the hub: fetched where the hub answers, read from the cache where it does not, else one sentence."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from lalora_kit.base.network import answers, hub_address
from lalora_kit.tasks import TASKS

#: Where the clients of the hub keep whether they may ask it at all; `HF_HUB_OFFLINE=1` sets both from outside.
SWITCHES = ("huggingface_hub.constants", "datasets.config")


class Unread(ValueError):
    """What a task needs can be neither fetched nor found."""


@contextlib.contextmanager
def from_hub(what: str) -> Iterator[None]:
    """Load `what` in the block: no minutes of retries where nobody answers, and no library's own error.

    The hub is knocked at once. If it does not answer, its clients are told to look into their cache only.

    Raises:
        Unread: if it can neither be fetched nor found in the cache, or the hub does not have it.
    """
    import huggingface_hub.constants as hub
    from huggingface_hub.errors import HfHubHTTPError

    transport: type[Exception] = HfHubHTTPError.__mro__[1]  # type: ignore[assignment] # the base of all errors of the client's own transport, whichever it is
    told, address = bool(hub.HF_HUB_OFFLINE), hub_address()
    offline = told or address is None or not answers(address)
    reason = "HF_HUB_OFFLINE is set" if told else f"the hub ({address[0] if address else '-'}) cannot be reached"
    modules = [module for name in SWITCHES if (module := sys.modules.get(name)) is not None]
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = offline  # type: ignore[attr-defined]
        yield
    except (OSError, transport) as error:
        if offline:
            raise Unread(
                f"{what} cannot be loaded: {reason}, and this machine's cache does not hold it; {remedy()}"
            ) from error
        raise Unread(
            f"{what} cannot be loaded from the hub ({type(error).__name__}: {first_line(error)}); check its name and "
            "whether you may read it, or try again later"
        ) from error
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value  # type: ignore[attr-defined]


@contextlib.contextmanager
def from_directory(what: str) -> Iterator[None]:
    """Load `what` in the block from this machine's disk; `Unread` with the library's reason if that fails."""
    try:
        yield
    except OSError as error:
        raise Unread(
            f"{what} cannot be loaded from this directory ({first_line(error)}); give one that save_pretrained wrote"
        ) from error


def remedy() -> str:
    """What to do without network."""
    embedded = [name for name, (place, _) in TASKS.items() if ".hub:" not in place]
    return f"connect once, or use an embedded task: {', '.join(embedded)}"


def first_line(error: Exception) -> str:
    """The first line of what a library said, in one line's length."""
    return next(iter(str(error).strip().splitlines()), "no reason given")[:200]


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Its report of layers that no weights were found for stays away: the head's are expected, others are refused."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
