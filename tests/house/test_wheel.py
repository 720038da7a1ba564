"""The kit as it arrives without a clone: a wheel is built, unpacked, and used from another folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The unpacked wheel, as pip would lay it into site-packages."""
    out = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, out], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(out / done.stdout.split()[-1]) as wheel:
        wheel.extractall(out / "site-packages")
    return out / "site-packages"


def python(installed, folder, *arguments):
    """Run Python in another folder, with the wheel's files before any other installation."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )


def committed(*folders):
    """Files of the repository, those not yet committed included, ignored ones not."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.splitlines() if (ROOT / name).exists()}


def test_the_wheel_holds_the_package_and_the_notebooks_and_nothing_else(installed):
    within = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    ours = committed("lalora_kit") | {f"lalora_kit/{name}" for name in committed("notebooks/*.ipynb", "notebooks/*.md")}
    assert {name for name in within if not name.startswith("lalora_kit-")} == ours
    assert "lalora_kit/py.typed" in within and any(name.endswith("LICENSE") for name in within)


def test_the_notebooks_are_copied_out(installed, tmp_path):
    done = python(installed, tmp_path, "-m", "lalora_kit", "notebooks", "mine")
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert done.stdout.split() == [f"mine/{name}" for name in names]
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted([*names, "GLOSSARY.md"])
    (tmp_path / "mine" / names[0]).write_text("my own")
    again = python(installed, tmp_path, "-m", "lalora_kit", "notebooks", "mine")
    assert again.returncode == 2 and "move them away" in again.stderr and again.stderr.count("\n") == 1
    assert (tmp_path / "mine" / names[0]).read_text() == "my own"


def test_walkthrough_and_lab_find_them(installed, tmp_path):
    code = "from lalora_kit.book import notebooks as b; print(b.notebooks_dir()); print(b.first_notebook().resolve())"
    done = python(installed, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    within, opened = map(Path, done.stdout.splitlines())
    assert within == installed / "lalora_kit" / "notebooks"
    assert opened.parent == tmp_path / "lalora-notebooks", "a reader works in a copy, not in the installation"
    nbformat.validate(nbformat.read(opened, as_version=4))


def test_training_finds_its_backbone(installed, tmp_path):
    quick = ("--method", "head-only", "--rounds", "1", "--clients", "2", "--epsilon", "inf", "--json")
    done = python(installed, tmp_path, "-m", "lalora_kit", "train", *quick)
    assert done.returncode == 0 and '"round": 1' in done.stdout, done.stderr
