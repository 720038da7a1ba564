"""Presets: the paper's experiments by name, with the settings that are known of it and what was chosen.

    lalora presets                               all of them
    lalora presets paper/swin-t-cifar100         one, with its noise at ε = 3, 2 and 1
    lalora train --preset paper/swin-t-cifar100 --epsilon 1

A preset is a task, a backbone and some of `Settings`; whatever is given beside it wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lalora_kit.base.checks import near
from lalora_kit.base.machine import bf16_in_hardware

EPSILONS = (3.0, 2.0, 1.0)  # the paper's

#: Training samples of each task, as the data's own cards tell; only `noise` uses them, a run counts its own.
SAMPLES = {
    "cifar100": 50_000,
    "tiny-imagenet": 100_000,
    "glue/sst2": 67_349,
    "glue/qnli": 104_743,
    "glue/qqp": 363_846,
    "glue/mnli": 392_702,
}

#: Tasks that a preset's backbone serves, by the first word of its name; on another one the task's own is taken.
SAME_DATA = {
    "swin": ("cifar100", "tiny-imagenet"),
    "FacebookAI/roberta-base": ("glue/sst2", "glue/qnli", "glue/qqp", "glue/mnli", "glue/mnli-mm"),
}

COMMON: Mapping[str, Any] = MappingProxyType(
    {"epsilon": 3.0, "delta": 1e-5, "clip_norm": 1.0, "rounds": 100, "local_steps": 20, "batch_size": 16.0}
)
VISION: Mapping[str, Any] = MappingProxyType(
    {
        **COMMON, "rank": 16, "alpha": 16.0, "clients": 8, "participation": 0.5, "dirichlet_beta": 0.1,
        "optimizer": "sgd", "learning_rate": 0.1, "head_learning_rate": 0.1, "lr_decay": 0.99, "weight_decay": 1e-3,
    }
)  # fmt: skip
LANGUAGE: Mapping[str, Any] = MappingProxyType(
    {
        **COMMON, "rank": 8, "alpha": 8.0, "clients": 20, "participation": 0.2, "dirichlet_beta": 0.8,
        "optimizer": "adamw", "learning_rate": 2e-4, "head_learning_rate": 2e-4, "weight_decay": 1e-2,
    }
)  # fmt: skip

#: What holds for every preset. The sources are the paper's abstract and notes on it, and its official code.
CHOICES = (
    "δ, ε, rank, clients and β are the paper's; optimiser, rates, decay, rounds T=100, local steps K=20 and batch 16 "
    "are the defaults of its official code (one README example has K=50).",
    "clip_norm: the code's default is 0.2, its README has 1.0, and it clips the batch's gradient at a threshold that "
    "depends on the data; here C=1.0, for each sample.",
    "Noise: the code's σ (0.2; README 0.1) is not tied to any ε; here σ is calibrated to ε, for the client that joins "
    "most rounds, with no credit for the sampling of clients.",
    "Batches: 16 is what a client expects to draw (Poisson, q = 16/n_i); the code draws shuffled batches of just 16.",
    "The server weighs clients by their samples; the paper takes the plain mean.",
    "Dropout is 0.05 in the code and off here; pictures are resized whole to the backbone's size, not augmented.",
    "The head's rate is the adapter's, and no seed is set (the code's is 42): with a seed the noise is known.",
)
VISION_CHOICES = ("Weights are those that timm takes for the backbone's name; which ones the paper took is not known.",)
LANGUAGE_CHOICES = (
    "alpha: the paper says α = r = 8, its code takes α = 2r for RoBERTa; here 8.",
    "Labels of GLUE's test split are hidden: accuracy is on the validation split (MNLI: matched; for mismatched give "
    "--task glue/mnli-mm).",
)


@dataclass(frozen=True)
class Preset:
    """An experiment of the paper: what is learnt on what, `settings` as keywords of `Settings`, and the choices made.

    Its device and precision are the machine's best: see `best_of`.
    """

    name: str
    task: str
    backbone: str
    settings: Mapping[str, Any] = field(repr=False)
    choices: tuple[str, ...] = field(repr=False)

    @property
    def source(self) -> dict[str, str]:
        """What `load_source` takes."""
        return {"task": self.task, "backbone": self.backbone}


def table() -> dict[str, Preset]:
    """All presets by name."""
    swin = {"swin-t": "swin_tiny_patch4_window7_224", "swin-b": "swin_base_patch4_window7_224"}
    vision = [
        Preset(f"paper/{short}-{task}", task, model, VISION, (*CHOICES, *VISION_CHOICES))
        for task in ("cifar100", "tiny-imagenet")
        for short, model in swin.items()
    ]
    language = [
        Preset(
            f"paper/roberta-base-{of}", f"glue/{of}", "FacebookAI/roberta-base", LANGUAGE, (*CHOICES, *LANGUAGE_CHOICES)
        )
        for of in ("sst2", "qnli", "qqp", "mnli")
    ]
    return {preset.name: preset for preset in (*vision, *language)}


PRESETS = table()


def find_preset(name: str) -> Preset:
    """A preset by name; `ValueError` with the nearest ones if there is none of it."""
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is unknown; {near(name, PRESETS)}choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def combined(preset: Preset, given: Mapping[str, Any]) -> dict[str, Any]:
    """The preset's task, backbone and settings under what is `given`, which wins.

    A sample rate takes the place of the preset's batch size; a task of the other kind brings its own backbone.
    """
    values = {**best_of(given.get("device")), **preset.source, **preset.settings}
    if "sample_rate" in given:
        del values["batch_size"]
    if given.get("task", preset.task) not in SAME_DATA[preset.backbone.split("_")[0]]:
        del values["backbone"]
    return {**values, **given}


def laid_under(name: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """`combined`, and the line that says so; `ValueError` where `given` names data of one's own as well."""
    from lalora_kit.tasks.own.sources import OWN

    own = [option for option in OWN if option in given]
    if own:
        raise ValueError(
            f"--preset {name} and --{own[0]} are both given, and each names the data; leave one of them out"
        )
    values = combined(find_preset(name), given)
    besides = ", ".join(f"{option}={value}" for option, value in given.items()) or "nothing else"
    where = f"{values.get('backbone', 'its own backbone')}, {values['device']}, {values['precision']}"
    return values, f"preset {name}: {values['task']} on {where}; given besides: {besides}"


def best_of(device: str | None = None) -> dict[str, str]:
    """Device and precision: CUDA where there is one, and bf16 where the device multiplies it itself; else float32."""
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return {"device": device, "precision": "bf16" if bf16_in_hardware(device) else "fp32"}


def noise(preset: Preset) -> dict[float, float]:
    """σ at each ε of the paper for a client of mean size, from public sizes alone; no data are loaded.

    The client is taken to join participation times rounds. A run calibrates every client by its own size, for the
    one that joins most rounds, so that its σ are spread around these and a little larger.
    """
    from lalora_kit.privacy import noise_multiplier

    s = preset.settings
    rate = s["batch_size"] / (SAMPLES[preset.task] / s["clients"])
    steps = round(s["participation"] * s["rounds"]) * s["local_steps"]
    return {epsilon: noise_multiplier(epsilon, s["delta"], rate, steps) for epsilon in EPSILONS}


def described(preset: Preset) -> str:
    """Everything about a preset, as lines of text."""
    s = preset.settings
    size = SAMPLES[preset.task] / s["clients"]
    sigmas = ", ".join(f"{sigma:.3f} at ε={epsilon:g}" for epsilon, sigma in noise(preset).items())
    return "\n".join(
        [
            f"{preset.name}: {preset.task} on {preset.backbone}",
            *(
                f"  {name} = {value:g}" if isinstance(value, float) else f"  {name} = {value}"
                for name, value in s.items()
            ),
            "  device, precision = cuda where there is one, else cpu; bf16 where that multiplies it itself, else fp32",
            f"σ: {sigmas}, for a client of {size:.0f} samples (the mean of {SAMPLES[preset.task]:,}, as the data's "
            f"card tells, over {s['clients']} clients; q = {s['batch_size'] / size:.5f}) that joins "
            f"{s['participation']:.0%} of {s['rounds']} rounds; smaller clients get more",
            *(f"- {choice}" for choice in preset.choices),
        ]
    )
