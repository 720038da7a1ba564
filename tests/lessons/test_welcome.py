"""The doors and the first cell: one address, the same cell everywhere, and what it says and does in each place."""

from __future__ import annotations

import sys
import types

import nbformat
from IPython.core.interactiveshell import InteractiveShell

from lalora_kit.lessons import welcome
from lalora_kit.lessons.lesson import PAGE_WIDTH
from tests import doors

CELLS = {path.stem: nbformat.read(path, as_version=4).cells for path in doors.NOTEBOOKS}


def test_readme_and_notebooks_carry_the_one_address():
    readme = (doors.ROOT / "README.md").read_text("utf-8")
    assert doors.readme(readme) == readme, "run python -m tests.doors"
    copied = doors.WORKFLOW.read_text("utf-8")
    assert doors.workflow(copied) == copied and f"git+{doors.address()}" in copied
    for name, cells in CELLS.items():
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert code[0].id == doors.SETUP and code[0].source == doors.CELL.replace("ADDRESS", doors.address()), name
        assert name in doors.links()


def test_the_address_stands_in_one_place_only():
    """Whoever moves the repository changes one line; these follow by `python -m tests.doors`."""
    follow = {"README.md", "notebooks/ci-example.yml", *(f"notebooks/{path.name}" for path in doors.NOTEBOOKS)}
    bare = doors.address().removeprefix("https://")
    files = [*doors.ROOT.glob("*"), *doors.ROOT.glob("*/*"), *doors.ROOT.glob("lalora_kit/*/*")]
    found = {
        str(path.relative_to(doors.ROOT))
        for path in files
        if path.suffix in (".py", ".md", ".toml", ".yml", ".cff", ".ipynb", ".html") and path.is_file()
        and "build" not in path.parts and bare in path.read_text("utf-8")
    }  # fmt: skip
    assert found - follow == {"pyproject.toml"}


def run_cell(monkeypatch, *, installed: bool, colab: bool) -> list[str]:
    """The cell in an IPython of its own; returns what it would have given to pip."""
    asked = []
    shell = type("Shell", (InteractiveShell,), {"__module__": "google.colab._shell"} if colab else {})()
    shell.register_magic_function(lambda line: asked.append(line), magic_name="pip")
    if not installed:
        real = __import__("importlib.util").util.find_spec
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "lalora_kit" else real(name))
    if colab:
        switched = []
        output = types.SimpleNamespace(enable_custom_widget_manager=lambda: switched.append(True))
        monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(output=output))
    done = shell.run_cell(doors.CELL.replace("ADDRESS", doors.address()))
    if colab:
        assert switched == [True]
    done.raise_error()
    return asked


def test_where_the_kit_is_installed_nothing_is_installed(monkeypatch, capsys):
    assert run_cell(monkeypatch, installed=True, colab=False) == []
    [line] = [line for line in capsys.readouterr().out.splitlines() if line]
    assert line.startswith("lalora-kit ") and "on this machine" in line and "CPU cores, " in line
    assert len(line) <= PAGE_WIDTH, "one line of a page that is 1280 pixels wide"


def test_on_colab_only_the_kit_is_installed_and_what_it_has_is_pinned(monkeypatch, capsys):
    from importlib.metadata import version

    [asked] = run_cell(monkeypatch, installed=False, colab=True)
    assert f"git+{doors.address()}" in asked and "upgrade" not in asked
    assert asked.endswith(f"numpy=={version('numpy')} pandas=={version('pandas')} torch=={version('torch')}")
    assert "on Colab" in capsys.readouterr().out


def test_elsewhere_nothing_is_installed_behind_anyones_back(monkeypatch):
    assert run_cell(monkeypatch, installed=False, colab=False) == []


def test_it_is_one_folded_cell_of_six_lines():
    for cells in CELLS.values():
        [cell] = [cell for cell in cells if cell.id == doors.SETUP]
        assert (
            cell.metadata["jupyter"]["source_hidden"] and len([line for line in cell.source.splitlines() if line]) <= 6
        )


def test_binder_is_known_by_what_it_sets(monkeypatch):
    monkeypatch.setenv("BINDER_SERVICE_HOST", "10.0.0.1")
    assert welcome.place() == "Binder"
