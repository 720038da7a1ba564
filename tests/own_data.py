"""Small data of one's own, as somebody would bring them: a table of sentences by several sites, folders of images."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

WORDS = {"warm": "summer sun beach heat", "cold": "winter snow ice frost"}
SITES = ("north", "south", "Öst")


def records(persons: int = 4, each: int = 3) -> list[dict[str, str]]:
    """Per site `persons` with `each` sentences, of two classes; every sentence is another one."""
    made = []
    for site in SITES:
        for person in range(persons):
            for number in range(each):
                label = ("warm", "cold")[(person + number) % 2]
                said = f"{WORDS[label]}, {site} {person} says {number}"
                made.append({"note": said, "class": label, "site": site, "patient_id": f"{site}-{person}"})
    return made


def write_csv(path: Path, rows: list[dict[str, str]] | None = None) -> Path:
    """A CSV file as Python writes it: CRLF at the ends of lines, quotes where there are commas."""
    rows = records() if rows is None else rows
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_images(root: Path, each: int = 10, classes: tuple[str, ...] = ("dark", "hell äöü"), seed: int = 0) -> Path:
    """Folders of noise in colour, one a class, the second brighter; not square, and of unequal size."""
    rng = np.random.default_rng(seed)
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 120, (20 + i, 30, 3)) + 120 * number
            Image.fromarray(pixels.astype("uint8")).save(root / name / f"test [{i}].png")
    return root
