"""The ablation's panel in a real JupyterLab: sliders, another method, a run that lands in the grid."""

from __future__ import annotations

import pytest

from tests.browser import test_in_lab as lab_tests

pytestmark = lab_tests.pytestmark
NAME, TRACES = "04_la_lora", 16
ROUNDS = f"() => Array.from({lab_tests.PLOT}?.data?.[1]?.x ?? []).length"
DOTS = f"() => Array.from({lab_tests.PLOT}?.data?.[6]?.x ?? []).length"
BAND = f"() => JSON.stringify(Array.from({lab_tests.PLOT}.data[9].y))"
SAID = "() => [...document.querySelectorAll('[role=status]')].at(-1).innerText"


@pytest.fixture
def reader(lab, chromium):
    yield from lab_tests.opened(lab, chromium, NAME, TRACES)


def test_a_run_lands_in_the_grid(reader):
    page = reader.page
    before, first = page.evaluate(DOTS), page.evaluate(BAND)
    reader.shoot(f"{NAME}-1-ready")
    # Before any training. One step of a slider often keeps the nearest shipped runs, and with them the picture, so what
    # is watched there is the sentence that says what changed; to the slider's end the band of shipped runs has to move.
    for slider in lab_tests.SLIDERS:
        reader.timed(NAME, slider, "ArrowRight", SAID)
        assert "→" in reader.status() and "nearest shipped runs" in reader.status()
        reader.move(slider, "End", BAND)
        reader.press("Reset")
        reader.until(f"() => !({SAID})().includes('→')")
        assert page.evaluate(BAND) == first
    method, axis = page.locator("select", has_text="ffa-lora").last, page.locator("select", has_text="clients").last
    axis.select_option("ε")
    reader.until(f"() => {lab_tests.PLOT}.layout.xaxis2.title.text.startsWith('ε')")
    reader.shoot(f"{NAME}-2-epsilon")
    axis.select_option("rate")
    reader.until(f"() => {lab_tests.PLOT}.layout.xaxis2.ticktext[0] === '0'")
    method.select_option("ffa-lora")
    reader.press("Run")
    print(f"{NAME}: first round on show {reader.until(f'() => ({ROUNDS})() === 1'):.2f} s after Run")
    reader.until(f"() => ({ROUNDS})() >= 2")
    reader.press("Stop")
    reader.until_status("Stopped")
    stopped = page.evaluate(ROUNDS)
    page.wait_for_timeout(3000)
    assert page.evaluate(ROUNDS) == stopped, "rounds came in after Stop"
    assert page.evaluate(DOTS) == before
    reader.press("Next seed")
    reader.until_status("Done", minutes=3)
    reader.until(f"() => ({DOTS})() === {before + 1}")
    reader.shoot(f"{NAME}-3-done")
    reader.move("rank", "ArrowRight", SAID)  # rank 8 is in no shipped run
    reader.press("Three seeds")
    reader.until_status("Seed 2 of 3.", minutes=3)
    reader.until_status("3 seeds, run here", minutes=6)
    reader.until(f"() => {lab_tests.PLOT}.data[9].name.startsWith('run here: ffa-lora')")
    reader.shoot(f"{NAME}-4-three-seeds")
    assert page.locator("[role=alert]").count() == 0
    assert page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
