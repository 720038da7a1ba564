"""The algorithm box: every line leads to the function that does it, and that function's docstring leads back."""

import inspect
import re
from pathlib import Path

import pytest

from lalora_kit.figures.pictures.algorithm import LINES, Box, address, drawn, repository

ROOT = Path(__file__).resolve().parents[2]
NUMBERED = pytest.mark.parametrize(("number", "line"), list(enumerate(LINES, start=1)))


@NUMBERED
def test_a_link_leads_to_the_function_that_does_the_line(number, line):
    there = address(line.done_by)
    assert there.startswith(f"{repository()}/blob/HEAD/lalora_kit/")
    place, first = re.fullmatch(r".*/blob/HEAD/(.+)#L(\d+)", there).groups()
    source = (ROOT / place).read_text(encoding="utf-8").splitlines()[int(first) - 1 :]
    stands = next(text for text in source if not text.lstrip().startswith("@"))
    assert stands.lstrip().startswith(f"def {line.done_by.__name__}(")
    assert drawn(number, line).count(f"href='{there}'") == 2, "the number and the name are links"


@NUMBERED
def test_the_functions_docstring_leads_back(number, line):
    said = re.findall(r"Line (\d+) of the algorithm in lesson 04", inspect.getdoc(line.done_by))
    assert said == [str(number)]


def test_no_other_function_says_that_it_is_a_line_of_the_algorithm():
    said = [
        number
        for path in (ROOT / "lalora_kit").rglob("*.py")
        if path.name != "algorithm.py"
        for number in re.findall(r"Line (\d+) of the algorithm in lesson 04", path.read_text(encoding="utf-8"))
    ]
    assert sorted(map(int, said)) == list(range(1, len(LINES) + 1))


def test_the_box_marks_the_lines_that_the_method_has_alone():
    box = Box()
    own = [number for number, line in enumerate(LINES, start=1) if line.own]
    assert f"lines {own[0]} and {own[1]} are its own" in box.title and len(own) == 2
    shown = box._repr_html_()
    assert shown.count("class='line own'") == 2 and shown.count("<div class='line") == len(LINES)
    assert f"aria-label='{box.alt}'" in shown
