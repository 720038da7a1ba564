"""The table of seconds and bytes in DEPLOYING: rows as they are measured, payload and line told apart, in its place."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lalora_kit.lessons.sites.travel import weighed
from lalora_kit.methods import METHODS
from tests.benchmarks.sites import BYTES, KEPT, METHOD, PAGE, in_page, near, row, table
from tests.tiny import FAST, linear_task


def test_the_table_holds_what_was_measured_and_stands_where_the_page_has_its_marks(tmp_path):
    task, settings = linear_task(), replace(FAST, seed=None, clients=2)
    rows = list(near(task, tmp_path, settings))
    weight = weighed(task, METHODS[METHOD], settings)
    assert [one["way"] for one in rows] == ["simulator", "sites in one process"]
    assert all(0 < one["least"] <= one["seconds"] <= one["most"] for one in rows)
    assert [rows[0][name] for name in BYTES] == [None] * 4 and rows[1]["line_up"] is None
    assert rows[1]["payload_down"] == weight["down: the model"]
    sent = weight["up: the noised upload"] + weight["facts beside them"]
    assert abs(rows[1]["payload_up"] - sent) < 100

    over = row("Flower", [3.0, 5.0, 4.0], payload_down=21_232, payload_up=21_420, line_down=29_000.4, line_up=36_000,
               idle_up=120, idle_down=80)  # fmt: skip
    kept = {"rows": [*rows, over], "kinds": weight, "machine": "a machine"}
    said = in_page(PAGE.read_text("utf-8"), kept)
    assert table(kept) in said and in_page(said, kept) == said
    assert "| Flower | 4.00 (3.00 to 5.00) | 21,232 | 21,420 | 29,000 | 36,000 |" in said
    assert "Flower: 120 bytes up and 80 down a second" in said
    with pytest.raises(ValueError, match=r"0 places of DEPLOYING\.md are marked"):
        in_page("no marks", kept)


def test_the_page_tells_what_is_kept_and_no_upload_is_shorter_than_its_numbers():
    kept, page = json.loads(KEPT.read_text("utf-8")), PAGE.read_text("utf-8")
    assert in_page(page, kept) == page
    numbers = kept["kinds"]["up: the noised upload"]
    assert f"{numbers:,} bytes are the noised numbers" in page
    sent = [one["payload_up"] for one in kept["rows"] if one["payload_up"] is not None]
    assert len(sent) == 3 and all(one > numbers for one in sent)
