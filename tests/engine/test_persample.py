"""The engine against its oracle: one sample at a time, plain autograd, on a plain model with merged weights."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from lalora_kit.engine.adapters import Adapter
from lalora_kit.engine.persample import Engine, LoraLinear
from lalora_kit.privacy import clipped_sum
from lalora_kit.tasks import Split, Task, logits
from tests.tiny import ARCHITECTURES, TwoLayers, linear_task, random_adapter, stacked, task_of

RANK, SCALE, CLIENTS, SAMPLES = 3, 0.7, 3, 5
FACTORS = {"A": {"A"}, "B": {"B"}, "both": {"A", "B"}, "none": set()}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@cache
def task(architecture: str) -> Task:
    return task_of(architecture)


@cache
def adapters(architecture: str) -> tuple[Adapter, ...]:
    return tuple(random_adapter(task(architecture), RANK, SCALE, seed=client) for client in range(CLIENTS))


@cache
def engine(architecture: str, dtype: torch.dtype) -> Engine:
    return Engine(task(architecture), SCALE, dtype=dtype)


def one_sample(task: Task, adapter: Adapter, index: int) -> dict[tuple[str, str], Tensor]:
    """The oracle, in float64: gradients of one sample's loss with respect to A, B and head of W0 + s·B·A."""
    leaves = {key: value.double().requires_grad_() for key, value in adapter.tensors.items()}
    weights = {name: value.double() for name, value in task.backbone.state_dict().items() if value.is_floating_point()}
    for name in task.targets:
        weights[f"{name}.weight"] = weights[f"{name}.weight"] + SCALE * leaves["B", name] @ leaves["A", name]
    for (kind, name), value in leaves.items():
        if kind == "head":
            weights[f"{task.head}.{name}"] = value
    sample = task.train.select(torch.tensor([index]))
    inputs = {n: v.double() if v.is_floating_point() else v for n, v in sample.inputs.items()}
    output = functional_call(task.backbone, weights, kwargs=inputs, args=())
    output = output if isinstance(output, Tensor) else output.logits
    gradients = torch.autograd.grad(F.cross_entropy(output, sample.labels), list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True))


@cache
def oracle(architecture: str, client: int, index: int) -> dict[tuple[str, str], Tensor]:
    return one_sample(task(architecture), adapters(architecture)[client], index)


def worst_error(
    architecture: str, dtype: torch.dtype, kind: str, mix: list[tuple[int, int]], chunk: int | None
) -> float:
    """Largest ‖Δ‖ / ‖reference‖ over samples and tensors, for a mix of (client, sample) pairs."""
    machine, stack = engine(architecture, dtype), stacked(list(adapters(architecture))).map(lambda v: v.to(dtype))
    active = stack.keys(FACTORS[kind])
    batch = task(architecture).train.select(torch.tensor([index for _, index in mix], dtype=torch.long))
    inputs = {n: v.to(dtype) if v.is_floating_point() else v for n, v in batch.inputs.items()}
    owner = torch.tensor([client for client, _ in mix], dtype=torch.long)
    machine.max_samples = chunk
    errors, seen = [0.0], 0
    for part, gradients in machine.gradients(stack, active, inputs, batch.labels, owner):
        assert part.tolist() == owner[seen : seen + len(part)].tolist()
        assert len(part) <= (chunk or len(mix))
        for key, gradient in zip(active, gradients, strict=True):
            assert gradient.dtype == dtype
            assert gradient.shape == (len(part), *stack.tensors[key].shape[1:])
            for row, value in enumerate(gradient):
                client, index = mix[seen + row]
                expected = oracle(architecture, client, index)[key]
                errors.append(float((value.double() - expected).norm() / expected.norm()))
        seen += len(part)
    assert seen == len(mix)
    return max(errors)


EVERYONE = [(client, index) for index in range(SAMPLES) for client in range(CLIENTS)]


@pytest.mark.parametrize("kind", ["A", "B", "both", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_per_sample_equal_a_loop_over_single_samples(architecture, dtype, kind):
    assert worst_error(architecture, dtype, kind, EVERYONE, None) <= TOLERANCE[dtype]


@pytest.mark.parametrize("chunk", [1, 3, 4, 15])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_chunk_size_gives_the_same_gradients(architecture, chunk):
    assert worst_error(architecture, torch.float64, "both", EVERYONE, chunk) <= 1e-10
    assert worst_error(architecture, torch.float32, "both", EVERYONE, chunk) <= 1e-5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=15)
@given(
    mix=st.lists(st.tuples(st.integers(0, CLIENTS - 1), st.integers(0, SAMPLES - 1)), max_size=9),
    chunk=st.sampled_from([None, 1, 2, 5]),
    kind=st.sampled_from(sorted(FACTORS)),
)
def test_any_ragged_mix_of_clients_in_any_order(architecture, mix, chunk, kind):
    assert worst_error(architecture, torch.float64, kind, mix, chunk) <= 1e-10


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_empty_draw_yields_nothing(architecture):
    assert worst_error(architecture, torch.float32, "B", [], None) == 0.0


def test_the_oracle_can_fail():
    """A wrong scale, the kind of slip the comparison exists for, is far outside the tolerance."""
    machine = Engine(task("swin"), SCALE * 1.01, dtype=torch.float64)
    stack = stacked(list(adapters("swin"))).map(Tensor.double)
    batch = task("swin").train.select(torch.tensor([0]))
    inputs = {"x": batch.inputs["x"].double()}
    keys = stack.keys({"B"})
    [(_, gradients)] = machine.gradients(stack, keys, inputs, batch.labels, torch.tensor([0]))
    expected = oracle("swin", 0, 0)[keys[0]]
    assert float((gradients[0][0] - expected).norm() / expected.norm()) > 1e-3


class LinearPair(nn.Module):
    """LoRA as Opacus understands it: two more linear layers beside the frozen one."""

    def __init__(self, frozen: nn.Linear, A: Tensor, B: Tensor) -> None:
        super().__init__()
        self.frozen = frozen
        self.A = nn.Linear(A.shape[1], A.shape[0], bias=False)
        self.B = nn.Linear(B.shape[1], B.shape[0], bias=False)
        self.A.weight, self.B.weight = nn.Parameter(A.clone()), nn.Parameter(B.clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(x) + SCALE * self.B(self.A(x))


def opacus_gradients(architecture: str, indices: list[int]) -> dict[tuple[str, str], Tensor]:
    import copy

    from opacus import GradSampleModule

    task_, adapter = task(architecture), adapters(architecture)[0]
    model = copy.deepcopy(task_.backbone).double()
    for name in task_.targets:
        pair = LinearPair(model.get_submodule(name), adapter.tensors["A", name], adapter.tensors["B", name])
        model.set_submodule(name, pair.double())
    for name, value in adapter.of("head").items():
        parameter = model.get_submodule(task_.head).get_parameter(name)
        parameter.data.copy_(value)
        parameter.requires_grad_()
    wrapped = GradSampleModule(model, loss_reduction="sum")
    for module in model.modules():  # Opacus records nothing in eval mode; dropout must stay off
        if isinstance(module, nn.Linear):
            module.train()
    batch = task_.train.select(torch.tensor(indices))
    inputs = {n: v.double() if v.is_floating_point() else v for n, v in batch.inputs.items()}
    F.cross_entropy(logits(wrapped, inputs), batch.labels, reduction="sum").backward()
    gradients = {}
    for name in task_.targets:
        for kind in "AB":
            gradients[kind, name] = getattr(model.get_submodule(name), kind).weight.grad_sample
    for name in adapter.of("head"):
        gradients["head", name] = model.get_submodule(task_.head).get_parameter(name).grad_sample
    return gradients


OPACUS_HOOKS = "ignore:Full backward hook is firing when gradients are computed with respect to module outputs"


@pytest.mark.filterwarnings(OPACUS_HOOKS)
@pytest.mark.parametrize("architecture", ["vit", "roberta"])
def test_gradients_equal_opacus_where_opacus_is_right(architecture):
    indices = [0, 3, 1]
    theirs = opacus_gradients(architecture, indices)
    stack = stacked([adapters(architecture)[0]]).map(Tensor.double)
    active = stack.keys({"A", "B"})
    batch = task(architecture).train.select(torch.tensor(indices))
    inputs = {n: v.double() if v.is_floating_point() else v for n, v in batch.inputs.items()}
    machine = Engine(task(architecture), SCALE, dtype=torch.float64)
    [(_, ours)] = machine.gradients(stack, active, inputs, batch.labels, torch.zeros(3, dtype=torch.long))
    for key, gradient in zip(active, ours, strict=True):
        torch.testing.assert_close(gradient, theirs[key], rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings(OPACUS_HOOKS)
def test_windows_are_not_samples():
    """Swin folds an image into windows; a library that takes the first axis for samples sees four images."""
    first = task("swin").targets[0]
    assert len(opacus_gradients("swin", [0, 1, 2])["B", first]) == 12
    stack = stacked([adapters("swin")[0]])
    active = stack.keys({"A", "B"})
    batch = task("swin").train.select(torch.tensor([0, 1, 2]))
    machine = Engine(task("swin"), SCALE)
    [(_, ours)] = machine.gradients(stack, active, batch.inputs, batch.labels, torch.zeros(3, dtype=torch.long))
    assert {len(gradient) for gradient in ours} == {3}


@pytest.mark.parametrize("kind", ["A", "B", "none"])
def test_only_the_active_factor_is_differentiated(kind, monkeypatch):
    seen, plain = [], LoraLinear.forward

    def spy(self, x):
        seen.append((self.A.requires_grad, self.B.requires_grad))
        return plain(self, x)

    monkeypatch.setattr(LoraLinear, "forward", spy)
    stack = stacked(list(adapters("vit")))
    active = stack.keys(FACTORS[kind])
    assert {key[0] for key in active} == FACTORS[kind] | {"head"}
    batch = task("vit").train.select(torch.tensor([0, 1]))
    machine = Engine(task("vit"), SCALE)
    for _, gradients in machine.gradients(stack, active, batch.inputs, batch.labels, torch.tensor([0, 2])):
        assert len(gradients) == len(active)
    assert set(seen) == {(kind == "A", kind == "B")}
    assert not any(value.requires_grad for value in stack.tensors.values())
    assert not any(p.requires_grad for p in machine.model.parameters())


def test_gradient_mode_of_the_caller_is_left_alone():
    stack = stacked(list(adapters("vit")))
    batch = task("vit").train.select(torch.tensor([0, 1]))
    with torch.no_grad():
        walk = engine("vit", torch.float32).gradients(
            stack, stack.keys({"B"}), batch.inputs, batch.labels, torch.tensor([0, 0])
        )
        next(walk)
        assert not torch.is_grad_enabled()
        walk.close()


def test_the_gradient_of_A_is_zero_while_B_is():
    start = adapters("swin")[0]
    zero = start.with_tensors({("B", name): torch.zeros_like(value) for name, value in start.of("B").items()})
    stack = stacked([zero])
    batch = task("swin").train.select(torch.tensor([0, 1]))
    walk = Engine(task("swin"), SCALE).gradients(
        stack, [("A", name) for name in task("swin").targets], batch.inputs, batch.labels, torch.tensor([0, 0])
    )
    assert all(not gradient.any() for _, gradients in walk for gradient in gradients)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bf16_is_close_and_is_clipped_in_float32(architecture):
    stack = stacked(list(adapters(architecture)))
    active = stack.keys({"A", "B"})
    mix = [(client, index) for index in range(SAMPLES) for client in range(CLIENTS)]
    batch = task(architecture).train.select(torch.tensor([index for _, index in mix]))
    owner = torch.arange(len(mix))  # each sample its own row, so that a row is one clipped gradient
    clients = torch.tensor([client for client, _ in mix])
    machine = Engine(task(architecture), SCALE, precision="bf16")
    [(_, gradients)] = machine.gradients(stack, active, batch.inputs, batch.labels, clients)
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    for row, (client, index) in enumerate(mix):
        expected = torch.cat([oracle(architecture, client, index)[key].flatten() for key in active])
        value = torch.cat([gradient[row].double().flatten() for gradient in gradients])
        assert 0 < float((value - expected).norm() / expected.norm()) < 0.1  # bf16 keeps three digits
    sums, norms = clipped_sum(gradients, owner, len(owner), clip_norm=0.01)
    assert (norms > 0.01).all()
    assert float(sums.float().norm(dim=1).max()) <= 0.01


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_predictions_are_those_of_the_plain_merged_model(architecture):
    task_, adapter = task(architecture), adapters(architecture)[1]
    merged = {f"{n}.weight": task_.backbone.get_submodule(n).weight + d for n, d in adapter.products().items()}
    merged |= {f"{task_.head}.{name}": value for name, value in adapter.of("head").items()}
    output = functional_call(task_.backbone, merged, args=(), kwargs=task_.test.inputs)
    output = output if isinstance(output, Tensor) else output.logits
    machine = Engine(task_, SCALE)
    torch.testing.assert_close(machine.predict(adapter, task_.test.inputs), output, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(machine.predict(adapter, task_.test.inputs, chunk=5), output, rtol=1e-4, atol=1e-5)
    accuracy, loss = machine.evaluate(adapter, task_.test)
    assert accuracy == pytest.approx(float((output.argmax(1) == task_.test.labels).double().mean()))
    assert loss == pytest.approx(float(F.cross_entropy(output, task_.test.labels)), rel=1e-4)


def test_the_backbone_of_the_task_is_never_changed():
    before = {name: value.clone() for name, value in task("swin").backbone.state_dict().items()}
    Engine(task("swin"), SCALE, dtype=torch.float64)
    after = task("swin").backbone.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def task_with(backbone: nn.Module, targets: tuple[str, ...] = ("body",), head: str = "head") -> Task:
    split = Split({"x": torch.zeros(4, 6)}, torch.tensor([0, 1, 2, 0]))
    return Task("made", backbone, targets, head, split, split, ("a", "b", "c"))


class WithBatchNorm(TwoLayers):
    def __init__(self) -> None:
        super().__init__(6, 5, 3)
        self.norm = nn.BatchNorm1d(6)


class WithScaledHead(TwoLayers):
    def __init__(self) -> None:
        super().__init__(6, 5, 3)
        self.head = nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 3))


def test_batch_norm_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'norm' is a BatchNorm1d, which mixes the samples.*LayerNorm"):
        Engine(task_with(WithBatchNorm()), 1.0)


@pytest.mark.parametrize("targets", [("bodi",), ("body", "missing"), ("",), ("head",)])
def test_targets_that_match_no_linear_layer_are_refused_with_the_choices(targets):
    with pytest.raises(ValueError, match=r"matches no linear layer outside the head.*choose from body"):
        Engine(task_with(TwoLayers(6, 5, 3), targets), 1.0)


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="head 'top' matches no linear layer"):
        Engine(task_with(TwoLayers(6, 5, 3), head="top"), 1.0)


def test_a_head_parameter_without_a_rule_is_refused_and_never_skipped():
    with pytest.raises(ValueError, match=r"'0\.weight' belongs to no linear layer.*would leak"):
        Engine(task_with(WithScaledHead()), 1.0)


@pytest.mark.parametrize("bias", [True, False])
def test_a_head_without_bias_works(bias):
    made = linear_task()
    made.backbone.head = nn.Linear(5, 3, bias=bias)
    start = random_adapter(made, 2, SCALE, seed=0)
    stack, batch = stacked([start]), made.train.select(torch.tensor([0, 1]))
    walk = Engine(made, SCALE).gradients(stack, stack.keys({"B"}), batch.inputs, batch.labels, torch.tensor([0, 0]))
    [(_, gradients)] = walk
    assert len(gradients) == (3 if bias else 2)


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_on_cuda_equal_those_on_the_cpu(architecture):
    stack = stacked(list(adapters(architecture)))
    active = stack.keys({"A", "B"})
    batch = task(architecture).train.select(torch.arange(6))
    owner = torch.tensor([0, 1, 2, 2, 1, 0])
    [(_, here)] = Engine(task(architecture), SCALE, dtype=torch.float64).gradients(
        stack.map(Tensor.double), active,
        {n: v.double() if v.is_floating_point() else v for n, v in batch.inputs.items()}, batch.labels, owner,
    )  # fmt: skip
    there = Engine(task(architecture), SCALE, device="cuda", dtype=torch.float64)
    [(_, moved)] = there.gradients(
        stack.map(lambda v: v.double().cuda()), active,
        {n: v.double() if v.is_floating_point() else v for n, v in batch.inputs.items()}, batch.labels, owner,
    )  # fmt: skip
    for left, right in zip(here, moved, strict=True):
        torch.testing.assert_close(right.cpu(), left, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_evaluation_runs_in_bf16_where_training_does_and_its_logits_come_back_in_float32(architecture):
    task_, adapter = task(architecture), adapters(architecture)[1]
    half, full = Engine(task_, SCALE, precision="bf16"), Engine(task_, SCALE)
    seen: set[torch.dtype] = set()
    for lora in half.lora.values():
        lora.frozen.register_forward_hook(lambda _, given, y: seen.add(y.dtype))
    scores, exact = half.predict(adapter, task_.test.inputs), full.predict(adapter, task_.test.inputs)
    assert seen == {torch.bfloat16} and scores.dtype == torch.float32
    assert 0 < float((scores - exact).norm() / exact.norm()) < 0.1  # bf16 keeps three digits
    accuracy, loss = half.evaluate(adapter, task_.test)
    assert loss == float(F.cross_entropy(scores, task_.test.labels)) and 0 <= accuracy <= 1
