"""Answers: tells a learner whether an exercise's answer is right, while the notebook does not give it away.

A notebook holds a short hash of the right answer, bound to its exercise. That keeps it from being read by accident;
it is no secret from somebody who tries numbers.
"""

from __future__ import annotations

import hashlib


def plain(answer: float | str) -> str:
    """A number to two significant digits, however it is written (62, 62.0, 62 %); other words in lower case."""
    try:
        return f"{float(str(answer).rstrip(' %')):.2g}"
    except ValueError:
        return " ".join(str(answer).casefold().split())


def sealed(exercise: str, answer: float | str) -> str:
    """What a notebook holds in place of the answer.

    >>> sealed("example", "2.0") == sealed("example", 2) != sealed("another", 2)
    True
    """
    return hashlib.blake2b(plain(answer).encode(), digest_size=6, key=exercise.encode()).hexdigest()


def check(exercise: str, answer: float | str | None, *right: str, hint: str) -> None:
    """Print whether `answer` is one of the right ones, and a hint if it is not.

    Args:
        exercise: its name, to which the hashes are bound.
        answer: a number (two digits count), a word, or None.
        right: `sealed` of each answer that counts.
        hint: what to think of next.

    Raises:
        ValueError: if the answer is neither a number nor a word.
    """
    if answer is None:
        print("no answer yet: put yours in place of None, and run this cell again")
        return
    if isinstance(answer, bool) or not isinstance(answer, float | int | str) or not str(answer).strip():
        raise ValueError(f"answer={answer!r} is neither a number nor a word; write a number such as 1.5")
    print(f"{plain(answer)}: {'right' if sealed(exercise, answer) in right else f'not yet. {hint}'}")
