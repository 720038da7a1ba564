"""The claims on trial: the statistics against scipy, the rule on made-up runs, and the shipped table."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lalora_kit.base.files import read_lines
from lalora_kit.methods import METHODS
from lalora_kit.trial import claim_runs, designs, grid, tables, verdicts
from lalora_kit.trial import study as trials
from lalora_kit.trial.claims import CLAIMS, COSINE, FACTOR, POINTS, Claim, claims_on, exact_claims
from lalora_kit.trial.designs import DESIGNS, DIGITS, STDLIB_DOCS, design_of, tuned
from lalora_kit.trial.effects import LEVEL, effect_at, together
from tests.benchmarks import trial
from tests.fakes import free_runs

EQUAL, SEEDS, TUNING_SEEDS = DIGITS.usual.learning_rate, DIGITS.seeds, DIGITS.tuning_seeds
PLAIN = Claim("plain", "one beats other", "la-lora", "dp-lora", 3, POINTS, 10.0, "made up", "dp-lora × 0.5")


def judge(runs, claims=CLAIMS, design=DIGITS):
    return verdicts.judge(runs, claims, design)


def run_of(arm, rate, epsilon, seed, design=DIGITS, **moved):
    return designs.run_of(arm, rate, epsilon, seed, design, **moved)


def made_up(accuracy, claims=(PLAIN,), seeds=SEEDS):
    """Runs for all cells that the claims could ask for, from `accuracy(cell)`."""
    arms = {arm for c in claims for arm in (*c.arms, c.control or c.other, "head-only")}
    cells = {
        run_of(arm, rate, epsilon, seed, **c.moved)
        for arm in arms
        for rate in DIGITS.rates
        for c in claims
        for epsilon in c.epsilons
        for seed in (*seeds, *TUNING_SEEDS)
    }
    return {cell: {"curve": [accuracy(cell)]} for cell in cells}


def wobble(cell, spread=0.004, salt=1):
    """A small number that only the run decides, by what these studies vary of it."""
    varied = ("method", "learning_rate", "epsilon", "rank", "clients", "seed")
    name = f"Cell({', '.join(f'{field}={getattr(cell, field)!r}' for field in varied)})"
    return spread * np.random.default_rng([salt, *map(ord, name)]).standard_normal()


def test_an_effect_is_scipys_paired_test():
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 2, 7), rng.normal(0, 2, 7)
    [found], expected = together([list(one - other)]), stats.ttest_rel(one, other)
    interval = expected.confidence_interval(0.95)
    assert (found.p, found.low, found.high) == pytest.approx((expected.pvalue, interval.low, interval.high))
    wide = together([list(one - other), *([[1.0, 2.0]] * 18)])[0]
    interval = expected.confidence_interval(1 - 0.05 / 19)
    assert (wide.p, wide.low, wide.high) == pytest.approx((19 * expected.pvalue, interval.low, interval.high))
    assert (found.seeds, found.among, wide.among) == (7, 1, 19)


@pytest.mark.parametrize(("seeds", "among"), [(20, 1), (5, 1), (5, 19), (3, 3)])
def test_what_can_be_detected_is_detected_four_times_in_five(seeds, among):
    spread = np.arange(seeds) - np.mean(range(seeds))
    unit = list(spread / np.std(spread, ddof=1))  # where the standard deviation is 1
    size = together([unit] * among)[0].detectable
    drawn = np.random.default_rng(1).normal(size, 1, (2000, seeds))
    found = stats.ttest_1samp(drawn, 0, axis=1).pvalue < LEVEL / among
    assert 0.76 < np.mean(found) < 0.84


@pytest.mark.parametrize(("values", "figures"), [([], 0), ([1.0], 1), ([math.nan, 2.0], 1)])
def test_too_few_seeds_have_no_interval(values, figures):
    [found] = together([values])
    assert found.seeds == figures and math.isnan(found.p) and math.isnan(found.low) and not found.still


def test_the_same_difference_in_every_seed_is_no_evidence():
    for values in ([2.0, 2.0], [0.0, 0.0], [100 * (0.52 - 0.5), 100 * (0.72 - 0.7)]):
        [found] = together([values])
        assert found.still and math.isnan(found.p) and math.isnan(found.low) and math.isnan(found.detectable)


def test_what_could_not_be_tested_counts_in_the_family():
    alone = stats.ttest_1samp([1.0, 2.0, 4.0], 0).pvalue
    assert [e.among for e in together([[1.0, 2.0, 4.0], [], [1.0, 1.0]])] == [3, 3, 3]
    assert together([[1.0, 2.0, 4.0], [], [1.0, 1.0]])[0].p == pytest.approx(3 * alone)


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        (lambda c: 0.5 + 0.1 * (c.method == "la-lora") + wobble(c), "holds"),
        # The other is as good at a lower rate: a lead at the default rate is no more than a smaller step.
        (
            lambda c: 0.6 - 0.2 * (c.method == "dp-lora" and c.learning_rate > 0.3) + wobble(c),
            "holds only at equal learning rate",
        ),
        (lambda c: 0.5 + wobble(c), "ruled out above"),
        (lambda c: 0.5 + wobble(c, 0.15), "too few seeds to say"),
        (lambda c: 0.5 - 0.05 * (c.method == "la-lora") + wobble(c), "the opposite holds"),
        (
            lambda c: 0.5 + 0.1 * (c.method == "dp-lora" and c.learning_rate == EQUAL) + wobble(c),
            "the opposite holds",
        ),
        (lambda c: 0.5 + 0.1 * (c.method == "la-lora"), "no verdict: the same difference in every seed"),
    ],
)
def test_the_rule(accuracy, verdict):
    [row] = judge(made_up(accuracy), [PLAIN])
    assert row.verdict.startswith(verdict), row


def test_no_claim_holds_where_there_is_nothing():
    """The chance that any of 12 rows holds on noise is 5 % at most: 15 of 300 expected, 28 is p < 0.002."""
    rng, false = np.random.default_rng(3), 0
    claims = [replace(PLAIN, key=str(i), epsilon=float(i + 1)) for i in range(12)]
    cells = list(made_up(lambda c: 0.0, claims))
    for _ in range(300):
        runs = {c: {"curve": [x]} for c, x in zip(cells, rng.normal(0.5, 0.03, len(cells)), strict=True)}
        false += any(row.verdict == "holds" for row in judge(runs, claims))
    assert false <= 28


def test_rates_are_chosen_on_seeds_that_are_not_reported():
    runs = made_up(lambda c: 0.5 + 0.1 * (c.learning_rate == 1.0) * (c.seed in TUNING_SEEDS))
    assert tuned(runs, "dp-lora", 3, DIGITS) == 1.0
    spoiled = {c: {"curve": [0.9]} if c.seed in SEEDS and c.learning_rate == 2 else line for c, line in runs.items()}
    assert tuned(spoiled, "dp-lora", 3, DIGITS) == 1.0
    del spoiled[run_of("dp-lora", 2.0, 3, TUNING_SEEDS[0])]
    assert math.isnan(tuned(spoiled, "dp-lora", 3, DIGITS)), "a grid with a hole chooses nothing"


def test_a_growth_takes_off_the_other_epsilon():
    claim = replace(PLAIN, epsilon=1, less=3.0)
    lead = {1: 0.09, 3: 0.02}
    [row] = judge(made_up(lambda c: 0.5 + lead[c.epsilon] * (c.method == "la-lora"), [claim]), [claim])
    assert row.equal.mean == pytest.approx(7)


def test_a_probe_counts_only_where_both_runs_have_it():
    claim = replace(PLAIN, unit=COSINE, control=None)
    runs = made_up(lambda c: 0.5, [claim])
    [row] = judge(runs, [claim])
    assert row.equal.seeds == 0 and row.verdict == "too few seeds to say"
    probed = {c: {**line, "coupling": 0.1 + 0.2 * (c.method == "la-lora")} for c, line in runs.items()}
    assert judge(probed, [claim])[0].equal.mean == pytest.approx(0.2)
    lambdas = {c: {**line, "lambda_factors": 50 if c.method == "la-lora" else 100} for c, line in probed.items()}
    assert judge(lambdas, [replace(claim, unit=FACTOR)])[0].equal.mean == pytest.approx(math.log(2))


def test_claims_name_methods_that_exist_and_have_keys_of_their_own():
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS)
    known = {*METHODS, "la-lora-permuted"}
    for claim in CLAIMS:
        assert {arm.partition(" × ")[0] for arm in (*claim.arms, claim.control or claim.one)} <= known


def test_exact_statements_are_what_the_algebra_says():
    found = {statement.key: statement.verdict for statement in exact_claims(local_steps=4)}
    assert found == {"cross-step": "holds", "cross-never": "contradicted", "cross-less": "holds"}


@pytest.fixture
def inline(monkeypatch):
    """Runs in this process that cost nothing, and what they say they were made with; the cells that were run."""
    made = {"made": "m", "settings": {}, "versions": {}}
    monkeypatch.setattr(
        claim_runs, "made_with", lambda command, task: {**made, "task": {"task": task}, "command": command}
    )
    return free_runs(monkeypatch, lambda cell: {"curve": [round(0.5 + wobble(cell), 4)]})


def test_all_claims_from_no_runs_to_tables_and_again(inline, monkeypatch, tmp_path):
    monkeypatch.setattr(grid, "KEPT", tmp_path)
    rows = claim_runs.run_claims(tmp_path, DIGITS)
    assert len(rows) == len(CLAIMS) and all(row.best.seeds == len(SEEDS) for row in rows)
    assert not any(math.isnan(row.head_only) for row in rows)
    count = len(inline)
    claim_runs.run_claims(tmp_path, DIGITS)
    assert len(inline) == count, "a second call has nothing left to do"
    as_csv, as_json = tables.write_tables(tmp_path, rows, exact_claims(), DIGITS)
    table = list(csv.DictReader(as_csv.read_text().splitlines()))
    kept = json.loads(as_json.read_text())
    assert [line["key"] for line in table] == [row["key"] for row in kept["rows"]]
    assert kept["rates"] == list(DIGITS.rates)
    assert len(table) == len(CLAIMS) + 3 and kept["made"][0]["command"] == "lalora claims"


def test_runs_of_the_grid_are_not_made_twice(inline, monkeypatch, tmp_path):
    cell = run_of("la-lora", EQUAL, 3, 0)
    held = {**cell.to_json(), "curve": [0.77], "made": "g"}
    agreeing = {"made": "g", "task": {"task": "digits"}, "settings": {}, "versions": {}}
    shipped = tmp_path / "digits.jsonl"
    shipped.write_text("".join(json.dumps(line) + "\n" for line in (agreeing, held)))
    monkeypatch.setattr(grid, "KEPT", tmp_path)
    claim_runs.run_claims(tmp_path / "out", DIGITS, claims=[PLAIN])
    assert cell not in inline and trials.curves(tmp_path / "out" / "claims.jsonl")[cell] == [0.77]
    shipped.write_text(json.dumps({**agreeing, "settings": {"rounds": 3}}) + "\n" + json.dumps(held) + "\n")
    claim_runs.run_claims(tmp_path / "other", DIGITS, claims=[PLAIN])
    assert cell in inline


def test_another_task_takes_nothing_from_the_grid_of_digits_and_has_a_file_of_its_own(inline, monkeypatch, tmp_path):
    cell = run_of("la-lora", EQUAL, 3, 0)
    head = {"made": "g", "task": {"task": "digits"}, "settings": {}, "versions": {}}
    shipped = tmp_path / "digits.jsonl"
    shipped.write_text(json.dumps(head) + "\n" + json.dumps({**cell.to_json(), "curve": [0.77], "made": "g"}) + "\n")
    monkeypatch.setattr(grid, "KEPT", tmp_path)
    [row] = claim_runs.run_claims(tmp_path / "docs", claims=[PLAIN], design=STDLIB_DOCS)
    assert cell in inline and row.best.seeds == len(SEEDS)
    made = [line for line in read_lines(tmp_path / "docs" / "claims.jsonl") if "curve" not in line]
    assert [line["task"] for line in made] == [{"task": "stdlib-docs"}]
    claim_runs.run_claims(tmp_path / "digits", DIGITS, claims=[PLAIN])
    with pytest.raises(ValueError, match="made with another task"):
        claim_runs.run_claims(tmp_path / "digits", STDLIB_DOCS, claims=[PLAIN])


@pytest.mark.parametrize("seeds", [[0, 6], []])
def test_a_seed_that_chose_the_rates_may_not_judge_them(seeds, tmp_path):
    with pytest.raises(ValueError, match="chose the rates"):
        claim_runs.run_claims(tmp_path, replace(DIGITS, seeds=tuple(seeds)))


@pytest.mark.parametrize("methods", [["la-lora"], ["la-lora", "la-lora"], ["la-lora", "lo-lara"]])
def test_a_comparison_needs_two_methods_that_exist(methods):
    with pytest.raises(ValueError, match=r"two or more|lo-lara"):
        claim_runs.comparison(methods, [3.0])


def test_the_runs_of_every_task_with_a_design_ship():
    assert {design.task for design in DESIGNS} == set(trial.TASKS)


def test_on_mnist_at_most_a_quarter_is_undecided_and_only_what_the_first_look_left_open_has_more_seeds():
    runs, design = claim_runs.shipped("mnist"), design_of("mnist")
    rows = trial.judged("mnist")
    assert 4 * sum(row.undecided for row in rows) <= len(rows)
    once = {cell: line for cell, line in runs.items() if cell.seed not in design.more}
    still_open = [row.claim for row in judge(once, claims_on("mnist"), design) if row.undecided]
    assert still_open == [row.claim for row in rows if row.best.seeds > len(design.seeds)] != []


@pytest.mark.parametrize("task", trial.TASKS)
def test_the_shipped_table_is_what_the_shipped_runs_say(task):
    rows = tables.as_records(trial.judged(task), exact_claims())
    kept = json.loads((claim_runs.SHIPPED / f"{task}.json").read_text())
    assert [row["verdict"] for row in kept["rows"]] == [row["verdict"] for row in rows]
    for ours, theirs in zip(rows, kept["rows"], strict=True):
        for key, value in ours.items():
            assert value == (pytest.approx(theirs[key], rel=1e-4) if isinstance(value, float) else theirs[key])
    design = design_of(task)
    assert kept["rates"] == list(design.rates) and kept["made"][-1]["task"]["task"] == task
    looks = {len(design.seeds), len(design.seeds) + len(design.more)}
    assert {row["best_seeds"] for row in kept["rows"] if "best_seeds" in row} <= looks


@pytest.mark.parametrize("task", trial.TASKS)
def test_the_rows_of_results_are_what_the_shipped_runs_say(task):
    told = (Path(__file__).parents[2] / "notebooks/RESULTS.md").read_text(encoding="utf-8")
    assert all(line in told for line in trial.table(task))


def test_what_results_and_readme_say_of_the_claims_on_mnist_is_counted():
    root = Path(__file__).parents[2]
    told = (root / "notebooks/RESULTS.md").read_text(encoding="utf-8")
    assert all(line in told for line in trial.accuracies("mnist"))
    rows = trial.judged("mnist")
    held, reversed_ = (sum(row.verdict == verdict for row in rows) for verdict in ("holds", "the opposite holds"))
    ruled, at_equal = (
        sum(row.verdict.startswith("ruled out") for row in rows),
        sum(row.verdict.endswith("only at equal learning rate") for row in rows),
    )
    said = " ".join(told.split())
    assert held == 0 and f"none of {len(rows)} effects is shown.** For {reversed_} the opposite holds" in said
    assert f"for {reversed_} the opposite holds, for {ruled} a large effect is ruled out, and {at_equal} are" in said
    assert f"[{reversed_} of {len(rows)}]" in (root / "README.md").read_text(encoding="utf-8")
    behind = [row.claim.other for row in rows if row.claim.key.startswith("over-") and row.best.high < 0]
    assert [behind.count(name) for name in ("rolora", "ffa-lora", "dp-lora")] == [7, 3, 1]
    assert "in seven of nine comparisons, behind FFA-LoRA in three and behind DP-LoRA in one" in said
    assert all(row.best.mean < 0 for row in rows if row.claim.key.startswith("over-"))


def test_a_task_has_its_own_grid_and_is_told_which_of_its_best_rates_lie_at_an_end(inline, tmp_path):
    assert STDLIB_DOCS.rates != DIGITS.rates and design_of("cifar100").rates == DIGITS.rates
    assert design_of("stdlib-docs-by-module").rates == STDLIB_DOCS.rates, "the same data, split otherwise"
    [row] = claim_runs.run_claims(tmp_path / "docs", claims=[PLAIN], design=STDLIB_DOCS)
    assert {cell.learning_rate for cell in inline} >= set(STDLIB_DOCS.rates)
    inline.clear()
    [row] = claim_runs.run_claims(tmp_path / "own", claims=[PLAIN], design=replace(STDLIB_DOCS, rates=(3, 4)))
    assert {cell.learning_rate for cell in inline if cell.seed in TUNING_SEEDS} == {3, 4}
    assert set(row.rates) <= {3, 4}, "a grid of two rates is all ends"
    assert claim_runs.at_an_end([row], (3, 4)) == ["la-lora at ε=3", "dp-lora at ε=3"]
    assert claim_runs.at_an_end([row], (1, 3, 4, 9)) == []
    [row] = claim_runs.run_claims(
        tmp_path / "bare", claims=[replace(PLAIN, other="head-only")], design=replace(DIGITS, rates=(3, 4))
    )
    assert claim_runs.at_an_end([row], (3, 4)) == ["la-lora at ε=3"], "without an adapter a rate means nothing"


@pytest.mark.parametrize("rates", [[], [1.0], [2.0, 2.0], [0.0, 1.0], [-1.0, 1.0], [1.0, math.inf], [1.0, math.nan]])
def test_what_is_no_grid_is_refused_before_any_run(rates, inline, tmp_path):
    with pytest.raises(ValueError, match="a grid to choose from"):
        claim_runs.run_claims(tmp_path / "none", replace(DIGITS, rates=tuple(rates)))
    assert not inline and not (tmp_path / "none").exists()


CLEARLY = {"ahead of": [9.0, 10.0, 11.0], "behind": [-9.0, -10.0, -11.0], "level with": [-9.0, 10.0, 0.5]}


@pytest.mark.parametrize(("how", "side"), [("ahead of", "for"), ("behind", "against"), ("level with", "neither")])
def test_a_lead_over_a_baseline_speaks_for_the_claims_a_lag_against_them_and_a_tie_for_neither(how, side):
    said = tables.for_and_against([], {"the head": effect_at(CLEARLY[how])}, "at ε = 3")
    for_, _, rest = said.partition("What speaks **against** them")
    against, _, neither = rest.partition(". ")
    sides = {"for": for_, "against": against, "neither": neither}
    assert [name for name, text in sides.items() if "the head" in text] == [side]
    assert f"LA-LoRA is {how} the head" in sides[side]


def test_claims_stand_on_the_side_that_their_interval_is_on():
    def row(key, values):
        effect = effect_at(values)
        return verdicts.Row(replace(PLAIN, key=key, text=key), effect, effect, effect, (1.0, 1.0), 0.5)

    found = {name: row(name, values) for name, values in CLEARLY.items()}
    said = tables.for_and_against(list(found.values()), {}, "at ε = 3")
    for_, against = said.split("What speaks **against** them")
    assert "“ahead of”" in for_ and "“behind”" in against and "“level with”" not in said
    assert "no shipped baseline" in said and said.endswith("1 of 3 claims are open: these seeds cannot tell.")
