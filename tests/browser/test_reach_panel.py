"""The panel of lesson 11 in a real JupyterLab: each slider move the picture, without an error."""

from __future__ import annotations

import pytest

from tests.browser import test_in_lab as lab_tests

pytestmark = lab_tests.pytestmark
NAME, TRACES = "11_reach_and_noise", 10


@pytest.fixture
def reader(lab, chromium):
    yield from lab_tests.opened(lab, chromium, NAME, TRACES)


DOT = lab_tests.DOT.replace("data[5]", "data[8]")  # FFA's signal over noise


def test_each_control_moves_the_picture(reader):
    page = reader.page
    reader.shoot(f"{NAME}-1-ready")
    for slider in lab_tests.THREE:
        reader.move(slider, what=DOT)
        reader.settle()
    assert "signal over noise is" in reader.status()
    reader.shoot(f"{NAME}-2-moved")
    moved = page.evaluate(DOT)
    page.locator("button", has_text="Reset").last.click()
    reader.until(f"() => ({DOT})() !== {moved!r}")
    assert page.locator("[role=alert]").count() == 0
    assert page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
