"""The house rules that code can check: who imports what, what a notebook looks like, what must agree."""

import ast
import re
import subprocess
import sys
import tokenize
import tomllib
from io import StringIO
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "lalora_kit"
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES})
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_LINES, MOST_FILES, MOST_ENTRIES, MOST_CORE = 220, 14, 22, 3000
# Files that may be longer, for each is about one subject that would be harder to read in two places.
ONE_SUBJECT = {
    "base/fingerprint.py": "what a Python object would do",
    "book/execute.py": "one notebook, run",
    "panels/live.py": "the state behind a panel",
    "tasks/arrays.py": "a task from arrays",
    "tasks/backbones.py": "a backbone by name",
}
MOST_OF_ONE = 260

# The rooms, from the ground up, and the five files of the algorithm among them: each imports only from its own and
# from those before it.
ROOMS = (
    *("base", "settings", "tasks", "engine", "records", "methods", "privacy", "plan", "local", "federated"),
    *("runs", "lessons", "auditing", "trial", "figures", "panels", "book", "cli", "__main__"),
)
CORE = ("engine", "privacy", "settings", "records", "plan", "local", "federated", "__init__", "__main__")

# Packages that only the rooms named here may import; torch and numpy are free.
OUTSIDE = {
    "timm": {"tasks"},
    "transformers": {"tasks"},
    "tokenizers": {"tasks"},
    "datasets": {"tasks"},
    "sklearn": {"tasks", "runs"},
    "skimage": {"tasks"},
    "peft": {"runs"},
    "flwr": {"runs"},
    "opacus": {"privacy"},
    "statsmodels": {"trial"},
    "plotly": {"figures", "panels", "book"},
    "ipywidgets": {"panels"},
    "papermill": {"book"},
    "nbconvert": {"book"},
    "typer": {"cli"},
}
LIGHT = (
    "lalora_kit",
    "lalora_kit.settings",
    *(f"lalora_kit.cli.{path.stem}" for path in (PACKAGE / "cli").glob("*.py")),
)


def room(path):
    """The room of ROOMS that a file of the package belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree):
    """Dotted names that a syntax tree imports, those of `from package import module` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def within(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=within)
def test_imports_point_upward(path):
    own = room(path)
    if own == "__init__":
        return  # it names everything, lazily
    assert own in ROOMS, f"{own} is no room; give it its place in ROOMS"
    for name in imported(parsed(path)):
        if name.split(".")[0] == "lalora_kit":
            other = name.split(".")[1]
            assert other in ROOMS, f"{name}: import it from its own file, not from the package"
            assert ROOMS.index(other) <= ROOMS.index(own), f"{own} imports {other}, which stands above it"


@pytest.mark.parametrize("path", FILES, ids=within)
def test_outside_packages_stay_in_their_rooms(path):
    for name in imported(parsed(path)):
        allowed = OUTSIDE.get(name.split(".")[0])
        assert allowed is None or room(path) in allowed, f"{name} belongs to {allowed}"


def test_flower_is_imported_in_one_file_and_little_of_it():
    found = {(within(path), name) for path in FILES for name in imported(parsed(path)) if name.split(".")[0] == "flwr"}
    names = {"flwr.app.ConfigRecord", "flwr.app.Context", "flwr.app.Message", "flwr.app.RecordDict"}
    assert found == {("runs/sites/flower.py", name) for name in {*names, "flwr.serverapp.Grid"}}


def test_importing_the_package_is_light():
    code = f"import sys, {', '.join(LIGHT)}; print({{'torch', 'numpy'}} & set(sys.modules) or 'light')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "light"


def lines_of(path):
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", FILES, ids=within)
def test_files_are_short(path):
    most = MOST_OF_ONE if within(path) in ONE_SUBJECT else MOST_LINES
    assert lines_of(path) <= most, f"{lines_of(path)} lines; split it by subject"
    assert within(path) not in ONE_SUBJECT or lines_of(path) > MOST_LINES, "short again: take it out of ONE_SUBJECT"


@pytest.mark.parametrize("folder", FOLDERS, ids=within)
def test_rooms_are_small_and_say_what_they_are_for(folder):
    """Three lines: what it is for, what it may import, what a newcomer reads first."""
    files = [path for path in folder.iterdir() if path.is_file()]
    assert len(files) <= MOST_FILES, f"{len(files)} files; a room that large is two"
    if folder != PACKAGE:
        said = ast.get_docstring(parsed(folder / "__init__.py")) or ""
        assert "Import" in said and "Read `" in said, "say in three lines what it is for, imports, and reads first"
        assert len(said.split("\n")) <= 5


def test_the_top_is_one_screen():
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES, sorted(path.name for path in entries)
    assert {room(path) for path in FILES} == {*ROOMS, "__init__"}


def core_lines():
    """Lines of each part of the core; every run of the tests begins by printing them."""
    return {name: sum(lines_of(path) for path in FILES if room(path) == name) for name in CORE}


def test_the_core_is_thin():
    assert 0 < sum(core_lines().values()) <= MOST_CORE


def test_the_page_of_the_rooms_names_them_all():
    page = (PACKAGE / "README.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 60, "one screen"
    assert all(f"[{name}" in page for name in ROOMS if name != "__main__")
    for link in re.findall(r"\]\(([^)#:]+)\)", page):
        assert (PACKAGE / link).exists(), link


def is_method(node):
    """`method`, `something.method`, or the name of either."""
    if isinstance(node, ast.Attribute) and node.attr == "name":
        node = node.value
    return getattr(node, "id", getattr(node, "attr", None)) == "method"


def is_fixed(node):
    """A string, several of them, or a constant such as LA_LORA or METHODS["la-lora"]."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(is_fixed(element) for element in node.elts)
    if isinstance(node, ast.Subscript):
        node = node.value
    text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return text or (isinstance(node, ast.Name) and node.id.isupper())


@pytest.mark.parametrize("path", FILES, ids=within)
def test_nothing_branches_on_a_method(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            wrong = any(map(is_method, sides)) and any(map(is_fixed, sides))
            assert not wrong, f"line {node.lineno}: a method is a value; give it a hook"
        assert not (isinstance(node, ast.Match) and is_method(node.subject)), f"line {node.lineno}"


def test_the_rule_on_branches_sees_what_it_forbids():
    bad = (
        "method.name == 'la-lora'",
        "method == LA_LORA",
        "run.method.name in ('a', 'b')",
        "method is METHODS['a']",
    )
    good = ("saved.method.name != method.name", "name == 'la-lora'", "method is None")
    for code in (*bad, *good):
        sides = [ast.parse(code).body[0].value.left, *ast.parse(code).body[0].value.comparators]
        assert (any(map(is_method, sides)) and any(map(is_fixed, sides))) is (code in bad), code


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_committed_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, "clear all outputs"
            assert len(cell.source.splitlines()) <= 30
        assert not {"papermill", "execution", "ExecuteTime"} & set(cell.metadata)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_have_one_cell_of_parameters(path):
    cells = nbformat.read(path, as_version=4).cells
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1, "exactly one cell is tagged `parameters`"
    commented = {
        token.start[0]
        for token in tokenize.generate_tokens(StringIO(tagged[0].source).readline)
        if token.type == tokenize.COMMENT
    }
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None
        ast.literal_eval(statement.value)
        assert statement.lineno == statement.end_lineno and statement.lineno in commented


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_can_be_drawn_without_network(path):
    from lalora_kit.book.pages import markdown_html

    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert cells[0].source.startswith("# "), "the first cell begins with the title"
    for cell in cells:
        html = markdown_html(cell.source)
        failed = re.search(r'<code class="failed">(.*?)</code>', html)
        assert not failed, f"the pages cannot draw {failed and failed[1]}"
        assert not re.search(r'<(img|script|link|iframe)[^>]*(src|href)="(https?:)?//', html)


def required():
    """Names and lower bounds of what a plain installation needs."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    return dict(line.split(">=") for line in project["dependencies"])


@pytest.mark.parametrize("name", ["environment.yml", "binder/environment.yml"])
def test_conda_asks_for_what_pyproject_asks_for(name):
    environment = yaml.safe_load((ROOT / name).read_text())
    lines = [line for line in environment["dependencies"] if isinstance(line, str)]
    versions = [line for line in lines if line.startswith("python=")]
    assert environment["channels"] == ["conda-forge"] and len(versions) == 1
    assert tuple(map(int, versions[0].removeprefix("python=").split("."))) >= (3, 11)
    stated = dict(line.split(">=") for line in lines if ">=" in line)
    torch = stated.pop("pytorch-cpu" if name.startswith("binder") else "pytorch")
    assert {"torch": torch, **stated} == required()


def test_binder_installs_the_kit():
    script = ROOT / "binder" / "postBuild"
    assert script.stat().st_mode & 0o111 and "-e ." in script.read_text()


def test_version_and_licence_are_the_same_everywhere():
    from lalora_kit import __version__

    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == citation["version"] == __version__
    assert citation["license"] in project["license"].split(" AND ")  # the software's; the text's is the other one
    assert all((ROOT / name).is_file() for name in project["license-files"])
    assert "Typing :: Typed" in project["classifiers"] and (PACKAGE / "py.typed").is_file()


def test_the_readme_holds_the_two_commands():
    """A reader starts with them, and `.ci/run` runs them as they stand there."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert lines.count("python -m pip install -e . && lalora walkthrough") == 1
    assert lines.count("python -m pip install -e '.[test]' && python -m pytest") == 1


def test_the_result_has_one_mimetype():
    """Named twice, for reading a result must not load torch, nor showing one papermill."""
    from lalora_kit.book import execute
    from lalora_kit.lessons import lesson

    assert execute.RESULT_MIME == lesson.RESULT_MIME
