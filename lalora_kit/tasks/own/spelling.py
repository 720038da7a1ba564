"""Spelling: when two names are one to the eye, and whether there is anything to see in a text at all.

Two classes, owners or persons that only a program can tell apart would be counted as two without anybody's noticing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

#: Blank where a font has nothing for them, though Unicode files them under letters, marks or symbols: the Hangul
#: fillers, the empty Braille pattern, the grapheme joiner, and the selectors of variants
#: (DerivedCoreProperties.txt, Default_Ignorable_Code_Point).
BLANK = {"\u3164", "\uffa0", "\u115f", "\u1160", "\u2800", "\u034f", "\u17b4", "\u17b5", "\u180b", "\u180c", "\u180d"}


def composed(text: str) -> str:
    """`text` in Unicode's composed form (NFC), without blanks around it: é is one letter, however it was typed."""
    return unicodedata.normalize("NFC", text).strip()


def unseen(letter: str) -> bool:
    """Whether nothing is drawn for `letter`, a space included."""
    return (
        unicodedata.category(letter) in ("Cc", "Cf", "Zs", "Zl", "Zp")
        or letter in BLANK
        or "\ufe00" <= letter <= "\ufe0f"
        or "\U000e0100" <= letter <= "\U000e01ef"
    )


def is_empty(text: str) -> bool:
    """Whether a reader would see nothing: no letters, or spaces without width alone."""
    return all(map(unseen, text))


def as_seen(text: str) -> str:
    """What a reader sees of `text`: spaces of any kind as one, and nothing of what takes no width."""
    spaced = "".join(" " if letter.isspace() or unicodedata.category(letter) == "Zs" else letter for letter in text)
    return " ".join("".join(letter for letter in spaced if letter == " " or not unseen(letter)).split())


def look_alikes(names: Sequence[str], what: str, place: Callable[[int], str]) -> list[str]:
    """Names that look like another one of `names` but are written otherwise: a line each, at its first place."""
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        first.setdefault(name, row)
    seen: dict[str, str] = {}
    return [
        f"{place(row)} is {what} {name!a}, which looks like {seen[as_seen(name)]!a} and is written otherwise"
        for name, row in first.items()
        if not is_empty(name) and seen.setdefault(as_seen(name), name) != name
    ]
