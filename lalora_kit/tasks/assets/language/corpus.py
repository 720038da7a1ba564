"""Public English for the language pico: docstrings of open packages, and of the library's modules without a subject.

The packages are ones that this kit's own installation brings. What they say of networks, files, numbers and tools is
public, under open licences, and none of it is a sentence of task `stdlib-docs`: neither word for word nor but for
capitals and punctuation. Copies of other packages inside them are left out, for among those are the library's modules.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path

from lalora_kit.tasks.embedded.docstrings import docstrings, library, number_of, public_sentences, sentences

#: Distribution -> folder that it is imported from. Licences are Apache-2.0, BSD, ISC, MIT or the like.
PACKAGES = {
    "anyio": "anyio", "attrs": "attr", "babel": "babel", "beautifulsoup4": "bs4", "click": "click",
    "cloudpickle": "cloudpickle", "filelock": "filelock", "fsspec": "fsspec", "fonttools": "fontTools",
    "h11": "h11", "httpcore": "httpcore", "httpx": "httpx", "huggingface_hub": "huggingface_hub",
    "imageio": "imageio", "ipykernel": "ipykernel", "ipython": "IPython", "jedi": "jedi", "jinja2": "jinja2",
    "joblib": "joblib", "jupyter_client": "jupyter_client", "jupyter_server": "jupyter_server", "lark": "lark",
    "mpmath": "mpmath", "nbconvert": "nbconvert", "nbformat": "nbformat", "networkx": "networkx", "numpy": "numpy",
    "packaging": "packaging", "pandas": "pandas", "parso": "parso", "pdoc": "pdoc", "pexpect": "pexpect",
    "pillow": "PIL", "pip": "pip", "prompt_toolkit": "prompt_toolkit", "psutil": "psutil", "pydantic": "pydantic",
    "pygments": "pygments", "pytest": "_pytest", "python-dateutil": "dateutil", "pyzmq": "zmq",
    "requests": "requests", "rich": "rich", "setuptools": "setuptools", "sympy": "sympy", "tifffile": "tifffile",
    "tornado": "tornado", "traitlets": "traitlets", "typer": "typer", "urllib3": "urllib3",
    "websocket-client": "websocket",
}  # fmt: skip
COPIES = {"_vendor", "_vendored", "_distutils", "third_party", "externals", "vendored", "tests", "__pycache__"}
#: No package gives more sentences than this, those with the smallest hashes: many voices, none too loud.
MOST = 1500


def bare(text: str) -> str:
    """Its letters and digits alone, small: two sentences that differ in signs are one."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def package_sentences(folder: Path) -> Iterator[str]:
    """Unique sentences of a package's docstrings, at most `MOST`, by the size of their hashes."""
    paths = sorted(path for path in folder.rglob("*.py") if not COPIES & set(path.relative_to(folder).parts))
    found = {sentence for path in paths for text in docstrings(path.read_bytes()) for sentence in sentences(text)}
    yield from sorted(found, key=number_of)[:MOST]


def corpus() -> list[tuple[str, str]]:
    """Unique `(sentence, module or distribution)` in an order that their hashes give, so that any part is a fair one.

    Raises:
        ValueError: naming a package of the list that is not installed.
    """
    private = {bare(text) for _, _, text in library(private=True)}
    kept = {text: module for text, module in public_sentences() if bare(text) not in private}
    for name, folder in PACKAGES.items():
        root = next((path / folder for path in places() if (path / folder).is_dir()), None)
        if root is None:
            raise ValueError(f"{name} is not installed, and the public text has its docstrings; install '.[real,test]'")
        for text in package_sentences(root):
            if bare(text) not in private:
                kept.setdefault(text, name)
    return sorted(kept.items(), key=lambda line: number_of(line[0]))


def places() -> list[Path]:
    """Where packages are installed, in the order in which an import looks there."""
    return [Path(path) for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def licences() -> list[dict[str, str]]:
    """Package, version and licence of everything that the text is from, as each package's own metadata say it."""
    rows = []
    for name in PACKAGES:
        about = metadata(name)
        told = [word.split("::")[-1].strip() for word in about.get_all("Classifier") or [] if "License ::" in word]
        licence = about["License-Expression"] or "; ".join(told) or (about["License"] or "").split("\n")[0]
        rows.append({"package": name, "version": about["Version"], "licence": licence})
    return rows
