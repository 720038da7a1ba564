"""What the docstrings promise: their examples are true, and the API reference can be made of them."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import lalora_kit

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
WITH_EXAMPLES = [path for path in sorted((ROOT / "lalora_kit").rglob("*.py")) if ">>> " in path.read_text("utf-8")]
COMMAND = "-m pdoc lalora_kit lalora_kit.privacy lalora_kit.methods lalora_kit.tasks -o build/api"


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("name", list(map(module_of, WITH_EXAMPLES)))
def test_examples_are_true(name):
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted and not done.failed


def test_what_a_reader_begins_with_has_an_example():
    from lalora_kit.privacy import noise_multiplier
    from lalora_kit.tasks.partition import partition

    public = [lalora_kit.Settings, lalora_kit.Ledger, lalora_kit.load_task, lalora_kit.federated_rounds]
    for thing in (*public, lalora_kit.Task.from_arrays, noise_multiplier, partition):
        assert ">>> " in thing.__doc__, thing


def test_the_reference_is_made_without_a_warning_and_holds_every_public_name(tmp_path):
    assert f"python {COMMAND}" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    words = COMMAND.replace("build/api", str(tmp_path)).split()
    done = subprocess.run([sys.executable, "-W", "error", *words], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    page = (tmp_path / "lalora_kit.html").read_text("utf-8")
    missing = [name for name in lalora_kit.__all__ if f'id="{name}"' not in page]
    assert not missing
    for name in ("privacy", "methods", "tasks"):
        assert (tmp_path / "lalora_kit" / f"{name}.html").stat().st_size > 1000
