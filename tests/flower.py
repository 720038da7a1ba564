"""Flower on this machine, for tests and measurements: a SuperLink, and a SuperNode before each site's door."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lalora_kit.runs.sites.app import QUIET, write_app
from lalora_kit.runs.sites.door import Door
from lalora_kit.runs.sites.setup import make_key
from lalora_kit.settings import Settings
from lalora_kit.tasks import Task
from tests.federation import NAMES, method_of, sites_in

HERE, ROOT = Path(sys.executable).parent, Path(__file__).resolve().parents[1]
ON = "127.0.0.1"


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as listening:
        listening.bind((ON, 0))
        return int(listening.getsockname()[1])


def wait_until(holds: Callable[[], Any], seconds: float, why: Callable[[], str], alive: Callable[[], bool]) -> Any:
    """Look five times a second until something holds; an `AssertionError` as soon as nobody is left who could do it."""
    until = time.monotonic() + seconds
    while not (found := holds()):
        there = alive()
        assert time.monotonic() < until and there, f"waited {seconds:g} s ({there=}): {why()}"
        time.sleep(0.2)
    return found


class Flower:
    """A federation over Flower in `home`: sites in this process, everything of Flower's in processes of its own.

    Args:
        home: where app, logs and sites lie.
        task, settings, method: of the run; `settings.clients` sites, each with its share of the samples.
        secure: TLS, and a registered key for each node.
        database: SuperLink keeps its state in a file.
        between: stands in for the port that nodes connect to, given SuperLink's.
        resting: seconds after which a round is late.
    """

    def __init__(
        self, home: Path, task: Task, settings: Settings, *, method: str = "la-lora", secure: bool = False,
        database: bool = False, between: Callable[[int], int] = lambda port: port, resting: float = 60.0,
    ) -> None:  # fmt: skip
        self.home, self.task, self.secure, self.database, self.between = home, task, secure, database, between
        self.port, self.names = free_port(), NAMES[: settings.clients]
        certificate = certify(home) if secure else None
        self.server = write_app(
            home / "app", {"source": {"task": task.name}}, self.names, method_of(method), settings, "trial", None,
            resting, f"{ON}:{self.port}", certificate,
        )  # fmt: skip
        self.out, path = Path(self.server.out), f"{HERE}{os.pathsep}{os.environ['PATH']}"
        self.env = {**os.environ, **QUIET, "FLWR_HOME": str(self.out / "flwr"), "PATH": path, "PYTHONPATH": str(ROOT)}
        self.sites = sites_in(home, task, clients=settings.clients)
        self.doors = Path(tempfile.mkdtemp(prefix="lalora-doors-"))  # a socket's path must be short
        self.stack = contextlib.ExitStack()
        self.stack.callback(shutil.rmtree, self.doors, True)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Flower:
        try:
            self.superlink()
            for name in self.names:
                self.node(name)
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *given: object) -> None:
        self.stack.close()

    def start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        """A process of Flower's in a session of its own, ended with the block, with all that it started."""
        with (self.home / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                [str(HERE / words[0]), *words[1:]], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.running[name] = process
        self.stack.callback(end, process)
        return process

    def said(self, name: str) -> str:
        """What a process has written."""
        return (self.home / f"{name}.log").read_text(errors="replace")

    def superlink(self) -> None:
        """SuperLink, waited for."""
        secure = ["--insecure"]
        if self.secure:
            named = {"ca-certfile": "ca.crt", "certfile": "server.crt", "keyfile": "server.key"}
            secure = ["--enable-supernode-auth", *(f"--ssl-{name}={self.home / file}" for name, file in named.items())]
        kept = ["--database", str(self.home / "state.db")] if self.database else []
        process = self.start(
            "superlink", "flower-superlink", *secure, *kept, "--disable-runtime-dependency-installation", "--port",
            str(self.port),
        )  # fmt: skip
        self.wait(lambda: listens(self.port), "superlink", process)

    def node(self, name: str) -> None:
        """A site's door, and the SuperNode before it, its key registered if there are keys."""
        place = self.doors / name
        door = self.stack.enter_context(Door(self.sites[name], place / "socket"))
        threading.Thread(target=door.serve_forever, daemon=True).start()
        self.stack.callback(door.shutdown)
        secure = ["--insecure"]
        if self.secure:
            make_key(place / "key", "")
            self.flwr("supernode", "register", str(place / "key.pub"), "here")
            secure = ["--root-certificates", str(self.home / "ca.crt"), "--auth-supernode-private-key"]
            secure.append(str(place / "key"))
        self.start(
            name, "flower-supernode", *secure, "--superlink", f"{ON}:{self.between(self.port)}", "--port",
            str(free_port()), "--node-config", f"socket='{place / 'socket'}'",
        )  # fmt: skip

    def flwr(self, *words: str) -> str:
        """A command of `flwr`, to its end."""
        done = subprocess.run([str(HERE / "flwr"), *words], env=self.env, stdin=subprocess.DEVNULL, timeout=60,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, name: str = "job") -> subprocess.Popen[bytes]:
        """`flwr run`, as it stands in what `lalora serve app` prints."""
        return self.start(name, "flwr", "run", str(self.home / "app"), "here", "--stream")

    def wait(self, holds: Callable[[], Any], name: str, of: subprocess.Popen[bytes], seconds: float = 110.0) -> Any:
        """Until something holds, as long as a process is there; its log is told if it does not."""
        return wait_until(holds, seconds, lambda: self.said(name)[-3000:], lambda: of.poll() is None or bool(holds()))

    def kill(self, name: str) -> None:
        """SIGKILL to a process and to all that it started."""
        os.killpg(self.running[name].pid, signal.SIGKILL)
        self.running[name].wait()


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, then make sure of it and of its children."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def listens(port: int) -> bool:
    """Whether somebody answers at a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection((ON, port), 1):
        return True
    return False


def certify(home: Path) -> Path:
    """A CA and a certificate for this machine, made by openssl; returns the CA's."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=home, check=True, capture_output=True)

    made = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *made, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=lalora test CA")
    openssl("req", *made, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={ON}")
    (home / "names").write_text(f"subjectAltName=IP:{ON},DNS:localhost")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out",
            "server.crt", "-days", "2", "-extfile", "names")  # fmt: skip
    return home / "ca.crt"


class Counting:
    """A relay of TCP that counts what crosses, for a port: `up` towards it, `down` from it."""

    def __init__(self, port: int) -> None:
        self.port, self.up, self.down, self.lock = port, 0, 0, threading.Lock()
        self.listening = socket.create_server((ON, 0))
        self.here = int(self.listening.getsockname()[1])
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        """Connections, until the listening socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                link, _ = self.listening.accept()
                with contextlib.suppress(OSError):
                    other = socket.create_connection((ON, self.port))
                    for one, two, way in ((link, other, "up"), (other, link, "down")):
                        threading.Thread(target=self.carry, args=(one, two, way), daemon=True).start()

    def carry(self, one: socket.socket, two: socket.socket, way: str) -> None:
        """What one side says, to the other."""
        with contextlib.suppress(OSError):
            while data := one.recv(2**16):
                with self.lock:
                    setattr(self, way, getattr(self, way) + len(data))
                two.sendall(data)
        for side in (one, two):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def counted(self) -> tuple[int, int]:
        """Bytes up and down so far."""
        with self.lock:
            return self.up, self.down


@contextlib.contextmanager
def counting(ports: dict[int, Counting]) -> Iterator[Callable[[int], int]]:
    """A `between` for `Flower`: one counter a port, kept in `ports`."""
    try:
        yield lambda port: ports.setdefault(port, Counting(port)).here
    finally:
        for one in ports.values():
            one.listening.close()
