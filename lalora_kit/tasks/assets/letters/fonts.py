"""Printed characters from open fonts: the public side of task `mnist`, drawn once, where the fonts are installed.

The fonts are Debian packages and matplotlib's own; `packages` lists each with its licence. At run time none is needed:
`printed.npz` holds what the task shows in public. Some of the fonts imitate handwriting; no digit is pretrained on.
"""

from __future__ import annotations

import itertools
import string
import subprocess
from pathlib import Path

import numpy as np
import torch

from lalora_kit.tasks.embedded.mnist import CHARACTERS

#: Debian's packages of fonts, by the licence of the fonts in them; without their `fonts-`.
OPEN = {
    "OFL-1.1": "bwht cabin cantarell cardo comfortaa comic-neue crosextra-carlito dancingscript dkg-handwriting dosis "
    "ecolier-court humor-sans junicode jura kaushanscript klee kristi lato leckerli-one lobster quicksand sil-andika "
    "sil-gentium tomsontalks yanone-kaffeesatz",
    "OFL-1.0": "breip inconsolata oldstandard",
    "Apache-2.0": "open-sans",
    "AGPL-3.0 with the font exception": "urw-base35",
    "GPL-2.0 with the font exception": "liberation",
    "GPL-2.0-or-later with the font exception, and OFL-1.1": "linuxlibertine",
    "GPL-3.0-or-later with the font exception": "freefont-ttf rufscript",
    "CC-BY-SA-3.0": "femkeklaver",
}
PACKAGES = {name: licence for licence, names in OPEN.items() for name in names.split()}
#: Symbol and display fonts of matplotlib, and fonts whose letters are other signs.
STRANGE = ("cmsy", "cmex", "cmmi", "Sizes", "NonUni", "Display", "D050000L", "StandardSymbols", "Dingbats", "Symbol")
#: Letters that differ by size alone are one class.
SAME = {letter: letter.upper() for letter in "ckmopsuvwxyz"}
CLASSES = tuple(sorted({SAME.get(letter, letter) for letter in string.ascii_letters}))
#: Sides in pixels: of a clean bitmap for pretraining and of its ink; and of a sheet as MNIST has it, and of its ink.
BANK, BANK_INK, SHEET, SHEET_INK = 40, 30, 28, 20
#: Every tenth font, from the eighth on, is kept out of pretraining, to tell how well it generalises.
EVERY, HELD_OUT = 10, 7


def font_files() -> list[Path]:
    """The fonts of `PACKAGES` and matplotlib's own, by name, without those of signs.

    Raises:
        FileNotFoundError: naming the packages that are not installed, and how to install them.
    """
    import matplotlib

    missing = [f"fonts-{name}" for name in PACKAGES if not listing(name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"fonts are missing, from which the weights are made: apt-get install {' '.join(missing)}"
        )
    found = [path for name in PACKAGES for path in of_package(name)]
    found += (Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("*.ttf")
    return sorted(
        (path for path in found if not any(word in path.name for word in STRANGE)), key=lambda path: path.name
    )


def listing(name: str) -> Path:
    """Where Debian lists the files of a package of fonts."""
    return Path(f"/var/lib/dpkg/info/fonts-{name}.list")


def of_package(name: str) -> list[Path]:
    """The fonts of a package, by name."""
    lines = listing(name).read_text(encoding="utf-8").splitlines()
    return sorted(path for path in map(Path, lines) if path.suffix in (".ttf", ".otf") and path.is_file())


def draw(character: str, font: Path, side: int, ink: int) -> np.ndarray | None:
    """A character, white on black, cut to its ink, scaled to `ink` pixels and centred; None where there is none."""
    from PIL import Image, ImageDraw, ImageFont

    face = ImageFont.truetype(str(font), 64, layout_engine=ImageFont.Layout.BASIC)
    sheet = Image.new("L", (192, 192))
    ImageDraw.Draw(sheet).text((64, 48), character, fill=255, font=face)
    box = sheet.getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < 3:
        return None
    cut = sheet.crop(box)
    scale = ink / max(cut.size)
    cut = cut.resize([max(1, round(scale * length)) for length in cut.size], Image.Resampling.BOX)
    bitmap = Image.new("L", (side, side))
    bitmap.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return np.asarray(bitmap)


def alphabet(characters: str, font: Path, side: int, ink: int) -> np.ndarray | None:
    """All `characters` of a font `(characters, side, side)`; None for one that lacks some, or has them alike."""
    try:
        drawn = [draw(character, font, side, ink) for character in characters]
    except OSError:  # no font that FreeType reads
        return None
    whole = [bitmap for bitmap in drawn if bitmap is not None]
    distinct = len({bitmap.tobytes() for bitmap in whole})
    return np.stack(whole) if len(whole) == len(characters) and distinct > 0.55 * len(characters) else None


def bank() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Letters for pretraining `(fonts·52, 40, 40)`, classes, and the fonts' names; fonts that look alike are one."""
    images, names, seen = [], [], set()
    for path in font_files():
        drawn = alphabet(string.ascii_letters, path, BANK, BANK_INK)
        if drawn is None or drawn.tobytes() in seen:
            continue
        seen.add(drawn.tobytes())
        images.append(drawn)
        names.append(path.name)
    classes = [CLASSES.index(SAME.get(letter, letter)) for letter in string.ascii_letters]
    return np.concatenate(images), np.tile(classes, len(names)), names


def printed() -> np.ndarray:
    """What the task shows in public: `CHARACTERS` `(fonts, 62, 28, 28)` as MNIST lays out a digit.

    One font of each package under an OFL licence, which asks nothing of pictures: the first that has them all.
    """
    sheets: list[np.ndarray] = []
    for name in sorted(name for name, licence in PACKAGES.items() if licence.startswith("OFL")):
        drawn = (alphabet(CHARACTERS, path, SHEET, SHEET_INK) for path in of_package(name))
        sheets += itertools.islice((one for one in drawn if one is not None), 1)
    return np.stack(sheets)


def held_out(letters: int) -> torch.Tensor:
    """Which of `letters` bitmaps of `bank` are in held-out fonts, `(letters,)`."""
    return torch.arange(letters) // len(string.ascii_letters) % EVERY == HELD_OUT


def write_sheets(path: Path) -> None:
    """`printed` as a file."""
    with open(path, "wb") as file:
        np.savez_compressed(file, x=printed())


def packages() -> list[dict[str, str]]:
    """What the fonts lie in: Debian packages and matplotlib, by name, version and licence."""
    import matplotlib

    shown = ["dpkg-query", "-W", "-f", "${Version}"]
    debian = [
        {
            "package": f"fonts-{name}",
            "version": subprocess.run([*shown, f"fonts-{name}"], capture_output=True, text=True, check=True).stdout,
            "licence": licence,
        }
        for name, licence in PACKAGES.items()
    ]
    own = "Bitstream Vera and Arev (DejaVu), OFL-1.1 (STIX), BaKoMa (Computer Modern)"
    return [*debian, {"package": "matplotlib", "version": matplotlib.__version__, "licence": own}]
