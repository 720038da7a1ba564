"""What a method says of itself beside what the loop asks: words, which change nothing that is computed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """A method in words, for its row of a table.

    Attributes:
        does: what it does, in a line.
    """

    does: str = ""
