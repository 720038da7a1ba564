"""The shape of a lesson: short, little code on view, nothing given away, the phenomenon on the first screen."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
MOST_WORDS, MOST_LINES, MOST_COLUMNS, MOST_PRINTS = 900, 60, 90, 2
#: Ways of putting it that cost a reader a second look, promise too much, or are false.
UNCLEAR = (
    "are ruled out above a stated effect", "and what comes of it", "is for the figure to say", "what is missing to 1",
    "are the showing", "has none for ever", "its left end", "no sample may leak", "one throw of the dice",
    "add the same noise", "photographed digits", "built from the cures", "crowd stops helping", "stays out of reach",
    "the corner alone is not", "noises something smaller", "holds nothing but noise", "was lost in one round",
)  # fmt: skip
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def calls(path, name):
    """Every call of `name` in a notebook, as `(number of its code cell, node)`."""
    for place, cell in enumerate(cells(path, "code")):
        source = re.sub(r"^(\s*)%.*$", r"\1pass", cell.source, flags=re.MULTILINE)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                yield place, node


def texts(node):
    """The pieces of text in an expression, those of f-strings included."""
    return [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def prose(path):
    """What a reader reads: Markdown cells, and the paragraphs that come with an answer."""
    said = [word.value for _, node in calls(path, "reveal") for word in node.keywords if word.arg == "says"]
    return "\n\n".join([*(cell.source for cell in cells(path, "markdown")), *(" ".join(texts(node)) for node in said)])


def words(text):
    """How many words a text has: without tags, addresses, formulas, and what separates a table's cells.

    >>> words("Take *two* [steps](x.md): $a + b$ | done | <b>now</b>")
    5
    """
    text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", " ", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>|\]\([^)]*\)|`[^`]*`", " ", text)
    return len(re.findall(r"[^\W_]+(?:['’.-][^\W_]+)*", text))


def view(path):
    """The lines of code that a reader sees; parameters are a table of sliders, and count for nothing."""
    seen = [
        cell
        for cell in cells(path, "code")
        if not cell.metadata.get("jupyter", {}).get("source_hidden")
        and "parameters" not in cell.metadata.get("tags", [])
    ]
    return [line for cell in seen for line in cell.source.splitlines() if line.strip()]


@EACH
def test_a_lesson_is_short(path):
    assert words(prose(path)) <= MOST_WORDS
    assert len(view(path)) <= MOST_LINES
    assert len(list(calls(path, "print"))) <= MOST_PRINTS, "numbers stand in tables"


@EACH
def test_code_on_view_fits_its_box(path):
    """A page at 1280 pixels shows 90 columns of it without scrolling; folded cells may be wider."""
    assert [line for line in view(path) if len(line) > MOST_COLUMNS] == []


@EACH
def test_every_question_has_its_answer_alone_in_a_cell_that_is_folded(path):
    asked, answered = list(calls(path, "predict")), list(calls(path, "reveal"))
    assert asked and len(asked) == len(answered)
    for place, _ in answered:
        cell = cells(path, "code")[place]
        assert cell.metadata.get("jupyter", {}).get("source_hidden"), "its source gives the answer away"
        assert not re.search(r"\b(show_figure|display|print)\(", cell.source), "hand it to `reveal`"


@EACH
def test_the_first_screen_shows_what_the_lesson_is_about(path):
    """A promise in a sentence, then a picture; the card comes after."""
    every = nbformat.read(path, as_version=4).cells
    assert words(every[0].source) <= 60, "one sentence of promise"
    first = next(place for place, cell in enumerate(every) if "opening" in cell.metadata.get("tags", []))
    before = [cell.source for cell in every[:first] if cell.cell_type == "markdown"]
    assert sum(map(words, before)) <= 60, "the picture is on the first screen"


@EACH
def test_no_sentence_that_had_to_be_read_twice_is_left(path):
    assert not [phrase for phrase in UNCLEAR if phrase in prose(path)]


@EACH
def test_words_are_linked_to_the_glossary_where_they_first_appear(path):
    assert len(re.findall(r"\]\(GLOSSARY\.md#[^)]+\)", prose(path))) >= 3
