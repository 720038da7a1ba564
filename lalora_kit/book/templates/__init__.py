"""Templates: the frame of all HTML pages, a run's too, which needs no notebook: style, policy, plotly's script.

Imports nothing of the package. Read `fill` first.
"""

from __future__ import annotations

from pathlib import Path

import jinja2
from plotly.offline import get_plotlyjs as get_plotlyjs
from pygments.formatters import HtmlFormatter

TEMPLATES = Path(__file__).parent
# Scripts and styles of the page itself and of the file beside it; nothing from any host.
POLICY = "default-src 'self' file: data: blob: 'unsafe-inline' 'unsafe-eval'"


def fill(template: str, **values: object) -> str:
    """One of the templates, with the pages' own style and the policy that keeps the network out."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    return environment.get_template(template).render(css=css(), policy=POLICY, **values)


def css() -> str:
    """The style of all pages."""
    return (TEMPLATES / "page.css").read_text(encoding="utf-8") + HtmlFormatter().get_style_defs(".highlight")


def readable_size(count: int) -> str:
    """Bytes for people, in decimal units: `1.21 GB`, `840 MB`, `36 kB`."""
    for unit, size, digits in (("GB", 1e9, 2), ("MB", 1e6, 0)):
        if count >= size:
            return f"{count / size:.{digits}f} {unit}"
    return f"{count / 1e3:.0f} kB"
