"""Licences: each thing that is shipped and is no code has its entry in NOTICE, and the licences are there in full."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8")
CODE = {".py", ".ipynb", ".md", ".j2", ".css", ".yml", ".toml", ".typed"}  # the first two entries of NOTICE


def shipped():
    """What git has below the package and the notebooks that is neither code nor text."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "lalora_kit", "notebooks"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [Path(name) for name in names if Path(name).suffix not in CODE and "templates" not in name]


@pytest.mark.parametrize("path", shipped(), ids=str)
def test_every_asset_has_an_entry(path):
    listed = path.name in NOTICE and path.parent.as_posix() in NOTICE
    assert listed or f"{path.parent.as_posix()}/," in NOTICE, f"{path} has no entry in NOTICE"


def test_the_entries_name_files_that_are_there():
    words = [word.strip(",:;.()") for word in NOTICE.split()]
    named = [word for word in words if word.endswith((".safetensors", ".jsonl"))]
    assert named
    for name in named:
        assert list((ROOT / "lalora_kit").rglob(Path(name).name)), name


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("lalora_kit/tasks/assets/pretrain.py", ("DejaVu", "STIX", "Computer Modern")),
        ("lalora_kit/tasks/embedded/digits.py", ("UCI", "scikit-learn")),
        ("lalora_kit/tasks/embedded/mnist.py", ("LeCun", "Cortes", "Burges", "LICENSE-CC-BY-SA-3.0")),
        ("lalora_kit/tasks/assets/letters/fonts.py", ("Open Font License", "Debian", "FemkeKlaver")),
        ("lalora_kit/tasks/embedded/docstrings.py", ("Python Software", "PSF License")),
        ("lalora_kit/book/pages.py", ("plotly.js",)),
    ],
)
def test_what_others_made_is_named_while_it_is_used(source, said):
    assert (ROOT / source).is_file()
    assert all(word in NOTICE for word in said)


def test_the_licences_are_there_in_full():
    apache, text = ((ROOT / name).read_text(encoding="utf-8") for name in ("LICENSE", "LICENSE-CC-BY-4.0"))
    assert "Apache License" in apache and "9. Accepting Warranty" in apache
    assert text.startswith("Attribution 4.0 International")
    assert all(f"Section {number} -- " in text for number in range(1, 9))
    alike = (ROOT / "LICENSE-CC-BY-SA-3.0").read_text(encoding="utf-8")
    assert "Attribution-ShareAlike 3.0 Unported" in alike and "8. Miscellaneous" in alike
