"""Swin-pico-32, the backbone of task `mnist`: timm's Swin behind a small convolutional stem, for 32×32 grey pixels.

Four convolutions make 4×4 patches of the picture; one window holds them all, and three blocks of attention and MLP, 96
wide, look at it. The stem carries no adapter, so no gradient goes back through it: that is what makes a round cheap.
Convolutions before attention help a small transformer that is trained on little (Xiao et al. 2021, arXiv 2106.14881).
"""

from __future__ import annotations

from torch import Tensor, nn

from lalora_kit.tasks.embedded.camera import SIDE

WEIGHTS = "swin_pico_32.safetensors"
WIDTH, DEPTH, STEM = 96, 3, (32, 48, 48)
#: Public constants, never computed from private data: they map pixels from [0, 1] to [-1, 1].
MEAN, STD = 0.5, 0.5
TARGETS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def build(classes: int) -> nn.Module:
    """The architecture, freshly drawn from torch's global stream: 0.3 million parameters, no dropout."""
    from timm.models.swin_transformer import SwinTransformer

    model = SwinTransformer(
        img_size=SIDE,
        patch_size=8,
        in_chans=1,
        num_classes=classes,
        embed_dim=WIDTH,
        depths=(DEPTH,),
        num_heads=(WIDTH // 16,),
        window_size=4,
        mlp_ratio=2.0,
        drop_path_rate=0.0,
    )
    first, second, third = STEM
    model.patch_embed.proj = nn.Sequential(  # (n, 1, 32, 32) -> (n, 96, 4, 4), in place of one cut into patches
        nn.Conv2d(1, first, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(second, third, 3, stride=1, padding=1),
        nn.GELU(),
        nn.Conv2d(third, WIDTH, 3, stride=2, padding=1),
    )
    return model


def normalise(images: Tensor) -> Tensor:
    """Grey values in [0, 1] to the range that the backbone was pretrained on."""
    return (images - MEAN) / STD


def targets_of(model: nn.Module) -> tuple[str, ...]:
    """Where LoRA goes: the four linear layers of every block."""
    return tuple(name for name, _ in model.named_modules() if name.endswith(TARGETS))
