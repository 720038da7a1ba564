"""A simulated camera: sheets of 28×28 pixels, photographed askew, from too far off, in poor light.

Only +, −, × and ÷ on float32, which IEEE 754 fixes to the last bit, and raw numbers of PCG64, which numpy promises to
keep. So the same sheets give the same bytes on every machine and in every version.
"""

from __future__ import annotations

import numpy as np

#: Sides in pixels: of a sheet, and of a photograph.
SHEET, SIDE = 28, 32
#: k: a sheet is turned by up to k rad and made smaller by up to 1 + k; the other numbers hold at every k.
ASKEW = 0.45
SHIFT, SLOPE, GLARE, INK, GRAIN = 0.35, 0.2, 0.25, (0.5, 0.9), 0.05
CHUNK = 500
GRAIN_SPREAD = 37837.0  # standard deviation of a sum of four even 16-bit numbers, 65536·√(4/12)


def photograph(sheets: np.ndarray, seed: int, askew: float = ASKEW) -> np.ndarray:
    """Photographs `(n, 32, 32)` of `sheets` `(n, 28, 28)`, both uint8; sheet i's own draw depends on `seed` and i.

    Turned by up to `askew` rad, made smaller by up to 1 + `askew`, shifted by up to .35·`askew` of half the width, ink
    at .5 to .9 of itself, light that slopes by up to .2 a half width and lifts all by up to .25, grain of .05 (standard
    deviation); then cut to [0, 1] and rounded to bytes.
    """
    pose = np.random.PCG64(seed)
    noise = np.random.PCG64(seed + 1)
    shots = [_shoot(sheets[at : at + CHUNK], pose, noise, askew) for at in range(0, len(sheets), CHUNK)]
    return np.concatenate(shots) if shots else np.zeros((0, SIDE, SIDE), np.uint8)


def upright(sheets: np.ndarray) -> np.ndarray:
    """The same sheets `(n, 28, 28)` in the middle of `(n, 32, 32)`, and nothing else done to them."""
    margin = (SIDE - SHEET) // 2
    return np.pad(sheets, ((0, 0), (margin, margin), (margin, margin)))


def _shoot(sheets: np.ndarray, pose: np.random.PCG64, noise: np.random.PCG64, askew: float) -> np.ndarray:
    """One chunk of photographs."""
    n = len(sheets)
    turn, zoom, right, down, slope_x, slope_y, glare, ink = _even(pose, 8 * n).reshape(n, 8).T[:, :, None, None]
    half = (2 * turn - 1) * np.float32(_half_tangent(askew))
    far = 1 + np.float32(askew) * zoom
    cosine, sine = (1 - half * half) / (1 + half * half) * far, 2 * half / (1 + half * half) * far
    place = (2 * np.arange(SIDE, dtype=np.float32) + 1) / np.float32(SIDE) - 1
    across, up = place[None, None, :], place[None, :, None]
    reach = np.float32(2 * SHIFT * askew)
    x = cosine * across - sine * up + reach * (right - np.float32(0.5))
    y = sine * across + cosine * up + reach * (down - np.float32(0.5))
    strokes = _between(sheets, x, y)
    light = np.float32(2 * SLOPE) * ((slope_x - np.float32(0.5)) * across + (slope_y - np.float32(0.5)) * up)
    light = np.maximum(light + np.float32(GLARE) * glare, 0)
    shot = strokes * (np.float32(INK[0]) + np.float32(INK[1] - INK[0]) * ink) + light + _grain(noise, (n, SIDE, SIDE))
    return (np.minimum(np.maximum(shot, 0), 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _half_tangent(angle: float) -> float:
    """tan(angle/2) by its series to the seventh order: no library's tangent, which may differ in the last bit."""
    t = angle / 2
    return t + t**3 / 3 + 2 * t**5 / 15 + 17 * t**7 / 315


def _even(bits: np.random.PCG64, count: int) -> np.ndarray:
    """Even draws from [0, 1): the upper 24 bits of each raw number."""
    return (bits.random_raw(count) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)


def _grain(bits: np.random.PCG64, shape: tuple[int, ...]) -> np.ndarray:
    """Bell-shaped grain: four 16-bit numbers of each raw one, summed."""
    lanes = bits.random_raw(int(np.prod(shape))).view(np.uint16).reshape(*shape, 4)
    total = lanes.sum(-1, dtype=np.int32) - 2 * 65535
    return total.astype(np.float32) * np.float32(GRAIN / GRAIN_SPREAD)


def _between(sheets: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ink in [0, 1] at places `x`, `y` (±1 is the photograph's edge), bilinear, 0 beyond the sheet."""
    half, rim = np.float32(SIDE / 2), np.float32(SHEET / 2 + 0.5)  # one pixel of nothing lies around the sheet
    padded = np.pad(sheets, ((0, 0), (1, 1), (1, 1))).astype(np.float32) / np.float32(255)
    x, y = (np.minimum(np.maximum(half * value + rim, 0), np.float32(SHEET + 0.999)) for value in (x, y))
    left, top = x.astype(np.int32), y.astype(np.int32)
    x, y = x - left.astype(np.float32), y - top.astype(np.float32)
    wide = SHEET + 2
    at = (np.arange(len(sheets), dtype=np.int32) * wide * wide)[:, None, None] + top * wide + left
    flat = padded.reshape(-1)
    upper = flat[at] * (1 - x) + flat[at + 1] * x
    lower = flat[at + wide] * (1 - x) + flat[at + wide + 1] * x
    return upper * (1 - y) + lower * y
