"""ε of a directory: of everything that was ever released from it or below it, by one account; cases P5, P6 and P17."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import random
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from lalora_kit import federated, local
from lalora_kit.methods import METHODS
from lalora_kit.panels.live import LiveTraining
from lalora_kit.privacy import BudgetExceeded, Ledger, composed_epsilon, merged
from lalora_kit.privacy.ledger import read
from lalora_kit.runs import checkpoint, results, yardsticks
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.results import open_run
from lalora_kit.runs.saved import load
from lalora_kit.runs.statement import statement
from tests import lives
from tests.core.test_lives import Nursery
from tests.tiny import FAST, linear_task

TASK, LA, HEAD = linear_task(), METHODS["la-lora"], METHODS["head-only"]
RUN = replace(FAST, sample_rate=1.0, epsilon=2.0)  # everybody: the accountant is quickest there
DELTA, NOTEBOOKS = RUN.delta, Path(__file__).resolve().parents[2] / "notebooks"


def train(directory, settings=RUN, method=LA, task=TASK):
    return list(save_rounds(task, method, settings, directory))


def cost_of(directory: Path) -> dict:
    return json.loads((directory / "adapter" / "privacy.json").read_text())


def rows_of(*ledgers: Path):
    """Every release of some ledgers on client 0, as rows of the accountant."""
    return merged((r.sample_rate, r.noise_multiplier, 1) for path in ledgers for r in read(path) if r.client == 0)


@pytest.fixture(autouse=True)
def data(monkeypatch):
    """A run of these tests finds its data again, and a whole report is quick."""
    monkeypatch.setattr(results, "load_source", lambda source: TASK)


def without(monkeypatch, *left_out: str) -> None:
    """Reports without some baselines."""
    plain = yardsticks.planned
    monkeypatch.setattr(yardsticks, "planned", lambda run: (p for p in plain(run) if p[0] not in left_out))


def stopped_in_round_two(directory: Path) -> float:
    """A run that dies after its second round is on record; returns ε as its first round knew it."""
    rounds = save_rounds(TASK, LA, replace(RUN, rounds=3), directory)
    first = next(rounds)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(local, "poisson_draw", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt()))
        next(rounds)
    return first.epsilon


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run and all its baselines, one of them without noise."""
    directory = tmp_path_factory.mktemp("eps") / "run"
    train(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "load_source", lambda source: TASK)
        yardsticks.yardsticks(open_run(directory), directory)
    return directory


# ---- P5: everything counts -----------------------------------------------------------------------------------------


NOISED = ("head-only", "linear", "alone-0000")  # baselines that cost a unit ε; of the sites, which share none, one


def test_p5a_a_statement_after_baselines_says_that_one_has_no_noise(measured):
    """In a line of its own, with what the noised ones cost alone: the run, head-only, linear, and a site's own."""
    said = statement(measured)
    assert not said.private and said.epsilon == math.inf
    line = said.text.splitlines()[-1]
    assert line.startswith("Without noise:") and "/pooled" in line and "infinite" in line
    [home] = (measured / "baselines").iterdir()
    rows = rows_of(*(p / "ledger.jsonl" for p in (measured, *(home / name for name in NOISED))))
    assert said.noised == composed_epsilon(rows, DELTA) and f"ε = {said.noised:.4g} at δ = 0.001" in line
    assert said.to_json()["without_noise"] == line


def test_p5a_privacy_json_and_report_say_the_same_as_the_statement(measured):
    cost, found, said = cost_of(measured), results.results(open_run(measured)), statement(measured)
    assert cost["epsilon"] is None and cost["noised_epsilon"] == said.noised
    assert cost["without_noise"] == said.without_noise == found.without_noise != ""
    assert (found.epsilon, found.noised) == (math.inf, said.noised)
    assert said.without_noise in results.text(found)


def test_p5a_no_private_run_is_granted_after_one_without_noise(measured, tmp_path):
    """And nothing is moved or drawn; a run without noise, which promises nothing, may follow."""
    shutil.copytree(measured, tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BudgetExceeded, match=r"cost inf, because one had no noise.*new directory, and say wherever"):
        train(tmp_path / "run", replace(RUN, epsilon=50.0, seed=8))
    assert sorted(tmp_path.rglob("*")) == before
    train(tmp_path / "run", replace(RUN, epsilon=math.inf, rounds=1))
    assert statement(tmp_path / "run").noised == statement(measured).noised


def test_p5a_the_next_run_is_granted_what_the_baselines_have_left(tmp_path, monkeypatch):
    without(monkeypatch, "pooled")
    train(tmp_path)
    yardsticks.yardsticks(open_run(tmp_path), tmp_path)
    spent = statement(tmp_path).epsilon
    assert spent > 1.5 * RUN.epsilon and cost_of(tmp_path)["epsilon"] == spent
    with pytest.raises(BudgetExceeded, match=r"epsilon=2\.0 is spent"):
        train(tmp_path, replace(RUN, seed=8))
    [*_, last] = train(tmp_path, replace(RUN, epsilon=6.0, seed=8))
    assert 0.97 * 6 <= last.epsilon <= 6 and last.noise_multiplier > 1.2 * noise_alone(6.0)
    assert statement(tmp_path).epsilon == pytest.approx(last.epsilon) == cost_of(tmp_path)["epsilon"]


def noise_alone(epsilon: float) -> float:
    from lalora_kit.privacy import noise_multiplier

    return noise_multiplier(epsilon, DELTA, 1.0, RUN.rounds * RUN.local_steps)


def test_p5b_the_baselines_of_an_earlier_run_are_kept_and_counted(tmp_path, monkeypatch):
    without(monkeypatch, "pooled")
    train(tmp_path)
    yardsticks.yardsticks(open_run(tmp_path), tmp_path)
    earlier = {path: path.read_bytes() for path in (tmp_path / "baselines").rglob("ledger.jsonl")}
    train(tmp_path, replace(RUN, epsilon=8.0, seed=8))
    told = yardsticks.yardsticks(open_run(tmp_path), tmp_path)
    assert {path: path.read_bytes() for path in earlier} == earlier
    homes = [path.parent for path in (tmp_path / "baselines").rglob("head-only")]
    assert len(homes) == 2
    ledgers = [tmp_path, *(home / name for home in homes for name in NOISED)]
    by_hand = composed_epsilon(rows_of(*(place / "ledger.jsonl" for place in ledgers)), DELTA)
    assert statement(tmp_path).epsilon == by_hand == cost_of(tmp_path)["epsilon"]
    from lalora_kit.runs.spent import spent

    assert f"ε = {by_hand:.3f} at δ = 0.001" in yardsticks.text("sample", told, spent(tmp_path, DELTA))


def test_p5c_a_baseline_whose_state_cannot_be_read_counts(measured, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(measured, directory)
    [home] = (directory / "baselines").iterdir()
    for path in (home / "head-only" / "state").iterdir():
        path.write_bytes(b"not a state")
    [head, *_] = yardsticks.yardsticks(open_run(directory), directory)
    assert head.overall is None and "no state that can be read" in head.refused
    assert 0.97 * RUN.epsilon <= head.epsilon <= RUN.epsilon
    assert statement(directory).noised == statement(measured).noised


def test_p5d_a_round_that_a_crash_cut_off_is_in_report_and_privacy_json(tmp_path):
    first = stopped_in_round_two(tmp_path)
    spent = Ledger(tmp_path / "ledger.jsonl").epsilon(DELTA)
    assert first < spent == statement(tmp_path).epsilon == cost_of(tmp_path)["epsilon"]
    assert results.results(open_run(tmp_path)).to_json()["epsilon"] == spent
    owned = results.results(open_run(tmp_path))
    assert owned.noised == spent and f"{spent:.3f} at δ = 0.001" in results.text(owned)
    list(save_rounds(TASK, LA, replace(RUN, rounds=3), tmp_path, resume=True))
    assert cost_of(tmp_path)["epsilon"] == statement(tmp_path).epsilon > spent


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    made = Nursery(tmp_path_factory.mktemp("eps lives") / "whole")
    yield made
    made.close()


@pytest.mark.parametrize("seed", [20260220])
def test_p5d_killed_at_random_instants_privacy_json_never_says_less_than_the_ledger(nursery, tmp_path, seed):
    """Whatever instant a SIGKILL falls on; the adapter beside it may be copied before anybody resumes."""
    draw, seen, delta = random.Random(seed), 0, lives.SETTINGS.delta
    for number in range(12):
        directory = tmp_path / f"chain {number // 4}"
        nursery.live(directory, call=draw.randint(1000, 3000))
        if (directory / "adapter" / "privacy.json").exists():
            told, spent = cost_of(directory)["epsilon"], Ledger(directory / "ledger.jsonl").epsilon(delta)
            assert told >= spent == statement(directory).epsilon > 0, (number, told, spent)
            seen += 1
    assert seen >= 6


def test_p5d_cut_off_at_any_write_of_a_round_privacy_json_never_says_less_than_the_ledger(tmp_path, monkeypatch):
    """Before every file that reaches the disk, and before every rename, one after the other."""
    plain = {name: getattr(os, name) for name in ("fsync", "replace")}
    for last in range(1, 40):
        directory, calls = tmp_path / str(last), itertools.count(1)
        rounds = save_rounds(TASK, LA, RUN, directory)
        next(rounds)

        def cut(name, *given, calls=calls, last=last):
            if next(calls) == last:
                raise KeyboardInterrupt
            return plain[name](*given)

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            for name in plain:
                patch.setattr(os, name, partial(cut, name))
            next(rounds)
            break
        rounds.close()
        assert cost_of(directory)["epsilon"] >= Ledger(directory / "ledger.jsonl").epsilon(DELTA) > 0, last
    assert 10 < last < 39


def test_p5_of_sites_own_runs_a_unit_has_spent_one(measured):
    """Four sites trained alone on samples that they do not share: the worst of them counts, not their sum."""
    [home] = (measured / "baselines").iterdir()
    ledgers = [measured / "ledger.jsonl", *home.rglob("ledger.jsonl")]
    noised = [path for path in ledgers if path.parent.name != "pooled"]
    assert len(noised) == 7
    assert statement(measured).noised < composed_epsilon(rows_of(*noised), DELTA)
    (home / "sites.json").unlink()  # of an older kit: sites share no sample even so
    try:
        assert statement(measured).noised < composed_epsilon(rows_of(*noised), DELTA)
    finally:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(results, "load_source", lambda source: TASK)
            yardsticks.yardsticks(open_run(measured), measured)


@pytest.mark.parametrize("where", ["deep/er/sub", "linked"])
def test_p5_a_ledger_anywhere_below_counts(tmp_path, where):
    """A run that was kept in a folder of the run's own, or on another disk with a link to it."""
    directory = tmp_path / "run"
    train(directory)
    alone = statement(directory).epsilon
    other = tmp_path / "disk" if where == "linked" else directory / where
    train(other, replace(RUN, seed=8))
    if where == "linked":
        (directory / "linked").symlink_to(other)
    assert statement(directory).epsilon > alone
    assert statement(other).epsilon == pytest.approx(alone)
    with pytest.raises(BudgetExceeded, match=r"is spent"):
        train(directory, replace(RUN, epsilon=2.5, seed=9))


def test_p5_a_copy_of_a_ledger_counts_once(tmp_path):
    train(tmp_path)
    before = statement(tmp_path)
    (tmp_path / "backup").mkdir()
    shutil.copy(tmp_path / "ledger.jsonl", tmp_path / "backup")
    assert statement(tmp_path) == before
    shutil.copytree(tmp_path / "adapter", tmp_path / "backup" / "adapter")
    assert statement(tmp_path) == before


def test_p5_a_ledger_of_other_data_below_is_named(tmp_path):
    train(tmp_path)
    train(tmp_path / "other", task=replace(TASK, name="other"))
    with pytest.raises(ValueError, match=r"other/ledger\.jsonl counts for .*records releases of task 'linear', not of"):
        statement(tmp_path)


def test_p5_a_ledger_is_asked_when_the_newest_run_never_began(tmp_path):
    """A crash after the earlier run was set aside: what that released is stated."""
    train(tmp_path)
    before = statement(tmp_path).epsilon
    checkpoint.set_aside(tmp_path)
    assert statement(tmp_path).epsilon == before


def test_p5_damaged_settings_of_a_baseline_hide_nothing(measured, tmp_path):
    shutil.copytree(measured, tmp_path / "run")
    [home] = (tmp_path / "run" / "baselines").iterdir()
    (home / "head-only" / "settings.json").write_text("{")
    assert statement(tmp_path / "run").noised == statement(measured).noised


def test_p5_a_finished_run_stays_finished_whatever_came_after(measured, tmp_path):
    """It releases nothing more, so it is not asked for room: a resume says so in silence, as before."""
    shutil.copytree(measured, tmp_path / "run")
    assert list(save_rounds(TASK, LA, RUN, tmp_path / "run", resume=True)) == []
    assert cost_of(tmp_path / "run")["epsilon"] is None


def test_p5_while_baselines_train_no_epsilon_is_stated_beside_the_adapter(tmp_path, monkeypatch):
    train(tmp_path)
    seen = []
    plain = yardsticks.trained
    monkeypatch.setattr(yardsticks, "trained", lambda *given: seen.append(cost_of(tmp_path)) or plain(*given))
    yardsticks.yardsticks(open_run(tmp_path), tmp_path)
    assert all(cost["epsilon"] is None and "being trained" in cost["pending"] for cost in seen) and seen
    assert "pending" not in cost_of(tmp_path)


def test_p5_baselines_wait_for_a_run_that_goes_on(tmp_path):
    """It could not know what they spend."""
    rounds = save_rounds(TASK, LA, RUN, tmp_path)
    next(rounds)
    with pytest.raises(ValueError, match="is in use by another run"):
        yardsticks.yardsticks(open_run(tmp_path), tmp_path)
    rounds.close()


# ---- P6: nothing is forgotten --------------------------------------------------------------------------------------


def harmed(directory: Path, harm: str) -> None:
    path = directory / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    if harm == "deleted":
        path.unlink()
    elif harm == "emptied":
        path.write_bytes(b"")
    elif harm == "three lines":
        path.write_bytes(b"".join(lines[:3]))
    else:
        path.write_bytes(b"".join([lines[0].replace(b'"step": 1', b'"step": 9'), *lines[1:]]))


ASKED = {
    "fresh": lambda directory: train(directory, replace(RUN, epsilon=9.0, seed=8)),
    "resume": lambda directory: list(save_rounds(TASK, LA, RUN, directory, resume=True)),
    "load": load,
    "statement": statement,
    "report": open_run,
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("harm", ["deleted", "emptied", "three lines", "altered"])
def test_p6_a_ledger_that_is_not_what_its_mark_says_is_refused(measured, tmp_path, harm, asked):
    """With the mark and the remedy, before anything is moved."""
    directory = tmp_path / "run"
    shutil.copytree(measured, directory)
    harmed(directory, harm)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.suffix}
    with pytest.raises(ValueError, match=r"ε spent is unknown; restore it from a copy, or use a new directory") as told:
        ASKED[asked](directory)
    assert "mark: " in str(told.value) and "sha256" in str(told.value) and "ledger.jsonl" in str(told.value)
    assert before == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.suffix}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("harm", ["ledger deleted", "ledger cut", "all deleted"])
def test_p6_a_baselines_ledger_is_held_by_marks_too(measured, tmp_path, harm, asked):
    """By the baseline's own states, and, where its whole folder is gone, by the run's adapter."""
    directory = tmp_path / "run"
    shutil.copytree(measured, directory)
    [home] = (directory / "baselines").iterdir()
    if harm == "all deleted":
        shutil.rmtree(directory / "baselines")
    else:
        harmed(home / "alone-0001", "deleted" if harm == "ledger deleted" else "three lines")
    with pytest.raises(ValueError, match=r"baselines/.*ledger\.jsonl .*ε spent is unknown"):
        ASKED[asked](directory)


def test_p6_without_any_mark_finished_rounds_still_need_their_ledger(tmp_path):
    train(tmp_path)
    shutil.rmtree(tmp_path / "state")
    shutil.rmtree(tmp_path / "adapter")
    (tmp_path / "ledger.jsonl").unlink()
    with pytest.raises(ValueError, match="holds no release, yet rounds were finished"):
        train(tmp_path, replace(RUN, seed=8))


def test_p6_the_marks_of_runs_that_were_set_aside_hold_too(tmp_path):
    train(tmp_path)
    train(tmp_path, replace(RUN, epsilon=4.0, seed=8))
    for name in ("state", "adapter", "rounds.jsonl", "settings.json"):
        path = tmp_path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert statement(tmp_path).epsilon > RUN.epsilon
    harmed(tmp_path, "three lines")
    with pytest.raises(ValueError, match=r"runs/001/.*ε spent is unknown"):
        train(tmp_path, replace(RUN, epsilon=9.0, seed=9))


def test_p6_half_a_line_left_by_a_crash_is_in_no_mark(tmp_path):
    """It goes with the next charge: a mark that held it would refuse the run that it was written for."""
    train(tmp_path)
    with open(tmp_path / "ledger.jsonl", "ab") as file:
        file.write(b'{"client": 3, "rou')
    more = replace(RUN, epsilon=4.0, seed=8)
    rounds = save_rounds(TASK, LA, more, tmp_path)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(local, "poisson_draw", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt()))
        next(rounds)
    assert [r.round for r in save_rounds(TASK, LA, more, tmp_path, resume=True)] == [1, 2]


def test_p6_a_ledger_restored_from_a_copy_is_taken(measured, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(measured, directory)
    harmed(directory, "deleted")
    shutil.copy(measured / "ledger.jsonl", directory)
    assert statement(directory) == statement(measured)


# ---- P17: a notebook's panel ---------------------------------------------------------------------------------------


def test_p17_the_panel_shares_the_ledger_of_the_notebooks_own_runs():
    """The panel of 08 comes first and is told of the runs that follow; that of 07 trains nothing."""
    found = {}
    for path in (*NOTEBOOKS.glob("07_*.ipynb"), *NOTEBOOKS.glob("08_*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        found[path.stem[:2]] = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert not any("LiveTraining(" in cell for cell in found["07"])
    code = found["08"]
    [panel] = [cell for cell in code if "LiveTraining(" in cell]
    assert "ledger=on_owned" in panel and panel.count("Ledger()") == 1
    [ran] = [cell for cell in code if "on_owned.charge(open_account(directory).releases())" in cell]
    assert ran.count("federated_rounds(") == ran.count("Ledger(also=on_owned)")
    [told] = [cell for cell in code if "panel.spent(on_owned)" in cell]
    assert code.index(panel) < code.index(ran) < code.index(told)


def test_p17_what_a_directory_released_is_in_the_panels_next_total(tmp_path):
    [*_, last] = train(tmp_path)
    from lalora_kit.runs.spent import open_account

    ledger, before = Ledger(), (tmp_path / "ledger.jsonl").read_bytes()
    ledger.charge(open_account(tmp_path).releases())
    training = LiveTraining(TASK, LA, RUN, ledger=ledger)
    assert training.total == last.epsilon
    training.complete()
    assert training.total == last.epsilon  # the same settings, data and seed: the same releases
    list(federated.federated_rounds(TASK, LA, replace(RUN, seed=5), ledger=Ledger(also=ledger)))
    assert ledger.epsilon(DELTA) > last.epsilon and (tmp_path / "ledger.jsonl").read_bytes() == before


def test_p17_a_run_without_noise_is_told_with_what_the_others_cost():
    ledger = Ledger()
    [*_, last] = federated.federated_rounds(TASK, LA, RUN, ledger=Ledger(also=ledger))
    list(federated.federated_rounds(TASK, LA, replace(RUN, epsilon=math.inf), ledger=Ledger(also=ledger)))
    facts = dict(LiveTraining(TASK, LA, RUN, ledger=ledger).facts())
    assert facts["ε of all runs on these data"] == f"∞ ({last.epsilon:.3g} by those with noise)"
