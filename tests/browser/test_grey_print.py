"""Grey print, by picture: what a legend shows of each line, without colours, is not what it shows of another."""

from __future__ import annotations

import io
import itertools
import json
from typing import Any

import numpy as np
import plotly.offline
import pytest
from PIL import Image

from tests.browser.test_in_lab import SHOTS
from tests.figures.test_grey import FIGURES

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
WIDE, HIGH = 40, 16  # pixels of a legend's sample of a line
LEAST = 4.0  # mean difference of two samples, of 255 shades: another dash or marker moves more ink than that
#: Every line in one shade, so that nothing but dash and marker is left to tell them apart by.
INK = """() => document.querySelectorAll('.legend .layers *').forEach(mark => {
  for (const part of ['stroke', 'fill'])
    if (!['', 'none'].includes(mark.style[part])) mark.style[part] = '#444444';
  mark.style.strokeOpacity = mark.style.fillOpacity = mark.style.opacity = 1;
})"""


@pytest.fixture(scope="module")
def page(chromium: Any) -> Any:
    page = chromium.new_page(viewport={"width": 1280, "height": 900}, device_scale_factor=2)
    page.set_content("<style>body{filter:grayscale(1);margin:0}</style><div id='here'></div>")
    page.add_script_tag(content=plotly.offline.get_plotlyjs())
    yield page
    page.close()


def samples(page: Any, name: str) -> dict[str, np.ndarray]:
    """What the legend shows of each line, in one ink."""
    figure = json.loads(FIGURES[name].to_json())
    figure["layout"] |= {
        "legend": {"orientation": "v", "x": 1.05, "y": 1, "yref": "paper", "yanchor": "top"},
        "width": 1200,
        "height": 880,
    }
    page.evaluate("figure => Plotly.newPlot('here', figure.data, figure.layout)", figure)
    page.evaluate(INK)
    found = {}
    for entry in page.locator(".legend .traces").all():
        box = entry.locator(".layers").bounding_box()
        clip = {"x": box["x"], "y": box["y"] + box["height"] / 2 - HIGH / 2, "width": WIDE, "height": HIGH}
        shot = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("L")
        found[entry.locator(".legendtext").text_content()] = np.asarray(shot, dtype=float)
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"grey-{name.replace(' ', '-').replace(',', '')}.png")
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_no_two_lines_look_the_same_in_grey(page: Any, name: str) -> None:
    found = samples(page, name)
    assert len(found) > 1 and all(shot.min() < 200 for shot in found.values()), "a sample with ink in it"
    apart = {
        (one, other): float(np.abs(found[one] - found[other]).mean()) for one, other in itertools.combinations(found, 2)
    }
    print(name, "the closest:", min(apart, key=lambda pair: apart[pair]), round(min(apart.values()), 1))
    assert [pair for pair, difference in apart.items() if difference < LEAST] == []
