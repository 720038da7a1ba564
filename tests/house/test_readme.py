"""The README is a door: short, in a fixed order; what it and the pages behind it show can be typed in and followed."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from lalora_kit.federated import federated_rounds
from lalora_kit.trial.study import find
from tests.benchmarks import door
from tests.tiny import FAST, linear_task

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    *(f"notebooks/{name}.md" for name in ("GUIDE", "DEPLOYING", "RESULTS", "GLOSSARY", "INSTRUCTORS")),
)
TEXTS = {name: (ROOT / name).read_text("utf-8") for name in PAGES}
README, GUIDE = TEXTS["README.md"], TEXTS["notebooks/GUIDE.md"]
MOST_WORDS, MOST_PICTURES = 900, 3
SECTIONS = ["Two commands", "What each lesson shows", "A few lines of Python", "Where to go on", "Licence"]
#: Sentences that readers had to read twice, or that claim too much: they are not to come back.
COSTLY = (
    "no sample may leak",
    "what a step promises, and what comes of it",
    "seven of nineteen are ruled out above a stated effect",
    "one seed is one throw of the dice",
    "What is missing to 1 is how much the answer has changed",
    "The lines above are the showing",
    "has none for ever",
    "a small arc over the round's number",
    "so no row holds, and none holds the other way round",
    "What it carries it can also spoil",
    "Which site a node speaks for is what it says",
    "two names that only a program can tell apart",
    "privacy is cheap in crowds",
    "earns no credit",
)


def words(text: str) -> list[str]:
    """What a reader reads: alternative texts and code too, but no comments, tags and addresses."""
    text = re.sub(r'<img[^>]*alt="([^"]*)"[^>]*>', r"\1", text)
    text = re.sub(r"<!--.*?-->|<[^>]+>|(?<=\])\([^)]*\)", "", text, flags=re.DOTALL)
    return [word for word in text.split() if re.search(r"\w", word)]


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub and GitLab make it."""
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_it_is_a_door():
    assert len(words(README)) <= MOST_WORDS
    assert re.findall(r"^## (.+)$", README, re.MULTILINE) == SECTIONS
    pictures = re.findall(r"<img[^>]*>|!\[[^\]]+\]\([^)]+\)", README)
    assert 1 <= len(pictures) <= MOST_PICTURES and all(re.search(r'alt="[^"]{40,}"|!\[.{40,}\]', p) for p in pictures)
    assert README.index("<picture>") < README.index(f"## {SECTIONS[0]}") and str(door.MOVING.name) in pictures[0]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r'\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"', TEXTS[page])
    assert links
    for link in map("".join, links):
        path, _, anchor = link.partition("#")
        if not link.startswith("https:"):
            place = (ROOT / page).parent / path if path else ROOT / page
            assert place.exists(), link
            if anchor:
                assert anchor in map(slug, re.findall(r"^#+ (.+)$", place.read_text("utf-8"), re.MULTILINE)), link


@pytest.mark.parametrize("page", PAGES)
def test_no_sentence_that_cost_a_reader_is_back(page):
    told = " ".join(TEXTS[page].split()).lower()
    assert [sentence for sentence in COSTLY if sentence.lower() in told] == []


def test_the_glossary_has_fifteen_words_in_use():
    glossary = TEXTS["notebooks/GLOSSARY.md"]
    entries = {slug(heading) for heading in re.findall(r"^### (.+)$", glossary, re.MULTILINE)}
    used = {link for text in TEXTS.values() for link in re.findall(r"(?:GLOSSARY\.md|\()#([^)]+)\)", text)}
    assert len(entries) == 15 and glossary.startswith("# Glossary\n\nFifteen words.") and entries - used == set()
    lessons = "".join(path.read_text("utf-8") for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert set(re.findall(r"GLOSSARY\.md#([\w-]+)", lessons)) <= entries


def test_minutes_at_worst_follow_from_the_quiet_seconds():
    """INSTRUCTORS.md takes six times the quiet seconds of RESULTS.md, rounded up to minutes."""
    quiet = dict(re.findall(r"^\| \[([^\]]+)\]\([^)]+\) \| (\d+) \|", TEXTS["notebooks/RESULTS.md"], re.MULTILINE))
    told = re.findall(r"^\| (0\d [^|]+?) \| (\d+) \| (\d+) \|$", TEXTS["notebooks/INSTRUCTORS.md"], re.MULTILINE)
    assert len(told) == 4
    for lesson, seconds, minutes in told:
        assert seconds == quiet[lesson] and int(minutes) == math.ceil(6 * int(seconds) / 60), lesson
    total = f"estimate is {sum(int(minutes) for *_, minutes in told)} minutes"
    assert total in " ".join(TEXTS["notebooks/INSTRUCTORS.md"].split())


def test_the_core_in_a_few_lines(capsys):
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    assert "rounds=10" in code and len(code.splitlines()) <= 10
    exec(code.replace("rounds=10", "rounds=1"), {})
    assert capsys.readouterr().out.startswith("1 0.")


def test_a_method_of_ones_own_in_a_file(tmp_path, monkeypatch):
    code = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[0]
    assert code.startswith("# mine.py") and len(code.splitlines()) <= 20
    (tmp_path / "mine.py").write_text(code, "utf-8")
    monkeypatch.chdir(tmp_path)
    settings = replace(FAST, local_steps=3, rounds=1)
    [r] = federated_rounds(linear_task(), find("mine.py:MINE"), settings)
    assert set(r.update_norms) == {"A", "B", "head"}


def test_the_moving_picture_is_what_the_kept_runs_say():
    said = " ".join(ET.parse(door.MOVING).getroot().itertext())
    alt = " ".join(re.findall(r'<img[^>]*alt="([^"]*)"', README))
    ends = [f"{100 * curve[-1]:.0f}" for curve, _ in door.kept().values()]
    assert all(f"{end} %" in said for end in ends) and ", ".join(ends[:-1]) + f" and {ends[-1]} %" in alt
    assert all(f"σ = {sigma:.2g}" in said for _, sigma in door.kept().values() if sigma)


def test_the_moving_picture_can_stand_still():
    moving, still = (place.read_text("utf-8") for place in (door.MOVING, door.STILL))
    assert door.MOVING.stat().st_size <= 500_000
    assert "@media screen and (prefers-reduced-motion:no-preference)" in moving and "infinite" not in moving
    assert "animation" not in still and "prefers-reduced-motion: reduce" in README
    assert not re.search(r'(href|src)="?http', moving.replace("http://www.w3.org/2000/svg", ""))
    greys = set(re.findall(r'fill="#(\w+)"', moving))
    assert all(len({grey[i : i + len(grey) // 3] for i in range(0, len(grey), len(grey) // 3)}) == 1 for grey in greys)
