"""The panels of lessons 05 and 06 as a reader meets them: an audit that follows the sliders, seeds taken away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.test_in_lab import LIVE_PLOT, PLOT, SLIDERS, Reader, opened

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SPENT = f"() => JSON.stringify(Array.from({PLOT}.data[0].y))"
TITLE = f"() => {PLOT}.layout.title.text"
CLAIM = f"() => JSON.stringify(Array.from({PLOT}.data[1].y))"
EFFECTS = f"() => JSON.stringify(Array.from({PLOT}.data[1].x))"
ERRORS = "() => document.querySelectorAll('[role=alert]').length"


@pytest.fixture
def private(lab: Any, chromium: Any) -> Iterator[Reader]:
    yield from opened(lab, chromium, "05_is_it_private", traces=5)


@pytest.fixture
def trial(lab: Any, chromium: Any) -> Iterator[Reader]:
    yield from opened(lab, chromium, "06_claims_on_trial", traces=12)


def choose(reader: Reader, label: str) -> None:
    reader.page.locator(".widget-toggle-button", has_text=label).last.click()


def test_epsilon_follows_at_once_and_an_audit_after_it(private: Reader) -> None:
    private.shoot("05_is_it_private-1-ready")
    # Rank, the second of SLIDERS, changes nothing that is looked at here.
    private.timed("05_is_it_private", "epsilon", "ArrowLeft", what=CLAIM)
    private.timed("05_is_it_private", "clients", what=SPENT)
    private.until(f"() => {PLOT}.data[3].x.length > 0", minutes=3)
    choose(private, "batch clipped")
    private.press("Audit")
    private.until(f"() => {PLOT}.data[4].x.length > 0", minutes=3)
    assert private.page.evaluate(f"() => {PLOT}.data[4].y.at(-1) > {PLOT}.data[3].y.at(-1)")
    assert private.page.evaluate(ERRORS) == 0
    private.shoot("05_is_it_private-2-audited")
    private.press("Reset")
    private.until(f"() => {PLOT}.data[0].y.length === 8")


def test_a_verdict_depends_on_how_many_seeds_speak(trial: Reader) -> None:
    trial.shoot("06_claims_on_trial-1-ready")
    before = trial.page.evaluate(EFFECTS)
    trial.timed("06_claims_on_trial", "epsilon", "ArrowLeft", what=TITLE)  # the first slider: seeds
    assert "10 seeds" in trial.page.evaluate(TITLE) and "10 or 20" not in trial.page.evaluate(TITLE)
    trial.move("epsilon", "ArrowLeft", what=TITLE)
    few = trial.page.evaluate(EFFECTS)
    assert few != before and "9 seeds" in trial.page.locator(LIVE_PLOT).last.inner_text()
    choose(trial, "equal rate")
    trial.until(f"() => ({EFFECTS})() !== {few!r}")
    assert trial.page.evaluate(ERRORS) == 0
    trial.shoot("06_claims_on_trial-2-equal")
    trial.press("Reset")
    trial.until(f"() => ({EFFECTS})() === {before!r}")
    for slider, named in (("learning_rate", "16 clients"), ("clients", "rank 16")):  # its fourth slider, its third
        trial.page.locator(".jp-OutputArea .noUi-handle").nth(SLIDERS[slider]).focus()
        trial.page.keyboard.press("End")
        trial.until(f"() => Array.from({PLOT}.data[1].y).every((name) => name.includes({named!r}))")
        trial.shoot(f"06_claims_on_trial-3-{named.replace(' ', '-')}")
        trial.press("Reset")
        trial.until(f"() => ({EFFECTS})() === {before!r}")
    choose(trial, "skewed")
    trial.until(f"() => Array.from({PLOT}.data[1].y).every((name) => name.includes('skewed'))")
    trial.shoot("06_claims_on_trial-4-skewed")
