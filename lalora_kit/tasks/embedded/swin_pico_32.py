"""Swin-pico-32, the backbone of task `mnist`: timm's own Swin for 32×32 grey pixels, 0.19 million parameters.

It was pretrained on printed letters that lie upright in even light (`lalora_kit.tasks.assets.letters.pretrain`). How a
camera sees a sheet is left for the adapter to learn: a backbone that has seen photographs needs no adapter.
"""

from __future__ import annotations

from torch import nn

from lalora_kit.tasks.embedded.camera import SIDE
from lalora_kit.tasks.embedded.digits import shipped

WEIGHTS = "swin_pico_32.safetensors"
WIDTH, DEPTHS = 48, (1, 2)
TARGETS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def build(classes: int) -> nn.Module:
    """8×8 patches of 4×4 pixels in four windows, then 4×4 in one; one block, then two; no dropout."""
    from timm.models.swin_transformer import SwinTransformer

    return SwinTransformer(
        img_size=SIDE,
        patch_size=4,
        in_chans=1,
        num_classes=classes,
        embed_dim=WIDTH,
        depths=DEPTHS,
        num_heads=(WIDTH // 16, WIDTH // 8),
        window_size=4,
        mlp_ratio=2.0,
        drop_path_rate=0.0,
    )


def backbone(classes: int) -> nn.Module:
    """The shipped Swin-pico-32 with a fresh head for `classes` classes."""
    return shipped(build(classes), "lalora_kit.tasks.assets.letters", WEIGHTS)


def targets_of(model: nn.Module) -> tuple[str, ...]:
    """Where LoRA goes: the four linear layers of every block."""
    return tuple(name for name, _ in model.named_modules() if name.endswith(TARGETS))
