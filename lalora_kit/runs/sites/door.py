"""The door: a Unix socket at which a site's process answers a relay, and can be asked two things and nothing else.

Whatever code runs beside it as the relay's user (an app that came over the network, say) can open the socket; data,
secret and ledger lie in a folder that it cannot enter. One request a connection: a line of JSON, then `bytes` bytes;
the answer likewise. What a request says is believed in nothing: lengths are bounded, and a bad one ends with one
sentence, never the site.
"""

from __future__ import annotations

import contextlib
import getpass
import grp
import json
import os
import shutil
import socket
import socketserver
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lalora_kit.runs.sites.site import Site

MOST_LINE = 2**20  # bytes; terms are a quarter of it at most
MOST_PATH = 100  # bytes of a socket's path, of which the system allows 107
PATIENCE = 20.0  # seconds that a connection may be silent while it sends
AT_ONCE = 8  # connections; more wait
HIDDEN = "the site could not answer; the reason stands in its own log alone"


class Handler(socketserver.StreamRequestHandler):
    """One request."""

    timeout = PATIENCE

    def handle(self) -> None:
        """Answer, or say in public words why not."""
        server: Any = self.server
        with server.room, contextlib.suppress(OSError):  # whoever has left is told nothing
            reply, body = self.said(server.site)
            self.connection.settimeout(PATIENCE)
            self.wfile.write(json.dumps({**reply, "bytes": len(body)}).encode() + b"\n" + body)

    def said(self, site: Site) -> tuple[dict[str, Any], bytes]:
        """The answer as facts and bytes; an error that is no refusal may speak of data, so it is told here alone."""
        from lalora_kit.runs.sites.places import Refused

        try:
            line = self.rfile.readline(MOST_LINE)
            try:
                head = json.loads(line)
                asked, terms, size = head["ask"], head["terms"], head.get("bytes", 0)
                if not isinstance(terms, str) or type(size) is not int or asked not in ("hello", "round"):
                    raise TypeError
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise Refused("this is no request; send {ask: hello or round, terms: ..., bytes: ...}") from error
            if asked == "hello":
                return site.hello(terms), b""
            most = site.most(terms)
            if not 0 <= size <= most:
                raise Refused(f"a demand of {size} bytes is none of these terms, whose demands have at most {most}")
            body = self.rfile.read(size)
            if len(body) != size:
                raise Refused(f"a demand of {size} bytes ended after {len(body)}; ask again")
            return {}, site.answer(terms, head.get("client"), head.get("round"), body)
        except Refused as error:
            site.told(f"refused: {error}")
            return {"refused": str(error)}, b""
        except Exception:
            site.told(f"could not answer:\n{traceback.format_exc()}")
            return {"refused": HIDDEN}, b""


class Door(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens at `path`; its folder is made so that `group`, or the owner alone, may enter it.

    Closing waits for requests that are being answered: a round that was charged is kept too.
    """

    daemon_threads = False

    def __init__(self, site: Site, path: Path, group: str | None = None) -> None:
        if len(os.fsencode(path)) > MOST_PATH:
            raise ValueError(f"the socket {path} has a path of more than {MOST_PATH} bytes; name a shorter one")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self.site, self.room = site, threading.BoundedSemaphore(AT_ONCE)
        before = os.umask(0o177)
        try:
            super().__init__(str(path), Handler)
        finally:
            os.umask(before)
        let_in(path.parent, group)
        let_in(path, group)


def let_in(path: Path, group: str | None) -> None:
    """Open a folder or a file to its owner and to `group`, or to the owner alone; to nobody else.

    Raises:
        ValueError: if this user may not give things to the group; a folder made beforehand gives it what lies there.
    """
    folder = path.is_dir()
    wanted = (0o700 if folder else 0o600) | (0 if group is None else 0o050 if folder else 0o060)
    try:
        if group is not None and path.stat().st_gid != grp.getgrnam(group).gr_gid:
            shutil.chown(path, group=group)
        if path.stat().st_mode & 0o777 != wanted:
            path.chmod(wanted)
    except (PermissionError, KeyError) as error:
        door = path if folder else path.parent
        raise ValueError(
            f"{path} cannot be given to group {group} ({error}); let root make the folder: "
            f"install -d -o {getpass.getuser()} -g {group} -m 2750 {door}"
        ) from error


def ask(path: Path | str, head: dict[str, Any], body: bytes = b"") -> tuple[dict[str, Any], bytes]:
    """One request at a site's door; `ValueError` with its sentence if it refuses."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        link.sendall(json.dumps({**head, "bytes": len(body)}).encode() + b"\n" + body)
        with link.makefile("rb") as stream:
            said = json.loads(stream.readline())
            data = stream.read(said.pop("bytes"))
    if "refused" in said:
        raise ValueError(said["refused"])
    return said, data
