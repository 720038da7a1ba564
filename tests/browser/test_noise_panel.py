"""The noise panel in a real JupyterLab: each slider and the switch move the picture, at once and without an error."""

from __future__ import annotations

import pytest

from tests.browser import test_in_lab as lab_tests

pytestmark = lab_tests.pytestmark
NAME, TRACES = "02_noise_amplification", 15


@pytest.fixture
def reader(lab, chromium):
    yield from lab_tests.opened(lab, chromium, NAME, TRACES)


def test_each_control_moves_the_picture(reader):
    page = reader.page
    reader.shoot(f"{NAME}-1-ready")
    for slider in lab_tests.THREE:
        reader.timed(NAME, slider)
    moved = page.evaluate(lab_tests.DOT)
    page.locator("button", has_text="each site brings its own").last.click()
    reader.until(f"() => ({lab_tests.DOT})() !== {moved!r}")
    reader.shoot(f"{NAME}-2-moved")
    shown = page.evaluate(lab_tests.DOT)
    page.wait_for_timeout(2000)  # the pause after which the picture is kept
    reader.reload()
    reader.until(f"() => ({lab_tests.DOT})() === {shown!r}")  # the last picture, not the first one
    page.locator("button", has_text="Reset").last.click()
    reader.until(f"() => ({lab_tests.DOT})() !== {shown!r}")
    assert page.locator("[role=alert]").count() == 0
    assert page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
