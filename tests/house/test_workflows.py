"""The workflows: valid by GitHub's own schema, and every command in them is one that the kit has; and their pins."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml

from lalora_kit.book import sweep
from lalora_kit.cli.app import app
from tests import pins

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
OURS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXAMPLE = ROOT / "notebooks" / "ci-example.yml"
CONSTRAINTS = [ROOT / "tests" / name for name in ("constraints.txt", "colab-constraints.txt")]
COMMANDS = typer.main.get_command(app).commands


def check(schema, *paths):
    """Validate files by a schema that check-jsonschema carries, without network."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True)


def runs(path):
    """The lines that a workflow's steps run."""
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [line for job in jobs.values() for step in job["steps"] for line in step.get("run", "").splitlines()]


def test_the_schema_finds_them_valid_and_a_wrong_one_not(tmp_path):
    done = check("github-workflows", *OURS, EXAMPLE)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(EXAMPLE.read_text().replace("steps:", "step:"))
    assert check("github-workflows", wrong).returncode == 1


def test_the_citation_is_valid():
    done = check("citation-file-format", ROOT / "CITATION.cff")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [*OURS, EXAMPLE], ids=lambda path: path.name)
def test_every_command_is_one_that_there_is(path):
    lines = runs(path)
    assert lines
    for line in lines:
        words = shlex.split(re.sub(r"\$\{\{.*?\}\}", "x", line))
        if words[0] == "lalora":
            command = COMMANDS[words[1]]
            with command.make_context(words[1], words[2:]) as context:  # an unknown option ends here
                assert words[1] != "ci" or sweep.plan(context.args)
        elif words[0].startswith("."):
            assert os.access(ROOT / words[0], os.X_OK)
        else:
            assert words[0] == "git" or words[:2] == ["python", "-m"], line


def test_an_option_that_is_gone_would_be_found():
    with pytest.raises(Exception, match="No such option"):
        COMMANDS["drift"].make_context("drift", ["a", "b", "--tolerant", "1"])
    with pytest.raises(ValueError, match="neither an option nor a parameter"):
        sweep.plan(["00", "--roundz", "2"])


def test_the_example_installs_from_the_projects_address():
    with (ROOT / "pyproject.toml").open("rb") as file:
        address = tomllib.load(file)["project"]["urls"]["Repository"]
    assert f'python -m pip install "lalora-kit @ git+{address}"' in runs(EXAMPLE)


def test_every_constraints_file_is_read_by_a_lane():
    told = "".join(path.read_text(encoding="utf-8") for path in OURS)
    assert all(f"tests/{path.name}" in told and path.is_file() for path in CONSTRAINTS)


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.name)
def test_pins_are_declared_dependencies_within_their_range(path):
    declared, pinned = pins.declared(), pins.read(path)
    assert set(pinned) <= set(declared), "a pin without a dependency"
    for name, specifier in pinned.items():
        [pin] = specifier
        assert pin.operator == "=="
        lowest = pin.version.replace(".*", ".0")
        assert lowest in declared[name].specifier, f"{name}=={pin.version} is not within {declared[name].specifier}"


def test_the_pinned_lane_pins_everything():
    assert set(pins.read(CONSTRAINTS[0])) == set(pins.declared()), "python -m tests.pins > tests/constraints.txt"


def test_an_environment_made_with_constraints_has_those_versions():
    given = os.environ.get("PIP_CONSTRAINT")
    if not given:
        pytest.skip("PIP_CONSTRAINT is not set: this environment was installed without constraints")
    for name, specifier in pins.read(Path(given)).items():
        assert pins.installed(name) in specifier, f"{name} {pins.installed(name)} is not {specifier}"
