"""Public statistics before a head, by hand and through plain peft; linear models in the loop and ledger of all runs."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import METHODS
from lalora_kit.plan import make_plan
from lalora_kit.privacy import Ledger, composed_epsilon
from lalora_kit.runs.adapterfile import load_adapter
from lalora_kit.runs.checkpoint import save_rounds
from lalora_kit.runs.statement import statement
from lalora_kit.tasks import Task, load_task, logits
from lalora_kit.tasks.heads import standardise
from lalora_kit.tasks.heads.linear import BUCKETS, HOG, LINEAR, linear_views
from lalora_kit.tasks.heads.standardise import LEAST
from tests.tiny import FAST, distance, identical, random_adapter, roberta_task, swin_task, task_of, vit_task

HEAD = METHODS["head-only"]


def public_of(task: Task, samples: int = 200, seed: int = 3) -> dict[str, Tensor]:
    """Inputs of the task's own form that are none of its samples."""
    generator = torch.Generator().manual_seed(seed)
    if "x" in task.train.inputs:
        x = task.train.inputs["x"]
        return {"x": torch.randn(samples, *x.shape[1:], generator=generator) + 0.5}
    lengths = torch.randint(3, 8, (samples, 1), generator=generator)
    mask = (torch.arange(8) < lengths).long()
    words = torch.randint(3, 40, mask.shape, generator=generator)
    return {"input_ids": torch.where(mask.bool(), words, 1), "attention_mask": mask}


def with_public(task: Task) -> Task:
    return replace(task, public=public_of(task))


@pytest.mark.parametrize("architecture", ["swin", "vit", "roberta", "linear"])
def test_features_get_mean_zero_and_the_stated_covariance(architecture):
    """What the head's first layer is given on the public inputs, by the engine, against numpy."""
    task = with_public(task_of(architecture))
    seen: list[Tensor] = []
    engine = Engine(task, 1.0, dtype=torch.float64)
    first = engine.head[task.statistics.layer]
    before, after = standardise.features(task)[1].numpy(), seen
    first.before.register_forward_hook(lambda _, __, out: after.append(out))
    engine.prepare = lambda batch: {n: v.double() if v.is_floating_point() else v for n, v in batch.items()}
    adapter = random_adapter(task, 1, 1.0, seed=0)
    adapter = adapter.with_tensors({key: 0 * value for key, value in adapter.tensors.items() if key[0] != "head"})
    engine.predict(adapter.map(Tensor.double), task.public)
    z = torch.cat(seen).numpy()
    S, s = np.cov(before.T, bias=True), task.statistics.shrinkage
    mean_variance = np.trace(S) / len(S)
    assert LEAST <= s < 1 and np.abs(z.mean(0)).max() < 1e-5
    shrunk = (1 - s) * S + s * mean_variance * np.eye(len(S))
    W = task.statistics.weight.numpy()
    assert np.allclose(W, W.T) and np.allclose(W @ shrunk @ W, mean_variance * np.eye(len(S)), rtol=1e-6, atol=1e-9)
    assert np.allclose(np.cov(z.T, bias=True), W @ S @ W, rtol=1e-3, atol=1e-5)
    assert np.linalg.eigvalsh(W).max() <= 1 / math.sqrt(LEAST) + 1e-9


@pytest.mark.parametrize("make", [swin_task, vit_task, roberta_task])
def test_a_saved_head_has_the_statistics_folded_in(make, tmp_path):
    """Plain peft on the plain backbone gives the scores of the run's own engine; read again, so does the adapter."""
    import peft

    task = with_public(make())
    [*_, last] = save_rounds(task, METHODS["la-lora"], FAST, tmp_path / "run")
    wanted = Engine(task, FAST.scale).predict(last.adapter, task.test.inputs)
    model = peft.PeftModel.from_pretrained(copy.deepcopy(task.backbone), str(tmp_path / "run" / "adapter")).eval()
    with torch.no_grad():
        assert torch.allclose(logits(model, task.test.inputs), wanted, atol=1e-5)
    again = load_adapter(tmp_path / "run" / "adapter", task)
    assert distance(again, last.adapter) < 1e-4
    plain = replace(task, standardise=False)
    assert plain.statistics is None
    plainly = Engine(plain, FAST.scale).predict(load_adapter(tmp_path / "run" / "adapter", plain), task.test.inputs)
    assert torch.allclose(plainly, wanted, atol=1e-5)


def test_a_head_that_scores_something_begins_with_the_same_scores():
    """And one of zeros begins as it is."""
    task = vit_task()
    plans = [make_plan(one, HEAD, FAST, Ledger()) for one in (task, with_public(task))]
    scores = [
        Engine(one, 1.0).predict(p.start, task.test.inputs)
        for one, p in zip((task, with_public(task)), plans, strict=True)
    ]
    assert torch.allclose(*scores, atol=1e-5) and scores[0].std() > 0.1
    for value in task.backbone.head.parameters():
        nn.init.zeros_(value)
    fresh = with_public(task)
    assert fresh.statistics.fresh and not any(
        v.any() for v in make_plan(fresh, HEAD, FAST, Ledger()).start.of("head").values()
    )


def test_the_run_is_another_and_its_statement_says_so(tmp_path):
    """Identity covers the public inputs by content and not by order; without them nothing is told."""
    task = swin_task()
    public = public_of(task)
    turned = {"x": public["x"].flip(0)}
    other = {"x": public["x"] + 0.1}
    notes = [replace(task, public=given).notes for given in (public, turned, other)]
    assert notes[0] == notes[1] != notes[2] and "public" not in replace(task, public=public, standardise=False).notes
    identities = [make_plan(one, HEAD, FAST, Ledger()).identity for one in (task, replace(task, public=public))]
    assert identities[1].keys() - identities[0].keys() == {"notes.public"}
    list(save_rounds(replace(task, public=public), HEAD, FAST, tmp_path / "with"))
    list(save_rounds(replace(task, public=public, standardise=False), HEAD, FAST, tmp_path / "off"))
    said, off = statement(tmp_path / "with"), statement(tmp_path / "off")
    assert "statistics of public inputs: no ε (of 200 without labels" in said.text and said.public_inputs == 200
    assert "public inputs" not in off.text and off.public_inputs == 0 and said.epsilon == off.epsilon


def test_the_training_itself_is_standardised():
    """Head-only on features with a large mean: 2 rounds with and without, the same draws and noise."""
    task = swin_task(48)
    with torch.no_grad():
        task.backbone.norm.bias.fill_(3.0)
    for value in task.backbone.head.fc.parameters():
        nn.init.zeros_(value)
    settings = replace(FAST, epsilon=math.inf, rounds=4, head_learning_rate=1.0)
    public = {
        "x": task.train.inputs["x"]
        + 0.1 * torch.randn(task.train.inputs["x"].shape, generator=torch.Generator().manual_seed(0))
    }
    with_, without = (list(federated_rounds(one, HEAD, settings))[-1] for one in (replace(task, public=public), task))
    assert with_.loss < without.loss - 0.1


@pytest.mark.parametrize("split", ["training", "test"])
def test_a_sample_that_is_private_or_tested_is_refused(split):
    task = swin_task()
    public = public_of(task)
    public["x"][7] = (task.train if split == "training" else task.test).inputs["x"][3]
    with pytest.raises(ValueError, match=f"public input 7 is {split} sample 3.*take it out"):
        replace(task, public=public)


def test_a_text_is_the_same_sample_however_it_is_padded():
    task = roberta_task()
    public = public_of(task)
    row = task.train.inputs["attention_mask"].sum(1).argmin()
    for name in public:
        public[name][5] = task.train.inputs[name][row, :8]
    with pytest.raises(ValueError, match=f"public input 5 is training sample {row}"):
        replace(task, public=public)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[:, :, :8], "the same names, types and shapes"),
        (lambda x: x.double(), "the same names, types and shapes"),
        (lambda x: x.index_fill(0, torch.tensor([4]), math.nan), "NaN or an infinity in row 4"),
        (lambda x: x[:1], "1 public inputs are all alike"),
        (lambda x: x[:1].expand(30, -1, -1, -1), "30 public inputs are all alike"),
    ],
)
def test_inputs_that_say_nothing_are_refused(change, words):
    task = swin_task()
    with pytest.raises(ValueError, match=words):
        replace(task, public={"x": change(public_of(task)["x"]).contiguous()})


class Headed(nn.Module):
    """A body and a head, on vectors or on three of them a sample."""

    def __init__(self, bias: bool = True, positions: int = 0, dead: bool = False) -> None:
        super().__init__()
        self.body, self.head, self.positions, self.dead = nn.Linear(6, 5), nn.Linear(5, 2, bias=bias), positions, dead

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.body(x))
        y = y * torch.tensor([1.0, 1, 1, 1, 0]) if self.dead else y
        return self.head(torch.stack([y] * self.positions, 1)).sum(1) if self.positions else self.head(y)


def arrays(model: nn.Module, **more) -> Task:
    rng = np.random.default_rng(0)
    train, test, public = (rng.normal(size=(rows, 6)) for rows in (20, 8, 50))
    about = {"test_inputs": test, "test_labels": [0, 1] * 4, "classes": 2, "head": "head"}
    return Task.from_arrays(model, train, [0, 1] * 10, public=public, **about, **more)


@pytest.mark.parametrize(
    ("model", "words"), [(Headed(bias=False), "has no bias"), (Headed(positions=3), "not one vector each")]
)
def test_a_head_that_nothing_can_stand_before_is_refused(model, words):
    with pytest.raises(ValueError, match=f"{words}.*standardise=False"):
        arrays(model)
    assert arrays(model, standardise=False).statistics is None


def test_a_constant_feature_stays_constant_and_nothing_blows_up():
    task = arrays(Headed(dead=True))
    weight = task.statistics.weight
    assert torch.isfinite(weight).all() and float(torch.linalg.eigvalsh(weight).max()) <= 1 / math.sqrt(LEAST) + 1e-9
    assert float(weight[4, 4]) > 1 and weight[4, :4].abs().max() < 1e-9


def test_statistics_are_taken_once(monkeypatch):
    task = with_public(swin_task())
    monkeypatch.setattr(standardise, "features", None)
    again = replace(task, source={"task": "x"})
    assert again.statistics is task.statistics


def test_another_head_has_statistics_of_its_own():
    task = with_public(roberta_task())
    narrow = replace(task, head=f"{task.head}.out_proj")
    assert narrow.statistics.layer != task.statistics.layer
    [*_, last] = federated_rounds(narrow, HEAD, FAST)
    assert math.isfinite(last.loss)


@pytest.mark.parametrize("make", [swin_task, roberta_task])
@pytest.mark.parametrize("public", [False, True])
def test_a_linear_model_is_charged_as_any_run(make, public, tmp_path):
    """The ledger holds every step of every client, and ε is the accountant's over them; nothing else is trained."""
    task = with_public(make()) if public else make()
    views = linear_views(task)
    assert list(views) == ([LINEAR, HOG] if make is swin_task else [LINEAR])
    for name, made in views.items():
        one, ledger = made(), Ledger()
        [*_, last] = federated_rounds(one, HEAD, FAST, ledger=ledger)
        assert len(ledger) == FAST.clients * FAST.rounds * FAST.local_steps and one.name == task.name
        steps = FAST.rounds * FAST.local_steps
        assert last.epsilon == composed_epsilon(((0.3, last.noise_multiplier, steps),), FAST.delta)
        assert 0.9 * FAST.epsilon < last.epsilon <= FAST.epsilon
        assert {kind for kind, _ in last.adapter.tensors} == {"head"} and math.isnan(last.aggregation_gap)
        list(save_rounds(one, HEAD, FAST, tmp_path / name))
        assert identical(load_adapter(tmp_path / name / "adapter", one), last.adapter)
        assert ("public inputs" in statement(tmp_path / name).text) is public


def test_a_linear_model_takes_nothing_from_other_samples():
    """Without public inputs each sample stands by itself; with them all are moved and scaled alike, by those alone."""
    task = swin_task()
    fewer = replace(task, train=task.train.select(torch.arange(5)))
    for (_, one), (_, other) in zip(linear_views(task).items(), linear_views(fewer).items(), strict=True):
        assert torch.equal(one().train.inputs["x"][:5], other().train.inputs["x"])
        assert torch.allclose(one().train.inputs["x"].norm(dim=1), torch.tensor(8.0))
    public = with_public(task)
    model = linear_views(public)[LINEAR]().backbone
    flat = public.public["x"].flatten(1)
    centred = (flat - flat.mean(0)) * model.scale
    assert torch.allclose(model.mean, flat.mean(0), atol=1e-5) and float(centred.norm(dim=1).mean()) == pytest.approx(
        8, rel=1e-4
    )


def test_words_are_scikit_learns_hashes():
    from sklearn.feature_extraction.text import HashingVectorizer

    task = replace(roberta_task(), decode=lambda inputs: [f"a text of {row.tolist()}" for row in inputs["input_ids"]])
    one = linear_views(task)[LINEAR]()
    wanted = HashingVectorizer(n_features=BUCKETS).transform(task.decode(task.train.inputs)).toarray()
    assert np.allclose(one.prepare(one.train.inputs)["x"].numpy(), 8 * wanted, atol=1e-5)


def test_without_targets_no_factor_can_train():
    task = linear_views(swin_task())[LINEAR]()
    with pytest.raises(ValueError, match=r"has no targets: la-lora adapts nothing.*head-only"):
        federated_rounds(task, METHODS["la-lora"], FAST)


def test_digits_on_pixels_is_ahead_of_chance_by_far():
    """A private linear model on the embedded digits, small and seeded."""
    [*_, last] = federated_rounds(
        linear_views(load_task("digits"))[HOG](), HEAD, replace(FAST, delta=1e-5, head_learning_rate=1.0)
    )
    assert last.accuracy > 0.5
