"""Full size: what a private step costs beside an ordinary one, by engine, clients, rank and batch; time and memory.

    python -m tests.benchmarks.scale                                  # all models: an hour on two cores
    python -m tests.benchmarks.scale --models swin-t roberta-base --pairs 3

Random weights of the real configuration, random inputs of the real size: what a step costs depends on neither. Each
ratio is the median over interleaved pairs with PEFT's own float32 step on the same samples, so that a busy machine
slows both. Each engine runs in a process of its own, whose growth in peak memory is given beside. What an engine gets
wrong or cannot do is a row as well. On CUDA where there is one, with the share of the card's bf16 rate that is reached.
Every row is appended to a JSON-lines file too, with what it was measured on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lalora_kit import load_task
from lalora_kit.base.files import append_line
from lalora_kit.base.machine import bf16_in_hardware
from lalora_kit.book.notebooks import made_with
from lalora_kit.engine.adapters import Adapter, create, stack
from lalora_kit.engine.persample import Engine
from lalora_kit.privacy import clipped_sum
from lalora_kit.tasks import Split, Task, logits
from tests.benchmarks.speed import forget_peak, kilobytes, peft_model

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
#: model -> rank and batch of the paper's settings; a pico takes what the notebooks do.
MODELS = {"swin-t": (16, 16), "swin-b": (16, 16), "roberta-base": (8, 16), "swin-pico": (4, 128)}
#: Those that the kit ships, and the embedded task that each belongs to.
PICOS = {"swin-pico": "digits", "roberta-pico": "stdlib-docs"}
RESULTS = Path(__file__).parent / "results" / "scale.jsonl"
Step = Callable[[], object]


def task_of(model: str, samples: int, depth: int | None = None) -> Task:
    """A task of random samples on the real architecture, or on one of so few blocks (a stage) as wide as those."""
    torch.manual_seed(0)
    labels = torch.arange(samples) % 2
    if model in PICOS:
        task = load_task(PICOS[model])
        batch = task.train.select(torch.arange(samples) % len(task.train))
        return Task(task.name, task.backbone, task.targets, task.head, batch, batch, task.classes)
    if model == "roberta-base":
        from transformers import RobertaConfig, RobertaForSequenceClassification

        config = RobertaConfig(  # type: ignore[call-arg]
            vocab_size=50265, max_position_embeddings=514, type_vocab_size=1,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_hidden_layers=depth or 12,
        )  # fmt: skip
        words = torch.randint(5, 50265, (samples, 128))
        mask = (torch.arange(128) < torch.randint(64, 129, (samples, 1))).long()
        inputs = {"input_ids": torch.where(mask.bool(), words, 1), "attention_mask": mask}
        ends = ("self.query", "self.key", "self.value", "output.dense", "intermediate.dense")
        backbone: nn.Module = RobertaForSequenceClassification(config)
        targets = [n for n, _ in backbone.named_modules() if n.startswith("roberta.encoder") and n.endswith(ends)]
        batch = Split(inputs, labels)
        return Task(model, backbone, tuple(targets), "classifier", batch, batch, ("a", "b"))
    import timm

    size = {"swin-t": "tiny", "swin-b": "base"}[model]
    depths = {} if depth is None else {"depths": (depth,) * 4}
    backbone = timm.create_model(f"swin_{size}_patch4_window7_224", num_classes=100, drop_path_rate=0.0, **depths)
    targets = [n for n, _ in backbone.named_modules() if n.endswith(("attn.qkv", "attn.proj"))]
    batch = Split({"x": torch.randn(samples, 3, 224, 224)}, labels)
    return Task(model, backbone, tuple(targets), "head.fc", batch, batch, tuple(map(str, range(100))))


def kit(task: Task, rank: int, clients: int, *, precision: str = "fp32", chunk: int | None = None) -> Step:
    """The kit's private step without its noise, which no engine is spared: gradients per sample, clipped, summed."""
    engine = Engine(task, 1.0, device=DEVICE, precision=precision, max_samples=chunk)
    local = stacked(task, rank, clients)
    active, owner = local.keys("AB"), torch.arange(len(task.train)) % clients
    data = task.train.to(DEVICE)

    def step() -> Tensor:
        chunks = engine.gradients(local, active, data.inputs, data.labels, owner)
        return sum((clipped_sum(gradients, part, clients, 1.0)[0] for part, gradients in chunks), torch.zeros(()))

    return step


def stacked(task: Task, rank: int, clients: int) -> Adapter:
    """The clients' tensors, B away from zero."""
    adapter = create(task.backbone, task.targets, task.head, rank, 1.0, np.random.default_rng(0))
    return stack(adapter.map(lambda value: (value + 0.01).to(DEVICE)), clients)


def in_turn(task: Task, rank: int, clients: int) -> Step:
    """One client after another."""
    places = torch.arange(len(task.train)) % clients
    parts = [task.train.select((places == client).nonzero()[:, 0]) for client in range(clients)]
    steps = [kit(Task(task.name, task.backbone, task.targets, task.head, part, part, task.classes), rank, 1)
             for part in parts]  # fmt: skip
    return lambda: [step() for step in steps]


def ordinary(task: Task, rank: int) -> Step:
    """PEFT's LoRA with the head and torch's SGD, not private."""
    model = peft_model(task, rank).to(DEVICE)
    data = task.train.to(DEVICE)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-6)

    def step() -> None:
        optimiser.zero_grad()
        F.cross_entropy(logits(model.base_model.model, data.inputs), data.labels).backward()  # type: ignore[operator, arg-type]
        optimiser.step()

    return step


def vmapped(task: Task, rank: int, clients: int) -> Step:
    """`torch.func`: the gradient of one sample's loss, vectorised over the samples."""
    engine, local = Engine(task, 1.0, device=DEVICE), stacked(task, rank, clients)
    active, owner, data = local.keys("AB"), torch.arange(len(task.train)) % clients, task.train.to(DEVICE)

    def loss(leaves: list[Tensor], rest: list[Tensor], inputs: dict[str, Tensor], label: Tensor) -> Tensor:
        tensors = dict(zip(local.tensors, rest, strict=True)) | dict(zip(active, leaves, strict=True))
        scores = engine.scores(tensors, {name: value[None] for name, value in inputs.items()})
        return F.cross_entropy(scores, label[None])

    def step() -> Tensor:
        mine = owner.to(DEVICE)
        copies = {key: value[mine] for key, value in local.tensors.items()}
        each = torch.func.vmap(torch.func.grad(loss), randomness="different")
        gradients = each([copies[key] for key in active], list(copies.values()), data.inputs, data.labels)
        return clipped_sum(gradients, mine, clients, 1.0)[0]

    return step


def opacus_hooks(task: Task, rank: int) -> Step:
    """Opacus' gradient samples by hooks, for one client."""
    from opacus import GradSampleModule

    inner = peft_model(task, rank).to(DEVICE)
    model, data = GradSampleModule(inner.train(), strict=False), task.train.to(DEVICE)  # in eval mode it hooks nothing

    def step() -> Tensor:
        model.zero_grad()
        scores = logits(model, data.inputs)
        F.cross_entropy(scores, data.labels, reduction="mean").backward()
        samples = [p.grad_sample for p in model.parameters() if p.requires_grad]
        rows = {len(value) for value in samples}
        if rows != {len(data)}:
            raise ValueError(f"wrong: {len(data)} samples have {sorted(rows)} rows of gradients (windows are counted)")
        return clipped_sum(samples, torch.zeros(len(data), dtype=torch.long, device=DEVICE), 1, 1.0)[0]

    return step


def opacus_ghost(task: Task, rank: int) -> Step:
    """Opacus' ghost clipping, for one client: norms first, then a second backward pass with weights."""
    from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    inner, data = peft_model(task, rank).to(DEVICE).train(), task.train.to(DEVICE)
    model = GradSampleModuleFastGradientClipping(inner, strict=False, max_grad_norm=1.0, use_ghost_clipping=True)
    optimiser = Zeroing(model)
    criterion = DPLossFastGradientClipping(model, optimiser, nn.CrossEntropyLoss(reduction="mean"), "mean")  # type: ignore[arg-type]

    def step() -> None:
        criterion(logits(model, data.inputs), data.labels).backward()

    return step


class Zeroing:
    """What ghost clipping asks of an optimiser."""

    loss_reduction = "mean"

    def __init__(self, model: nn.Module) -> None:
        self.zero_grad = model.zero_grad


def engines(task: Task, rank: int, clients: int) -> dict[str, Callable[[], Step]]:
    """Every way to take the step, by name."""
    return {
        "PEFT, not private": lambda: ordinary(task, rank),
        "kit, float32": lambda: kit(task, rank, clients),
        "kit, bf16": lambda: kit(task, rank, clients, precision="bf16"),
        "kit, one sample at a time": lambda: kit(task, rank, clients, chunk=1),
        "kit, clients in turn": lambda: in_turn(task, rank, clients),
        "vmap(grad)": lambda: vmapped(task, rank, clients),
        "Opacus, hooks, one client": lambda: opacus_hooks(task, rank),
        "Opacus, ghost, one client": lambda: opacus_ghost(task, rank),
    }


def measured(model: str, engine: str, rank: int, samples: int, clients: int, pairs: int) -> dict[str, Any]:
    """In this process: seconds of a step, its ratio to PEFT's, and the growth of peak memory in MiB; or what failed."""
    if "bf16" in engine and not bf16_in_hardware(DEVICE.type):
        return {"failed": "not measured: this device does not multiply bf16 itself"}
    task = task_of(model, samples)
    ways = engines(task, rank, clients)
    before = start_memory()
    try:
        step = ways[engine]()
        step()
    except Exception as error:
        # Whatever another engine cannot do is a result here.
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:110]}"}
    peak = grown_memory(before)
    plain = ways["PEFT, not private"]()
    plain()
    both = [(clock(step), clock(plain)) for _ in range(pairs)]
    seconds = statistics.median(a for a, _ in both)
    found = {"seconds": seconds, "ratio": statistics.median(a / b for a, b in both), "peak": peak}
    return found | ({"rate": flops(ways, samples) / seconds / bf16_rate()} if DEVICE.type == "cuda" else {})


def clock(step: Step) -> float:
    """Seconds of one call, the device's work included."""
    start = time.perf_counter()
    step()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def start_memory() -> float:
    """Peak memory is counted from here on; what is in use, in MiB."""
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    return forget_peak() / 1024


def grown_memory(before: float) -> float:
    """Growth of the peak in MiB."""
    now = torch.cuda.max_memory_allocated() / 2**20 if DEVICE.type == "cuda" else kilobytes("VmHWM") / 1024
    return now - before


def flops(ways: dict[str, Callable[[], Step]], samples: int) -> float:
    """Floating-point operations of PEFT's step, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    step = ways["PEFT, not private"]()
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def bf16_rate() -> float:
    """Operations a second of a large bf16 product on this card."""
    a = torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16)
    best = min(clock(lambda: a @ a) for _ in range(10))
    return 2 * 8192**3 / best


def row(out: Path, model: str, engine: str, rank: int, samples: int, clients: int, pairs: int) -> None:
    """Measure in a process of its own, print a line, and keep one."""
    case = json.dumps([model, engine, rank, samples, clients, pairs])
    command = [sys.executable, "-m", "tests.benchmarks.scale", "--case", case]
    done = subprocess.run(command, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.stderr[-110:]}
    asked = {"model": model, "engine": engine, "rank": rank, "samples": samples, "clients": clients, "pairs": pairs}
    append_line(out, {**asked, **found, "device": DEVICE.type, "threads": torch.get_num_threads(), **made_with()})
    line = f"| {model} | {engine} | {rank} | {samples} | {clients} | "
    if "failed" in found:
        print(f"{line}{found['failed']} | | | |", flush=True)
        return
    rate = f"{found['rate']:.0%}" if "rate" in found else ""
    print(
        f"{line}{found['ratio']:.2f} | {found['seconds']:.3f} | {samples / found['seconds']:.1f} | "
        f"{found['peak']:.0f} | {rate}",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--engines-only", action="store_true", help="leave the growth with clients, rank, batch out")
    parser.add_argument("--growth-only", action="store_true", help="leave the comparison of engines out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measured(*json.loads(options.case))))
        return
    where = torch.cuda.get_device_name() if DEVICE.type == "cuda" else platform.machine()
    print(f"{where}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("| model | engine | rank | samples | clients | over PEFT | s | samples/s | peak MiB | of bf16 |")
    print("|---" * 10 + "|")
    for model in options.models:
        rank, samples = MODELS[model]
        for engine in () if options.growth_only else engines(task_of(model, 2), rank, 2):
            row(options.out, model, engine, rank, samples, 1 if "one client" in engine else 8, options.pairs)
        if options.engines_only:
            continue
        for clients in (1, 2, 4, 8, 16, 32):
            row(options.out, model, "kit, float32", rank, max(samples, 32), clients, options.pairs)
        for wide in (1, 4, 32, 64):
            row(options.out, model, "kit, float32", wide, samples, 8, options.pairs)
        for batch in (4, 8, 32):
            row(options.out, model, "kit, float32", rank, batch, min(8, batch), options.pairs)


if __name__ == "__main__":
    main()
