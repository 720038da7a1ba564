"""The exact versions installed here of all that the kit asks for, as a constraints file.

After the tests have passed: `python -m tests.pins > tests/constraints.txt`. On Colab the same command, after
`python -m pip install --no-deps -e .`, prints Colab's own pins for `tests/colab-constraints.txt`.
"""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("test",)  # what CI installs besides the plain dependencies


def declared():
    """Name -> requirement of everything that a plain installation and the tests ask for."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    return {canonicalize_name(found.name): found for found in map(Requirement, lines)}


def read(path):
    """Name -> version, or pattern of versions, that a constraints file asks for."""
    lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return {canonicalize_name(found.name): found.specifier for found in map(Requirement, filter(None, lines))}


def installed(name):
    """A version without its build (`2.15.0`, not `2.15.0+cpu`), for an index knows only that; None if there is none."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    print("# Versions that the tests passed with: python -m tests.pins > tests/constraints.txt")
    for name in sorted(declared()):
        if found := installed(name):
            print(f"{name}=={found}")
