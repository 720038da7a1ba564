"""The doors: links to Binder and Colab, and each notebook's first code cell, written from the one address.

python -m tests.doors     # after the address in pyproject.toml has changed, or a notebook has come
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WORKFLOW = ROOT / "notebooks" / "ci-example.yml"
SETUP = "setup"  # the id of a notebook's first code cell
CELL = """from importlib import metadata, util

if util.find_spec("lalora_kit") is None and "google.colab" in str(get_ipython()):  # what Colab has stays
    kept = " ".join(f"{name}=={metadata.version(name)}" for name in ("numpy", "pandas", "torch"))
    %pip install -q "lalora-kit @ git+ADDRESS" {kept}
from lalora_kit.lessons import welcome

welcome.here()"""


def address() -> str:
    """The repository's address."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]


def links() -> str:
    """README's lines on Binder and Colab."""
    owner_and_name = address().removeprefix("https://github.com/")
    colab = " · ".join(
        f"[{path.stem[:2]}](https://colab.research.google.com/github/{owner_and_name}/blob/main/notebooks/{path.name})"
        for path in NOTEBOOKS
    )
    binder = f"https://mybinder.org/v2/gh/{owner_and_name}/main?urlpath=lab/tree/notebooks/{NOTEBOOKS[0].name}"
    return (
        "- **Binder** (not tried by us; CPU, 2 GB; a launch may fail or take minutes): "
        f"[open JupyterLab in the browser]({binder})\n"
        f"- **Colab** (not tried by us; the first cell installs the kit): {colab}\n"
        f"- **your machine**: `python -m pip install git+{address()}`, then `lalora notebooks DIR` copies them out"
    )


def readme(text: str) -> str:
    """README.md with the links as they must be."""
    return re.sub(r"(<!-- doors -->\n).*?(<!-- /doors -->)", lambda found: f"{found[1]}{links()}\n{found[2]}", text,
                  flags=re.DOTALL)  # fmt: skip


def notebook(text: str) -> str:
    """A notebook with its first code cell as it must be."""
    found = nbformat.reads(text, as_version=4)
    source = CELL.replace("ADDRESS", address())
    cell = next((cell for cell in found.cells if cell.id == SETUP), None)
    if cell is None:
        cell = nbformat.v4.new_code_cell(source, id=SETUP)
        found.cells.insert(1, cell)
    cell.source = source
    cell.metadata["jupyter"] = {"source_hidden": True}
    return nbformat.writes(found).rstrip() + "\n"


def workflow(text: str) -> str:
    """The workflow to copy, installing from the address."""
    return re.sub(r"git\+https://[^\s\"'@]+", f"git+{address()}", text)


def main() -> None:
    """Write what differs."""
    files = [(ROOT / "README.md", readme), (WORKFLOW, workflow), *((path, notebook) for path in NOTEBOOKS)]
    for path, made in files:
        before = path.read_text("utf-8")
        if made(before) != before:
            path.write_text(made(before), "utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
