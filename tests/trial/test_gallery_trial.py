"""The gallery's trial: which runs it makes and in which order, what is sent, the rule, the table, and RESULTS."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lalora_kit.base.files import read_lines
from lalora_kit.engine.adapters import create
from lalora_kit.federated import federated_rounds
from lalora_kit.figures.gallery.sent import sent_figure
from lalora_kit.methods import EVERY, GALLERY, METHODS
from lalora_kit.trial import study
from lalora_kit.trial.gallery import runs as module
from lalora_kit.trial.gallery.design import EPSILONS, Trial, gallery_trial
from lalora_kit.trial.gallery.runs import FILE, count, facts, possible, run_gallery, take_kept
from lalora_kit.trial.gallery.said import ends, listed, nearest, sentences, shipped, told, unrun, write
from lalora_kit.trial.gallery.table import places, shown, tables
from lalora_kit.trial.gallery.traffic import traffic
from lalora_kit.trial.study import lines
from tests.fakes import free_runs
from tests.tiny import FAST, linear_task

RESULTS = Path(__file__).resolve().parents[2] / "notebooks" / "RESULTS.md"
TASK = linear_task()
RUN = replace(FAST, local_steps=4)
VIEWS = ["linear", "linear-hog"]
DIGITS = gallery_trial("digits")
#: Few sides, two ε, and little to choose from.
SMALL = Trial(
    replace(DIGITS.design, rates=(0.5, 1.0), head_rates=(1.0, 2.0), tuning_seeds=(5, 6), seeds=(0, 1, 2)),
    ("la-lora", "dp-lora"), ("fedsvd", "fedsa"), (3.0, math.inf),
)  # fmt: skip


# ---- what is sent -------------------------------------------------------------------------------------------------


def shape() -> tuple[int, int, int, int]:
    """m, n, r, and the head's numbers."""
    drawn = create(TASK.backbone, TASK.targets, TASK.head, RUN.rank, 1.0, np.random.default_rng(0))
    r, n = drawn.tensors["A", "body"].shape
    return len(drawn.tensors["B", "body"]), n, r, drawn.size(())


M, N, R, HEAD = shape()
C = RUN.clients  # of rank 2, 1, 1 and 2 where ranks are unequal: 1.5 in the mean
BOTH = R * (M + N)
#: By hand, from the words of each method's row; the head comes on top, once for each exchange in which it is sent.
SENT = {
    **dict.fromkeys(("la-lora", "la-lora-nofilter", "dp-lora", "dp-lora-filter", "la-lora-gauge"), (BOTH, BOTH, 1)),
    **dict.fromkeys(("flexlora", "lora-fair"), (BOTH, BOTH, 1)),
    **dict.fromkeys(("ffa-lora", "ffa-lora-qr"), (R * M, R * M, 1)),
    "rolora": (BOTH / 2, BOTH / 2, 1), "head-only": (0, 0, 1), "fedsvd": (R * M, BOTH, 1),
    "flora": (BOTH, C * BOTH, 1), "flora-unequal": (1.5 * (M + N), C * 1.5 * (M + N), 1),
    "flexlora-unequal": (1.5 * (M + N), 1.5 * (M + N), 1), "fedex": (BOTH, BOTH + M * N, 1),
    "rac-lora": (R * N, R * N + 1, 1), "fed-sb": (R * R, R * R, 1), "fedask": (BOTH, R * (2 * M + N), 1),
    "deer": (BOTH, BOTH, 2), "dense-mean": (M * N, M * N, 1),
    "galore-mean": (M * N + R * N, R * M + M * N + R * N, 2), "fedsa": (R * N, R * N, 0),
    "fedsa-head": (R * N, R * N, 1),
}  # fmt: skip
#: Whose clients send something else than the factors that trained: sketches, or factors of their own rank.
OTHERWISE = {"fedask", "flora-unequal", "flexlora-unequal"}


@pytest.mark.parametrize("name", EVERY)
def test_numbers_sent_are_those_of_the_words(name):
    up, down, heads = SENT[name]
    assert R == 2 and C == 4
    assert traffic(EVERY[name], TASK, RUN) == (up + heads * HEAD, down + heads * HEAD)


@pytest.mark.parametrize("name", sorted(EVERY.keys() - OTHERWISE))
def test_numbers_up_are_those_of_a_run(name):
    records = list(federated_rounds(TASK, EVERY[name], RUN))
    assert traffic(EVERY[name], TASK, RUN)[0] == sum(r.upload for r in records) / len(records)


# ---- runs ---------------------------------------------------------------------------------------------------------


def test_the_design_is_every_method_at_four_epsilons():
    trial = gallery_trial("mnist")
    assert set(trial.names) | {"head-only"} == EVERY.keys() and trial.epsilons == EPSILONS == (3.0, 1.0, 8.0, math.inf)
    assert set(trial.paper) < METHODS.keys() and trial.gallery == tuple(GALLERY)
    assert not set(trial.design.seeds) & set(trial.design.tuning_seeds)
    assert count(trial, VIEWS) == 4 * (3 * 5 * 3 + 23 * 5 * 3 + 26 * 5) == 2080


def level(cell) -> float:
    """Made up: LA-LoRA and DP-LoRA as good as each other, FedSVD 9 points below, fedsa above all; rate 1 is best."""
    top = {"la-lora": 0.6, "dp-lora": 0.6, "fedsvd": 0.51, "fedsa": 0.75, "head-only": 0.4, "linear": 0.55}
    rate = cell.learning_rate if cell.method in SMALL.names else 1.0
    wobble = 0.004 * ((cell.seed * (1 + len(cell.method))) % 3)
    return round(top.get(cell.method, 0.5) - 0.1 * (rate != 1.0) - 0.05 * (cell.head_learning_rate == 2.0) + wobble, 4)


@pytest.fixture
def faked(monkeypatch, tmp_path):
    made = {
        "made": "m", "settings": {}, "versions": {}, "task": {"task": "digits"}, "command": "x", "untrained": 0.3,
        "sent": {name: [10.0 * k, 20.0 * k] for k, name in enumerate(("head-only", *SMALL.names), start=1)},
        "views": VIEWS,
    }  # fmt: skip
    monkeypatch.setattr(module, "made_of", lambda trial: made)
    return free_runs(monkeypatch, lambda cell: {"curve": [level(cell)], "made": "m"})


def made_up(folder: Path, trial: Trial = SMALL) -> Path:
    """The file of a trial whose runs `faked` makes."""
    return run_gallery(folder, trial, kept=folder / "none")


def test_runs_come_in_the_order_of_the_design_and_only_once(faked, tmp_path):
    path = made_up(tmp_path)
    assert len(faked) == len(set(faked)) == count(SMALL, VIEWS) == len(lines(path))
    assert [cell.epsilon for cell in faked] == sorted(cell.epsilon for cell in faked), "ε = 3 before no noise"
    first = [cell for cell in faked if cell.epsilon == 3.0]
    stages = [(c.method in SMALL.names, c.method in SMALL.gallery, c.seed in SMALL.design.seeds) for c in first]
    assert stages == sorted(stages), "baselines, paper, gallery; what chooses before what is reported"
    assert {c.head_learning_rate for c in first if c.method in SMALL.names} == {DIGITS.design.usual.head_learning_rate}
    assert {c.learning_rate for c in first if c.method in SMALL.names and c.seed in SMALL.design.seeds} == {1.0}
    made_up(tmp_path)
    assert len(faked) == count(SMALL, VIEWS), "nothing is left to do"


def test_runs_that_ship_are_taken_where_they_agree(faked, tmp_path):
    whole = made_up(tmp_path / "whole")
    total, kept = len(faked), tmp_path / "kept" / "grid"
    kept.mkdir(parents=True)
    head, *done = read_lines(whole)
    other = {**head, "made": "o", "versions": {"torch": "another"}}
    foreign = {**done[-1], "made": "o", "curve": [0.0]}
    text = [head, *done[:5], {**done[0], "seed": 77}, other, foreign]
    (kept / "digits.jsonl").write_text("".join(json.dumps(line) + "\n" for line in text))
    path = run_gallery(tmp_path / "second", SMALL, kept=tmp_path / "kept")
    assert len(faked) == 2 * total - 5, "five are taken; another seed's and another version's are not"
    assert lines(path).keys() == lines(whole).keys()
    assert tables(places(path, SMALL)) == tables(places(whole, SMALL))


def test_the_shipped_runs_on_mnist_are_of_use(tmp_path):
    """As many as are there are taken: all that chose baselines' rates, and reported seeds of both files."""
    trial, kept = gallery_trial("mnist"), module.KEPT
    [head, *_] = [line for line in read_lines(kept / "grid" / "mnist.jsonl") if "curve" not in line]
    made = {**head, "sent": {}, "views": VIEWS}
    taken = take_kept(tmp_path / "gallery.jsonl", made, trial, kept)
    found = lines(tmp_path / "gallery.jsonl")
    assert taken == len(found) > 0 and found.keys() <= possible(trial, VIEWS)
    chose = [c for c in found if c.seed in trial.design.tuning_seeds and c.method in ("head-only", *VIEWS)]
    assert len(chose) == 4 * 3 * 5 * 3
    assert take_kept(tmp_path / "gallery.jsonl", made, trial, kept) == 0, "only into one that begins"


# ---- the rule, and the table --------------------------------------------------------------------------------------


def test_the_rule_reads_everything_off_one_family(faked, tmp_path):
    path = made_up(tmp_path)
    first, last = places(path, SMALL)
    assert (first.epsilon, last.epsilon) == (3.0, math.inf) and first.strongest == "linear"
    by_name = {entry.name: entry for entry in first.methods}
    assert [entry.name for entry in first.methods] == list(SMALL.names)
    assert [b.name for b in first.baselines] == ["head-only", *VIEWS, "untrained"]
    assert {effect.among for e in first.methods for effect in e.over.values()} == {2 * (2 * 4 - 1)}
    assert set(by_name["la-lora"].over) == {"linear"} and set(by_name["fedsa"].over) == {"la-lora", "linear"}
    assert (by_name["fedsvd"].up, by_name["fedsvd"].down) == (40.0, 80.0) == facts(path)[0]["fedsvd"]
    assert by_name["fedsa"].over["la-lora"].mean == pytest.approx(15, abs=1)
    one, two = told([first])
    assert {listed(names, {"ahead": "ab", "level": "c"}) for names in ("", "ab", "abc")} == {"none", "a, b", "all 3"}
    assert one.startswith("ε = 3, held against la-lora: ahead: ")
    assert two.startswith("ε = 3, held against linear: ahead: ")
    values, over_la, over_best = tables([first, last])
    assert values.startswith("| method | numbers up | down | ε = 3 | ε = ∞ |")
    assert values.count("\n") == 1 + 4 + 4 and "| `fedsa` | 50 | 100 | 0.75" in values
    assert "| `untrained` |  |  | 0.300 | 0.300 |" in values
    assert over_la.startswith("| method | over la-lora at ε = 3 | over la-lora at ε = ∞ |")
    assert over_la.count("\n") == 1 + 3 and over_best.count("\n") == 1 + 4, "none is over itself"
    assert "over linear at ε = 3" in over_best and shown(by_name["fedsa"].over["linear"]) in over_best
    cut = tables([first, replace(last, methods=last.methods[:3])])
    assert [text.count("| not run |") for text in cut] == [1, 1, 1] and " not run |" not in "".join(
        tables([first, last])
    )
    write(path, SMALL)
    kept = json.loads((tmp_path / "gallery.json").read_text())
    assert len(kept["rows"]) == 16 and kept["strongest"] == {"3": "linear", "∞": "linear"}
    assert kept["told"] == [*told([first, last]), ends([first, last], SMALL)]
    at_ends = ends([first], SMALL)
    assert at_ends.endswith("fedsa at ε=3, head-only at ε=3, linear at ε=3, linear-hog at ε=3."), (
        "of two, each is an end"
    )
    wide = replace(SMALL, design=replace(SMALL.design, rates=(0.5, 1.0, 2.0), head_rates=(0.5, 1.0, 2.0)))
    assert ends([first], wide).endswith(": none.")


def test_a_clear_lead_is_ahead_and_a_tie_is_level(monkeypatch, faked, tmp_path):
    def clear(cell):
        flat = {"fedsa": 0.9, "fedsvd": 0.2}.get(cell.method, 0.6)
        return {"curve": [flat + 0.001 * (cell.seed % 2) * (cell.method in ("dp-lora", "fedsa"))]}

    free_runs(monkeypatch, clear)
    many = replace(SMALL, design=replace(SMALL.design, seeds=tuple(range(5)), tuning_seeds=(5, 6)), epsilons=(3.0,))
    [place] = places(made_up(tmp_path, many), many)
    assert "ahead: fedsa; behind: fedsvd; level, so that these seeds cannot tell: dp-lora." in told([place])[0]


def test_a_file_that_was_cut_short_tells_what_is_whole(faked, tmp_path):
    path = made_up(tmp_path)
    whole, (first, _) = read_lines(path), places(path, SMALL)
    rows = []
    for keep in range(0, len(whole), 3):
        path.write_text("".join(json.dumps(line) + "\n" for line in whole[: keep + 1]))
        found = places(path, SMALL)
        rows.append(sum(len(place.methods) for place in found))
        for entry in first.methods if found else ():
            known = {other.name: other for other in found[0].methods}
            assert entry.name not in known or known[entry.name].values == entry.values
        if found and len(found[0].methods) == len(first.methods):
            assert told(found[:1]) == told([first]), "a row says the same later"
    assert rows[0] == 0 and rows == sorted(rows) and len(set(rows)) > 3, "it grows by rows that are whole"


def test_what_was_not_run_is_named_and_no_verdict_is_given_on_it(faked, tmp_path):
    path = made_up(tmp_path)
    assert unrun(places(path, SMALL), SMALL) == []
    kept = [line for line in read_lines(path) if line.get("epsilon", 3.0) is not None or line["method"] in VIEWS]
    kept = [line for line in kept if line.get("method") != "fedsa" or line["seed"] not in SMALL.design.seeds]
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    found = places(path, SMALL)
    assert unrun(found, SMALL) == ["Not run yet: at ε = 3 fedsa; at ε = ∞ every method."]
    assert len(told(found)) == 2 and "fedsa" not in "".join(told(found))
    assert sentences(found, SMALL) == [*told(found), *unrun(found, SMALL), ends(found, SMALL)]


def test_the_figure_has_a_marker_a_method_and_a_line_a_baseline(faked, tmp_path):
    figure = sent_figure(places(made_up(tmp_path), SMALL), "made up")
    assert len(figure.data) == 2 * (4 + 2), "two baselines lie far below, and are written at the foot"
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(shown) == sorted({*SMALL.names, *VIEWS})
    feet = [one.text for one in figure.layout.annotations if one.text.startswith("below: ")]
    assert len(feet) == 2 and all("head-only " in text and "untrained 30.0%" in text for text in feet)
    low, high = figure.layout.yaxis.range
    assert low < min(trace.y[0] for trace in figure.data) and high > max(trace.y[0] for trace in figure.data)
    [dot] = [trace for trace in figure.data if trace.name == "fedsvd"][:1]
    assert dot.x == (120.0,) and dot.y == (pytest.approx(0.51, abs=0.01),)


def test_no_name_lies_on_another_in_the_picture_of_the_shipped_trial():
    """In pixels of a lesson's column, where a picture is 370 wide and 280 high, and a letter 6.5 by 12."""
    figure = sent_figure(shipped("mnist"), "shipped")
    (left, right), (low, high) = figure.layout.xaxis.range, figure.layout.yaxis.range
    named = [trace for trace in figure.data if "text" in (trace.mode or "")]
    boxes = [
        (t.xaxis, 370 * math.log10(t.x[0]) / (right - left), 280 * t.y[0] / (high - low), 6.5 * len(t.name))
        for t in named
    ]
    assert {"fed-sb", "fedsa"} <= {trace.name for trace in named}
    for (axis, x, y, wide), (other, u, v, broad) in combinations(boxes, 2):
        assert axis != other or abs(x - u) > (wide + broad) / 2 or abs(y - v) > 12


class Here:
    """Stands in for a pool of processes: each run is made at once, in this one."""

    def __init__(self, workers, mp_context): ...
    def __enter__(self):
        return self

    def __exit__(self, *_): ...
    def submit(self, work, cell):
        line = work(cell)
        return type("Job", (), {"result": lambda self: line})()


def test_a_small_trial_runs_to_its_end(monkeypatch, tmp_path):
    """Nothing made up but the task, which is tiny: two methods, one of them with a model a client."""
    from lalora_kit import tasks
    from lalora_kit.tasks.heads import linear

    monkeypatch.setattr(tasks, "load_task", lambda name: replace(TASK, name=name))
    monkeypatch.setattr(linear, "linear_views", lambda task: {})
    monkeypatch.setattr(study, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(study, "as_completed", list)
    few = replace(gallery_trial("tiny").design, rates=(0.5, 1.0), head_rates=(1.0,), tuning_seeds=(5,), seeds=(0, 1))
    trial = Trial(few, ("la-lora",), ("fedsa",), (3.0,))
    path = run_gallery(tmp_path, trial, kept=tmp_path / "none")
    [place] = write(path, trial)
    assert [entry.name for entry in place.methods] == ["la-lora", "fedsa"] and len(lines(path)) == count(trial, [])
    for entry in place.methods:
        for seed, value in zip(few.seeds, entry.values, strict=True):
            [cell] = [c for c in lines(path) if (c.method, c.seed, c.learning_rate) == (entry.name, seed, entry.rate)]
            *_, r = federated_rounds(TASK, EVERY[entry.name], replace(cell.settings("tiny"), threads=1))
            assert value == round(r.accuracy, 4)
    head, r, m, n = HEAD, cell.rank, M, N
    assert [(e.up, e.down) for e in place.methods] == [(r * (m + n) + head,) * 2, (r * n,) * 2]
    assert place.strongest == "head-only"


def test_the_command_runs_it_and_takes_nothing_that_the_design_fixes(monkeypatch, faked, tmp_path):
    from lalora_kit.cli.app import app
    from lalora_kit.trial.gallery import design

    monkeypatch.setattr(design, "gallery_trial", lambda task: SMALL)
    runner = CliRunner()
    done = runner.invoke(app, ["compare", "--gallery", "--task", "digits", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "| `fedsa` |" in done.output and "held against la-lora" in done.output and "runs, seed known" in done.output
    more = runner.invoke(app, ["compare", "la-lora", "dp-lora", "--gallery"])
    assert more.exit_code and "METHODS cannot be given with --gallery" in f"{more.output}{more.exception}"


def test_what_ships_has_whole_rows_and_the_nearest_is_found():
    found = shipped("mnist")
    assert found and all(len(entry.values) == 5 for place in found for entry in place.methods)
    assert nearest(found, 2.5).epsilon == 3 and nearest(found, 0.1).epsilon == min(p.epsilon for p in found)
    assert nearest(found, math.inf).epsilon == max(place.epsilon for place in found)


def test_results_and_the_shipped_json_tell_what_the_shipped_runs_say(tmp_path):
    text, trial = RESULTS.read_text("utf-8"), gallery_trial("mnist")
    assert [block for block in tables(shipped("mnist"))[:2] if block not in text] == []
    found = write(FILE / "mnist.jsonl", trial, tmp_path / "again.json")
    assert [line for line in sentences(shipped("mnist"), trial) if f"- {line}" not in text] == []
    assert (tmp_path / "again.json").read_text("utf-8") == (FILE / "mnist.json").read_text("utf-8")
    assert sum(len(place.methods) for place in found) == 4 * 23, "at each ε every method was run"


def test_what_results_counts_by_hand_of_the_trial_is_what_the_shipped_runs_give():
    told = " ".join(RESULTS.read_text("utf-8").split())
    found, trial = shipped("mnist"), gallery_trial("mnist")
    mean = {(e.name, p.epsilon): 100 * e.accuracy for p in found for e in (*p.methods, *p.baselines)}
    lead = {(name, at): value - mean["la-lora", at] for (name, at), value in mean.items()}
    noisy = [epsilon for epsilon in trial.epsilons if math.isfinite(epsilon)]
    assert noisy == [3, 1, 8] and not any(math.isnan(value) for value in mean.values())

    behind = " and ".join(", ".join(f"{-lead['fedsa', at]:.1f}" for at in noisy).rsplit(", ", 1))
    assert f"`fedsa` is behind, by {behind} points" in told
    assert f"is {lead['dense-mean', math.inf]:.1f} points ahead of LA-LoRA" in told
    assert f"which trains the fewest numbers, is {-lead['fed-sb', math.inf]:.1f} behind" in told
    lost = {name: mean[name, math.inf] - mean[name, 8] for name in ("dense-mean", "la-lora")}
    assert f"`dense-mean` loses {lost['dense-mean']:.1f} points and LA-LoRA {lost['la-lora']:.1f}" in told
    assert f"then `dense-mean` is {lead['dense-mean', 8]:.1f} points above it" in told

    over = [(e, e.over["la-lora"]) for p in found if p.epsilon in noisy for e in p.methods if e.name != "la-lora"]
    reach = max(max(abs(o.low), abs(o.high)) for _, o in over if o.low <= 0 <= o.high)
    assert f"the intervals of what is level reach up to {reach:.1f} points from zero" in told
    for rival in ("dp-lora", "ffa-lora", "rolora"):
        assert all(lead[rival, at] > 0 for at in trial.epsilons)
    gains = [lead["la-lora-nofilter", at] for at in trial.epsilons]
    assert f"Without its filter it is {min(gains):.1f} to {max(gains):.1f} points higher" in told
    short = [-lead["fed-sb", at] for at in trial.epsilons]
    assert f"It ends {min(short):.1f} to {max(short):.1f} points lower" in told
    four = ("dp-lora", "fedex", "flora", "flexlora")
    apart = max(max(mean[n, at] for n in four) - min(mean[n, at] for n in four) for at in trial.epsilons)
    assert apart < 0.7 and "all four lie within 0.7 points of each other" in told
    twins = ", ".join(f"{abs(mean['fedsvd', at] - mean['ffa-lora-qr', at]):.1f}" for at in noisy)
    assert f"they are {' and '.join(twins.rsplit(', ', 1))} points apart (ε = 3, 1, 8)" in told
    [free] = [place for place in found if math.isinf(place.epsilon)]
    values = {entry.name: entry.values for entry in free.methods}
    assert values["fedsvd"] == values["ffa-lora-qr"], "one method under SGD, and no noise to tell them apart"
    for place in found:
        assert min(e.accuracy for e in place.methods) > max(e.accuracy for e in place.baselines)
    kept = [line["seconds"] for line in read_lines(FILE / "mnist.jsonl") if "method" in line]
    needed = count(trial, VIEWS)
    assert f"The {len(kept):,} runs took {sum(kept) / 3600:.1f} hours" in told
    assert f"{len(kept) - needed} of them were taken over and are needed for no row" in told
