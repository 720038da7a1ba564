"""The text of a panel as HTML: status, facts and notes, and a failure where everyone sees it."""

from __future__ import annotations

import html
import traceback
from collections.abc import Sequence

from lalora_kit.lessons.lesson import epsilon_text


def facts_html(facts: Sequence[tuple[str, str]], status: str, notes: Sequence[str] = ()) -> str:
    """Status, facts as a row of small labelled values, and notes in small print below."""
    cells = "".join(
        f"<div style='margin-right:28px'><div style='font-size:85%;color:#555'>{html.escape(name)}</div>"
        f"<b>{html.escape(value)}</b></div>"
        for name, value in facts
    )
    small = "<br>".join(html.escape(note) for note in notes if note)
    return (
        f"<div role='status' style='line-height:1.4'>{html.escape(status)}"
        f"<div style='display:flex;flex-wrap:wrap;margin-top:4px'>{cells}</div>"
        f"<i style='font-size:85%;color:#555'>{small}</i></div>"
    )


def rose(name: str, before: float, after: float) -> str:
    """What a move did to a number, in a sentence; nothing where it did not change as it is told.

    >>> rose("σ", 0.9312, 1.7), rose("σ", 1.0001, 1.0)
    ('σ rose from 0.931 to 1.7.', '')
    """
    told = [epsilon_text(value) for value in (before, after)]
    return "" if told[0] == told[1] else f"{name} {'rose' if after > before else 'fell'} from {told[0]} to {told[1]}."


def error_html(failure: Exception | None) -> str:
    """A failure in red, its place folded away; nothing if there is none."""
    if failure is None:
        return ""
    trace = html.escape("".join(traceback.format_exception(failure)))
    return (
        f"<b role='alert' style='color:#b00020'>{html.escape(f'{type(failure).__name__}: {failure}')}</b>"
        f"<details><summary>where it happened</summary><pre>{trace}</pre></details>"
    )
