"""The network: whether the hub that larger tasks come from answers. It is only knocked at."""

from __future__ import annotations

import importlib
import socket
import threading
import urllib.parse
import urllib.request

PATIENCE = 2.0  # seconds that the network has to answer


def hub_address() -> tuple[str, int] | None:
    """Host and port of the hub that larger tasks come from, or of the proxy on the way there; None without a client."""
    try:
        endpoint = importlib.import_module("huggingface_hub.constants").ENDPOINT
    except ImportError:
        return None
    address = urllib.parse.urlsplit(endpoint)
    proxy = urllib.request.getproxies().get(address.scheme)
    if proxy and not urllib.request.proxy_bypass(address.hostname or ""):
        address = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return address.hostname or "", address.port or (80 if address.scheme == "http" else 443)


def answers(address: tuple[str, int], patience: float = PATIENCE) -> bool:
    """Whether a host answers within `patience` seconds, name look-up included."""
    answered: list[bool] = []

    def knock() -> None:
        try:
            socket.create_connection(address, timeout=patience).close()
            answered.append(True)
        except OSError:
            answered.append(False)

    thread = threading.Thread(target=knock, daemon=True)  # a name look-up has no time limit of its own
    thread.start()
    thread.join(patience)
    return answered == [True]
