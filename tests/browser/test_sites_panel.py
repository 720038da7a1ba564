"""Lesson 09's panel in a real JupyterLab: what travels follows each slider at once; a run lies on its simulator."""

from __future__ import annotations

import pytest

from tests.browser import test_in_lab as lab_tests

pytestmark = lab_tests.pytestmark
NAME, TRACES = "09_across_sites", 6
#: slider -> what it moves at once: the noise told on the upload, the upload's length, what stays at a site
PLACES = {"epsilon": "text", "rank": "x", "clients": "x"}
BAR = {"epsilon": 3, "rank": 3, "clients": 5}
ROUNDS = f"() => Array.from({lab_tests.PLOT}?.data?.[1]?.x ?? []).length"
TWICE = f"""() => {{
  const [here, there] = {lab_tests.PLOT}.data;
  return JSON.stringify(Array.from(here.y)) === JSON.stringify(Array.from(there.y));
}}"""


@pytest.fixture
def reader(lab, chromium):
    yield from lab_tests.opened(lab, chromium, NAME, TRACES)


def moved_by(slider: str) -> str:
    """What the picture shows where a slider moves it, as JavaScript."""
    return f"() => JSON.stringify(Array.from({lab_tests.PLOT}.data[{BAR[slider]}].{PLACES[slider]}))"


def test_sliders_move_what_travels_and_a_run_over_sites_lies_on_its_simulator(reader):
    page = reader.page
    first = page.evaluate(ROUNDS)
    assert first == 5 and page.evaluate(TWICE) and "Ready" in reader.status()
    reader.shoot(f"{NAME}-1-ready")
    for slider in lab_tests.THREE:
        reader.timed(NAME, slider, "ArrowRight", moved_by(slider))
        assert "an upload is" in reader.status(), "a sentence says what the move did"
    still = page.evaluate(moved_by("rank"))
    reader.move("epsilon", "ArrowLeft", moved_by("epsilon"))
    assert page.evaluate(moved_by("rank")) == still, "no ε changes the length of an upload"
    assert page.evaluate(ROUNDS) == first, "nothing trains before Run"
    reader.press("Run")
    print(f"{NAME}: first round on show {reader.until(f'() => ({ROUNDS})() === 1'):.2f} s after Run")
    reader.until(f"() => ({ROUNDS})() >= 2")
    reader.press("Stop")
    reader.until_status("Stopped")
    stopped = page.evaluate(ROUNDS)
    page.wait_for_timeout(3000)
    assert page.evaluate(ROUNDS) == stopped, "rounds came in after Stop"
    reader.press("Run")
    reader.until_status("Done", minutes=3)
    assert page.evaluate(ROUNDS) == first and page.evaluate(TWICE)
    reader.shoot(f"{NAME}-2-done")
    page.wait_for_timeout(2000)  # the pause after which the picture is kept
    reader.reload()
    reader.until(f"() => ({ROUNDS})() === {first}")  # the last picture, not the first one
    reader.press("Reset")
    reader.until_status("Ready")
    assert page.locator("[role=alert]").count() == 0
    assert page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
