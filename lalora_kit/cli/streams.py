"""Standard streams that stop no run: whatever can be said is said, in any encoding, and nobody need listen.

A letter that the terminal's encoding lacks (ε in cp1252) is written as `\\u03b5`. Files are not concerned: they are
UTF-8 always.
"""

from __future__ import annotations

import io
import os
import sys


def ready() -> None:
    """Make the three streams safe to use; one that the caller closed leads nowhere.

    Else the next file that is opened, a ledger say, would get the closed stream's number, and all that is printed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  (open to the end)
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def settle() -> None:
    """Write what is still held back; a stream that cannot be written to (nobody reads it, a full disk) leads nowhere.

    Raises:
        OSError: of the stream that failed, after this.
    """
    failed: OSError | None = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            failed = error
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if failed is not None:
        raise failed
