"""RAC-LoRA's experiment with MNIST: RESULTS.md holds what the kept runs give, and they show what its paper says."""

from pathlib import Path

from tests.benchmarks import chain

TOLD = (Path(__file__).parents[2] / "notebooks/RESULTS.md").read_text(encoding="utf-8")
ONE, SKETCHES, BOTH, OURS = map(chain.kept, chain.ARMS)


def test_the_results_page_says_what_the_kept_runs_give():
    assert [row for row in chain.rows() if f"\n{row}\n" not in TOLD] == []


def test_every_arm_has_every_seed():
    assert all(list(arm) == list(chain.SEEDS) for arm in (ONE, SKETCHES, BOTH, OURS))


def test_a_chain_reaches_what_one_sketch_cannot_at_every_seed():
    """A published lead of 29.7 points; here at least half of it, at each seed."""
    assert all(arm[seed] - ONE[seed] > 0.1485 for arm in (SKETCHES, BOTH, OURS) for seed in chain.SEEDS)


def test_training_both_factors_adds_nothing_as_the_page_says():
    assert SKETCHES == BOTH and "Training B as well adds\nnothing here" in TOLD


def test_how_many_digits_are_new():
    train, test = chain.digits(known=False)
    assert len(train) == 3895 and "of which 3,895 are 5 to 9" in TOLD
    assert train.inputs["input"].shape[1] == 1024 and set(test.labels.tolist()) == set(range(chain.KNOWN))
