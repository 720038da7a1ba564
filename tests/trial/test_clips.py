"""One clip or two: the tables on the results page are those of the kept runs."""

from pathlib import Path

import pytest

from lalora_kit.base.files import read_lines
from lalora_kit.runs.usual import settings_for
from tests.benchmarks import clips

PAGE = Path(__file__).resolve().parents[2] / "notebooks" / "RESULTS.md"


@pytest.mark.parametrize(
    "asked", [["--task", "mnist"], ["--task", "digits", "--rates", "0.25", "1"]], ids=lambda a: a[1]
)
def test_the_page_has_the_table_of_the_kept_runs(asked):
    asked = clips.options().parse_args(asked)
    fixed, wanted = clips.design(asked)
    done = clips.ends(read_lines(clips.RESULTS))
    assert {clips.name_of(run) for run in wanted} <= done.keys(), "a run of the table is missing"
    assert clips.table(fixed, asked, done) in PAGE.read_text(encoding="utf-8")


def test_one_clip_is_what_is_usual():
    assert all(settings_for(task).clip_head_share == clips.JOINT for task in ("mnist", "digits"))
