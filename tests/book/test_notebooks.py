"""Every notebook, headless, at a setting that is nobody's default: it runs, it is small, it says what it found."""

import ast
import math
import os
from pathlib import Path

import nbformat
import papermill
import pytest

from lalora_kit.book.execute import RESULT_MIME, run_notebook
from lalora_kit.trial import claim_runs

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
ELSEWHERE = {"epsilon": 1.7, "rank": 2, "clients": 3, "rounds": 2, "seed": 11}
PLOTLY = "application/vnd.plotly.v1+json"
MOST_BYTES, MOST_MEMORY = 2_000_000, 1_500_000_000

#: notebook -> (static figures, names of the result's numbers that must be there)
EXPECTED = {
    "00_start_here": (4, {"accuracy", "accuracy_head_only", "epsilon", "epsilon_all_runs", "noise_multiplier", "odds"}),
    "01_gradient_coupling": (4, {"surprise_clean", "surprise_noised", "surprise_in_turn", "cosine_noised", "epsilon"}),
    "02_noise_amplification": (6, {"crossing_trained", "noise_per_entry_run", "energy_left_by_turns", "epsilon"}),
    "03_sharpness": (4, {"loss_average", "height_even", "change_weights", "intruders_filter", "intruders_no_noise"}),
    "04_la_lora": (6, {"accuracy_la-lora", "cliff_in_turns", "points_turns_at_best", "epsilon", "runs_in_grid"}),
    "05_is_it_private": (4, {"epsilon", "window_share", "audit_right", "audit_wrong", "audit_beyond", "claim"}),
    "07_vision_at_scale": (2, {"accuracy", "epsilon", "sigma_500", "sigma_6250", "releases"}),
    "08_language_at_scale": (1, {"accuracy", "epsilon", "lost_smallest", "lost_largest", "owners", "releases"}),
    "09_across_sites": (
        3,
        {"apart", "epsilon", "upload", "replay_error", "noise_largest", "north_spent", "south_spent"},
    ),
    "10_who_averages_what": (5, {"lost_alike", "more_cross_energy", "off_products", "gap_foretold", "epsilon"}),
    "11_reach_and_noise": (4, {"reach_fed_sb", "left_at_random", "shortened_one", "fedsvd_sgd", "degrees", "epsilon"}),
    "06_claims_on_trial": (2, {"holds", "rows", "runs", "again", "epsilon_all_runs", "best_over-dp-lora-3"}),
}

pytestmark = [
    pytest.mark.notebooks,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def run(request, tmp_path_factory):
    """One run of a notebook, looked at by several tests."""
    if session := os.environ.get("PYTEST_XDIST_TESTRUNUID"):  # two workers with one lesson would fail here
        (tmp_path_factory.getbasetemp().parent / f"{session} {request.param.stem}").touch(exist_ok=False)
    parameters = {name: value for name, value in ELSEWHERE.items() if name in papermill.inspect_notebook(request.param)}
    run = run_notebook(request.param, tmp_path_factory.mktemp("run") / request.param.name, parameters)
    assert run.ok, run.error
    return run


def outputs(run):
    notebook = nbformat.read(run.path, as_version=4)
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_takes_rounds_and_no_default_is_the_tested_one(path):
    known = papermill.inspect_notebook(path)
    assert "rounds" in known
    cells = nbformat.read(path, as_version=4).cells
    [cell] = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    written = {line.target.id for line in ast.parse(cell.source).body}
    assert written == known.keys(), (
        "papermill passes over a line that it cannot read, such as one with = in its comment"
    )
    for name in ELSEWHERE.keys() & known.keys():
        assert ast.literal_eval(known[name]["default"]) != ELSEWHERE[name]


def test_it_is_small_and_modest(run):
    assert run.size_bytes < MOST_BYTES
    assert run.peak_memory_bytes < MOST_MEMORY


def test_it_ends_with_one_result(run):
    results = [output.data[RESULT_MIME] for output in outputs(run) if RESULT_MIME in output.get("data", {})]
    assert len(results) == 1 and results[0] == run.record
    record = run.record
    assert record["notebook"] == run.name and record["result"]
    for name, value in record["parameters"].items():
        assert value == ELSEWHERE.get(name, value)
    assert all(value is None or math.isfinite(value) for value in record["figures"].values())
    assert all(isinstance(holds, bool) for holds in record["seen"].values())
    assert EXPECTED[run.name][1] <= record["figures"].keys()


def test_it_leaves_its_figures_and_no_widget(run):
    shown = [output.data for output in outputs(run) if "data" in output]
    assert sum(PLOTLY in data for data in shown) == EXPECTED[run.name][0]
    for data in shown:
        if PLOTLY in data:
            # A histogram has x alone.
            assert any(len(trace.get("z", trace.get("y", trace.get("x", ())))) for trace in data[PLOTLY]["data"])
        assert not any("widget" in mime for mime in data), "a box that is empty without a kernel"
    assert not any(output.get("name") == "stderr" for output in outputs(run))


def test_it_never_passes_its_budget(run):
    spent = run.record["figures"].get("epsilon")
    assert spent is None or spent <= ELSEWHERE["epsilon"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("00_start_here", "whether that leaks is not tried here"),
        ("04_la_lora", "On stdlib-docs, runs at all these rates do not come with the kit. This page has its own"),
        ("06_claims_on_trial", "No runs of these seeds are shipped on stdlib-docs"),
    ],
)
def test_another_task_works_and_is_told_nothing_that_was_seen_on_digits(name, words, tmp_path):
    [path] = [path for path in NOTEBOOKS if path.stem == name]
    run = run_notebook(path, tmp_path / path.name, {**ELSEWHERE, "rounds": 1, "task": "stdlib-docs"})
    assert run.ok, run.error
    said = [output.get("text", "") + output.get("data", {}).get("text/markdown", "") for output in outputs(run)]
    assert words in "".join(said)
    if name == "04_la_lora":
        assert run.record["seen"] == {} and "stdlib-docs" in run.record["result"]
    if name == "06_claims_on_trial":
        assert run.record["result"].startswith("On stdlib-docs 0 of 19 claims hold")
        assert run.record["figures"]["runs"] == len(claim_runs.shipped("stdlib-docs"))
