"""The paper: what it cites is in its bibliography, and every number in it stands in RESULTS.md, where runs put it."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAPER = (ROOT / "paper" / "paper.md").read_text(encoding="utf-8")
BIBLIOGRAPHY = (ROOT / "paper" / "paper.bib").read_text(encoding="utf-8")
HEAD, BODY = PAPER.split("---\n", 2)[1:]
NUMBER = r"(?<![\w.])\d+(?:\.\d+)?(?![\w]|\.\d)"


def test_the_head_is_what_the_journal_asks_for():
    head = yaml.safe_load(HEAD)
    assert {"title", "tags", "authors", "affiliations", "date", "bibliography"} <= set(head)
    assert (ROOT / "paper" / head["bibliography"]).is_file()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert head["title"] == citation["title"]
    assert [author["name"] for author in head["authors"]] == [author["name"] for author in citation["authors"]]


def test_citations_and_bibliography_agree():
    cited = set(re.findall(r"@(\w+)", BODY))
    listed = re.findall(r"^@\w+\{(\w+),$", BIBLIOGRAPHY, re.MULTILINE)
    assert cited == set(listed) and len(listed) == len(set(listed))


def test_it_has_the_sections_of_its_form():
    wanted = """Summary; Statement of need; Audience and prerequisites; Learning objectives; Sequence of notebooks;
        Instructional design; Experience of use; State of the field; Acknowledgements; References"""
    assert re.findall(r"^# (.+)$", BODY, re.MULTILINE) == [name.strip() for name in wanted.split(";")]


def test_every_number_stands_in_results():
    known = set(re.findall(NUMBER, (ROOT / "notebooks/RESULTS.md").read_text(encoding="utf-8")))
    told = set(re.findall(NUMBER, BODY))
    assert {"479", "16.1", "26.0"} <= told, "the pattern finds them"
    assert not told - known, "a number that RESULTS.md does not have"
