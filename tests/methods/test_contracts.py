"""One contract for every method: what its average keeps, what it may see, and that it runs, resumes and is charged."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lalora_kit import federated, local, methods
from lalora_kit.auditing.attack import audit
from lalora_kit.engine.adapters import Adapter, create, unstack
from lalora_kit.engine.persample import Engine
from lalora_kit.federated import federated_rounds
from lalora_kit.methods import EVERY, GALLERY, Method, find_method
from lalora_kit.methods.algebra import as_plain_lora, moved
from lalora_kit.methods.personal import averaged, homes, models, stacked_at_home, with_homes
from lalora_kit.methods.wrappers import OPTIONS
from lalora_kit.privacy import Ledger
from lalora_kit.runs.adapterfile import load_adapter
from lalora_kit.runs.checkpoint import save_rounds
from tests.tiny import FAST, identical, linear_task

ALL = pytest.mark.parametrize("method", EVERY.values(), ids=EVERY)
TASK = linear_task()
WEIGHTS = [0.5, 0.3, 0.2]
#: Whose average of products is exact; of the others, how much it may lose here at most.
EXACT = {
    *("ffa-lora", "rolora", "head-only", "ffa-lora-qr", "fedsvd", "flora", "flora-unequal", "fedex", "rac-lora"),
    *("fed-sb", "fedask", "deer", "galore-mean", "dense-mean"),
}
NOT_EXACT = {
    "la-lora", "la-lora-nofilter", "dp-lora", "dp-lora-filter", "la-lora-gauge", "flexlora", "flexlora-unequal",
    "lora-fair",
}  # fmt: skip
#: Each client has its own product, and no mean of them is anybody's.
PERSONAL = {"fedsa", "fedsa-head"}


def begun(method: Method, seed: int, rank: int = 2, scale: float = 0.7) -> Adapter:
    """What the method's server sends in a round, in float64, with factors that have moved where they could have."""
    generator = np.random.default_rng(seed)
    drawn = create(TASK.backbone, TASK.targets, TASK.head, rank, scale, generator)
    first = method.begins(drawn, TASK.backbone, generator).map(Tensor.double)
    return method.opens(with_homes(first, method, 3), 1, generator)


def trains_until(method: Method, exchange: int = 0) -> tuple[frozenset[str], int]:
    """What trains before the first (0) or last (-1) exchange of a round of four steps, and its last step."""
    ends = [0, *sorted(method.exchanges(4))]
    first, last = (ends[0], ends[1]) if exchange == 0 else (ends[-2], ends[-1])
    return frozenset().union(*(method.trains(1, k) for k in range(first + 1, last + 1))), last


def trained_from(method: Method, sent: Adapter, seed: int, clients: int = 3, exchange: int = 0) -> list[Adapter]:
    """What clients could send back: what trains has moved at random, within what the method's chart lets through."""
    local, generator = stacked_at_home(sent, range(clients)), torch.Generator().manual_seed(seed)
    trained, last = trains_until(method, exchange)
    active = local.keys(trained)
    change = {key: torch.randn(local.tensors[key].shape, generator=generator, dtype=torch.float64) for key in active}
    if method.chart is not None:
        chart = method.chart(local, active)
        flat = chart.to(active, list(change.values()), torch.arange(clients))
        change = chart.back(dict(zip(active, flat, strict=True)))
    local = local.with_tensors({key: local.tensors[key] + value for key, value in change.items()})
    method.between(local, range(clients), 1, last + 1)
    return unstack(local, clients)


def mean_of_products(clients: list[Adapter], weights: list[float]) -> dict[str, Tensor]:
    products = [moved(client) for client in clients]
    return {name: sum(w * p[name] for w, p in zip(weights, products, strict=True)) for name in products[0]}


def lost(mean: Adapter, clients: list[Adapter], weights: list[float]) -> float:
    exact = mean_of_products(clients, weights)
    return max(float((moved(mean)[name] - value).norm() / value.norm().clamp_min(1e-300))
               for name, value in exact.items())  # fmt: skip


def test_the_lists_are_complete():
    assert EVERY.keys() == EXACT | NOT_EXACT | PERSONAL
    assert len(EXACT) + len(NOT_EXACT) + len(PERSONAL) == len(EVERY)
    assert {name for name, method in EVERY.items() if method.stays} == PERSONAL
    assert all(method.name == name and method.paper for name, method in EVERY.items())


@ALL
def test_a_method_is_a_plain_value(method):
    assert pickle.loads(pickle.dumps(method)) == method
    assert method.name in repr(method) and replace(method, name="mine") != method


def test_a_hook_is_part_of_what_a_run_is():
    """Another hook is another run; a method without any is known by what it was known by before there were hooks."""
    plain, hooked = EVERY["dp-lora"], replace(EVERY["dp-lora"], between=EVERY["flora-unequal"].between)
    one, two = (federated.make_plan(TASK, method, RUN, Ledger()) for method in (plain, hooked))
    assert one.run != two.run and two.identity.items() - one.identity.items() == {
        ("hook.between", two.identity["hook.between"])
    }
    assert not [name for name in one.identity if name.startswith("hook")]


@ALL
@pytest.mark.parametrize("seed", [0, 1])
def test_the_mean_of_products_is_exact_where_it_is_claimed_and_lost_where_not(method, seed):
    sent = begun(method, seed)
    clients = trained_from(method, sent, seed)
    trained, _ = trains_until(method)
    before = [client.map(Tensor.clone) for client in (*clients, sent)]
    mean = averaged(method, sent, range(3), clients, WEIGHTS, trained)
    assert all(identical(left, right) for left, right in zip((*clients, sent), before, strict=True))
    for (kind, name), value in mean.own().items():
        expected = sum(w * c.tensors[kind, name] for w, c in zip(WEIGHTS, clients, strict=True))
        if kind in method.stays:  # the server's is as it was begun, and each client's is its own, to the bit
            torch.testing.assert_close(value, sent.tensors[kind, name], rtol=1e-15, atol=1e-15)
            assert torch.equal(homes(mean)[kind, name], torch.stack([c.tensors[kind, name] for c in clients]))
        elif kind == "head" or (method.name in PERSONAL and kind == "A"):
            torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    if method.name in PERSONAL:
        return
    gap = 0.0 if method.name == "head-only" else lost(mean, clients, WEIGHTS)
    if method.name == "galore-mean":  # its dense step keeps what lies in the projection; see below
        return
    assert gap <= 1e-12 if method.name in EXACT else gap > 1e-3
    turned = method.aggregate(sent, clients[::-1], WEIGHTS[::-1], trained)
    for name, value in moved(mean).items():
        torch.testing.assert_close(moved(turned)[name], value, rtol=1e-12, atol=1e-12)


@ALL
def test_one_client_alone_keeps_its_weight(method):
    sent = begun(method, 3)
    if method.name == "galore-mean":  # a dense step keeps what lies in the projection
        sent = method.aggregate(sent, trained_from(method, sent, 3, clients=1), [1.0], method.trains(1, 1))
    [client] = trained_from(method, sent, 3, clients=1, exchange=-1 if method.name == "galore-mean" else 0)
    mean = averaged(method, sent, [0], [client], [1.0], trains_until(method)[0])
    [own, *_] = models(method, mean).values()
    for name, value in moved(client).items():
        torch.testing.assert_close(moved(own)[name], value, rtol=1e-12, atol=1e-12)


# ---- runs -------------------------------------------------------------------------------------------------------

RUN = replace(FAST, local_steps=4, participation=0.75)


@cache
def cost_of_a_run() -> tuple[float, int]:
    """ε and the number of releases of any run at these settings."""
    ledger = Ledger()
    *_, last = federated_rounds(TASK, EVERY["ffa-lora"], RUN, ledger=ledger)
    return last.epsilon, len(ledger)


@ALL
def test_a_run_stops_goes_on_is_charged_and_is_saved(method, tmp_path):
    whole = list(federated_rounds(TASK, method, RUN, ledger=(ledger := Ledger())))
    assert (whole[-1].epsilon, len(ledger)) == cost_of_a_run(), "a private step costs what it costs"
    walk = save_rounds(TASK, method, RUN, tmp_path)
    first = next(walk)
    walk.close()
    [last] = save_rounds(TASK, method, RUN, tmp_path, resume=True)
    for one, two in zip(whole, (first, last), strict=True):
        assert identical(one.adapter, two.adapter)
        assert {**one.to_json(), "seconds": 0} == {**two.to_json(), "seconds": 0}
        assert all(torch.isfinite(value).all() for value in one.adapter.tensors.values())
    assert len(Ledger(tmp_path / "ledger.jsonl")) == cost_of_a_run()[1], "a resume releases nothing twice"
    made = models(method, last.adapter)
    assert len(made) == (RUN.clients if method.stays else 1)
    for name, model in made.items():
        place, scores = tmp_path / "adapter" / name, Engine(TASK, RUN.scale).predict(model, TASK.test.inputs)
        found = load_adapter(place, TASK)
        read = Engine(TASK, found.scale).predict(found, TASK.test.inputs)
        torch.testing.assert_close(read, scores, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(plain_peft(place), scores, rtol=1e-5, atol=1e-5)


def plain_peft(directory) -> Tensor:
    """What PEFT alone makes of the saved adapter on the test inputs."""
    import copy

    from peft import PeftModel

    model = PeftModel.from_pretrained(copy.deepcopy(TASK.backbone), str(directory)).eval()
    with torch.no_grad():
        return model(**TASK.test.inputs)


@ALL
def test_nothing_without_noise_reaches_the_server(method, monkeypatch):
    """Where what is released does not depend on the data, nothing that follows does: bit for bit, on other data."""
    plain = local.noised

    def noise_alone(plan, sums, keys, scales, t, k):
        return plain(plan, torch.zeros_like(sums), keys, scales, t, k)

    monkeypatch.setattr(local, "noised", noise_alone)
    seen: list[list[Adapter]] = []

    def watched(sent, clients, weights, trained):
        seen[-1].extend([sent, *clients])
        return method.aggregate(sent, clients, weights, trained)

    other = replace(TASK, train=replace(TASK.train, inputs={"x": TASK.train.inputs["x"].flip(0) * 3 + 1}))
    ends = []
    for task in (TASK, other):
        seen.append([])
        ends.append(list(federated_rounds(task, replace(method, aggregate=watched), RUN))[-1].adapter)
    assert len(seen[0]) == len(seen[1]) > 0
    assert all(identical(one, two) for one, two in zip(*seen, strict=True)) and identical(*ends)


@ALL
def test_the_order_of_clients_does_not_matter_in_a_run(method, monkeypatch):
    quiet = replace(RUN, epsilon=float("inf"), rounds=1, participation=1.0)
    [r] = federated_rounds(TASK, method, quiet)
    plain = federated.make_plan

    def turned(*given):
        plan = plain(*given)
        return replace(plan, schedule=tuple(clients[::-1] for clients in plan.schedule))

    monkeypatch.setattr(federated, "make_plan", turned)
    [other] = federated_rounds(TASK, method, quiet)
    assert other.participants == r.participants[::-1]
    for one, two in zip(*(models(method, each.adapter).values() for each in (r, other)), strict=True):
        for name, value in moved(one).items():
            torch.testing.assert_close(moved(two)[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", [*EVERY.values(), find_method("dp-lora+tangent+flat")], ids=lambda m: m.name)
def test_a_client_makes_by_itself_what_it_makes_among_others(method):
    """Over the seam: a site is a side with one client, and the server's part sees uploads alone."""
    plan = federated.make_plan(TASK, method, RUN, Ledger())
    run = federated.Run(TASK, method, RUN, plan, Engine(TASK, RUN.scale), Ledger(), None)
    server = method.opens(plan.start, 1, plan.streams.generator("opens", 0, 1))
    for steps in method.segments(RUN.local_steps):
        together = federated.Side(run).uploads(server, 1, steps)
        for client, adapter in zip(together.clients, together.adapters, strict=True):
            site = federated.Side(replace(run, plan=replace(plan, schedule=((client,),) * RUN.rounds)))
            [alone] = site.uploads(server, 1, steps).adapters
            for key, value in alone.own().items():
                torch.testing.assert_close(adapter.tensors[key], value, rtol=1e-4, atol=1e-5)
        trained = method.factors(1, steps)
        weights = plan.weights(together.clients)
        server = averaged(method, server, together.clients, together.adapters, weights, trained)


@pytest.mark.parametrize("method", GALLERY.values(), ids=GALLERY)
def test_the_audit_hears_a_canary_and_contradicts_nothing(method):
    """At 99.9 %, seed 1: a right loop is contradicted once in a thousand times at most."""
    found = audit(method, trials=600, seed=1, confidence=0.999)
    assert not found.contradicts and found.epsilon == pytest.approx(3, rel=0.01)
    heard, blank = found.scores[found.held], found.scores[~found.held]
    error = (heard.var() / len(heard) + blank.var() / len(blank)) ** 0.5
    assert heard.mean() - blank.mean() > 5 * error, "it hears nothing, so that passing says nothing"


def test_a_merged_base_goes_into_the_factors_of_the_file():
    [adapter] = [list(federated_rounds(TASK, EVERY["flora"], RUN))[-1].adapter]
    plain = as_plain_lora(adapter)
    assert {kind for kind, _ in plain.tensors} == {"A", "B", "head"} and plain.scale == 1.0
    for name, value in moved(adapter).items():
        torch.testing.assert_close(moved(plain)[name], value, rtol=1e-5, atol=1e-6)
    assert len(plain.tensors["A", "body"]) > RUN.rank
    begun_ = list(federated_rounds(TASK, EVERY["dp-lora"], RUN))[-1].adapter
    assert identical(as_plain_lora(begun_), begun_)


# ---- the page ---------------------------------------------------------------------------------------------------


def row(method: Method) -> str:
    about = method.about
    said = (about.does, about.trains, about.sends, about.exact, about.sums, about.privacy, method.paper, about.changed)
    return f"| `{method.name}` | {' | '.join(said)} |"


@ALL
def test_the_page_of_methods_says_what_each_says_of_itself(method):
    assert all(vars(method.about).values()), "say it all"
    assert "|" not in "".join(vars(method.about).values())
    assert row(method) in (Path(methods.__file__).parent / "README.md").read_text("utf-8").splitlines()


def test_the_page_of_methods_names_no_other():
    page = (Path(methods.__file__).parent / "README.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)) == EVERY.keys()
    assert set(re.findall(r"^- `\+(\w+)`", page, re.MULTILINE)) == OPTIONS.keys()
