"""What this machine has and what it lacks for the notebooks: one finding a line, each problem with its remedy.

It must run where something is broken, so it imports nothing at the top that may be missing. Nothing is changed and
nothing is downloaded; the network is only knocked at, and being offline is no fault: what the kit ships needs none.
"""

from __future__ import annotations

import importlib
import importlib.metadata as metadata
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lalora_kit.base.machine import available_memory, bf16_in_hardware
from lalora_kit.base.network import PATIENCE, answers, hub_address

OLDEST_PYTHON = (3, 11)
KERNEL_BYTES = 1_500_000_000  # of memory: what a notebook may need at its defaults
DISK_BYTES = 200_000_000  # of disk: the pages and executed notebooks of a walkthrough, several times over
OFFLINE = "nothing is wrong: the embedded tasks need no network; only what is on the hub cannot be fetched"


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `ok` is False for what has to be mended, with the remedy. `note` says more of the rest."""

    name: str
    found: str
    ok: bool = True
    remedy: str = ""
    note: str = ""


def examine(folder: Path | None = None) -> list[Finding]:
    """Look at everything; `folder` is where the reader would write, by default the current one."""
    place = (folder or Path.cwd()).absolute()
    return [
        python(), *packages(), *torch_and_gpu(), memory(available_memory()), network(hub_address()), *browser_widgets(),
        writable(place), disk(place, shutil.disk_usage(place).free),
    ]  # fmt: skip


def healthy(findings: Iterable[Finding]) -> bool:
    """Whether nothing has to be mended."""
    return all(finding.ok for finding in findings)


def as_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """A JSON-ready mapping: whether all is well, and each finding by its name."""
    kept = list(findings)
    return {"ok": healthy(kept), "findings": [asdict(finding) for finding in kept]}


def report(findings: Iterable[Finding]) -> str:
    """Plain text: a line a finding, under it the remedy or the note."""
    kept = list(findings)
    width = max(len(finding.name) for finding in kept)
    lines = []
    for finding in kept:
        lines.append(f"{'ok  ' if finding.ok else 'MEND'}  {finding.name:<{width}}  {finding.found}")
        if finding.remedy or finding.note:
            lines.append(f"{'':{width + 8}}{finding.remedy or finding.note}")
    wrong = sum(not finding.ok for finding in kept)
    lines.append("all that is needed is there" if not wrong else f"{wrong} to mend, each with its remedy above")
    return "\n".join(lines)


def python() -> Finding:
    """The interpreter that runs this."""
    needs = ".".join(map(str, OLDEST_PYTHON))
    fine = sys.version_info >= OLDEST_PYTHON
    remedy = "" if fine else f"make an environment with Python {needs} or newer, and install the kit there"
    return Finding("python", f"{platform.python_version()}, {sys.executable}", fine, remedy)


def packages() -> Iterator[Finding]:
    """Everything that the kit's own metadata asks for, with the version that is there."""
    try:
        from packaging.requirements import Requirement

        lines = metadata.requires("lalora-kit") or []
    except (ImportError, metadata.PackageNotFoundError):
        yield Finding("lalora-kit", "not installed", False, "run `python -m pip install -e .` in the clone")
        return
    yield Finding("lalora-kit", metadata.version("lalora-kit"))
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate():
            yield package(requirement.name, str(requirement.specifier))


def package(name: str, needs: str) -> Finding:
    """One package against the versions needed, such as `>=2.0`."""
    from packaging.specifiers import SpecifierSet

    remedy = f'run `python -m pip install "{name}{needs}"`'
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed", False, remedy)
    if not SpecifierSet(needs).contains(found, prereleases=True):
        return Finding(name, f"{found}, needed is {needs}", False, remedy)
    return Finding(name, found)


def torch_and_gpu() -> Iterator[Finding]:
    """Whether torch loads at all, on what it computes, and where bf16 pays."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        yield Finding("torch loads", f"no: {error}", False, "install torch anew, the build for this machine")
        return
    if not torch.cuda.is_available():
        driver = Path("/proc/driver/nvidia/version").exists()
        note = (
            "there is an NVIDIA driver, but this torch finds no device; a CUDA build of torch would" if driver else ""
        )
        yield Finding("GPU", "none: everything runs on the CPU", note=note)
        yield Finding("bf16", f"in hardware: {'yes' if bf16_in_hardware('cpu') else 'no'} (CPU)")
        return
    for index in range(torch.cuda.device_count()):
        of = torch.cuda.get_device_properties(index)
        yield Finding("GPU", f"{of.name}, {of.total_memory / 1e9:.1f} GB, CUDA {torch.version.cuda}")
    yield Finding("bf16", f"in hardware: {'yes' if bf16_in_hardware('cuda') else 'no'} (GPU)")


def memory(available: int) -> Finding:
    """Room for one notebook's kernel."""
    if available < 0:
        return Finding("memory", "not known without psutil", False, "install psutil")
    need = f"a notebook needs up to {KERNEL_BYTES / 1e9:.1f} GB"
    fine = available >= KERNEL_BYTES
    remedy = "" if fine else f"{need}: shut other kernels and programs down, or use a machine with more"
    return Finding("memory", f"{available / 1e9:.1f} GB available", fine, remedy)


def network(address: tuple[str, int] | None, patience: float = PATIENCE) -> Finding:
    """Whether a host answers within `patience` seconds, name look-up included; no answer is no fault."""
    if address is None:
        return Finding("network", "not tried: no client of the hub is installed", note=OFFLINE)
    if answers(address, patience):
        return Finding("network", f"{address[0]} answers")
    return Finding("network", f"offline: {address[0]} does not answer within {patience:g} s", note=OFFLINE)


def browser_widgets() -> Iterator[Finding]:
    """The parts that JupyterLab loads into the browser: there, and of the version that the Python side speaks."""
    try:
        from packaging.requirements import Requirement

        wanted = [Requirement(line) for line in metadata.requires("ipywidgets") or []]
    except (ImportError, metadata.PackageNotFoundError):
        return  # reported among the packages
    for requirement in wanted:
        if requirement.name in ("jupyterlab_widgets", "widgetsnbextension") and requirement.marker is None:
            yield package(requirement.name, str(requirement.specifier))
    yield lab_extension("anywidget", "anywidget")
    yield lab_extension("@jupyter-widgets/jupyterlab-manager", "jupyterlab_widgets")


def lab_extension(extension: str, owner: str) -> Finding:
    """A part of the browser's side, as JupyterLab finds it; the first on its path is the one that is used."""
    name, remedy = f"{owner}, in Lab", f"run `python -m pip install --force-reinstall --no-deps {owner}`"
    try:
        folders = importlib.import_module("jupyter_core.paths").jupyter_path("labextensions")
    except ImportError:
        return Finding(name, "not known without JupyterLab", False, "install jupyterlab")
    places = [place for folder in folders if (place := Path(folder) / extension / "package.json").is_file()]
    if not places:
        return Finding(name, "not found by JupyterLab: sliders would stay blank", False, remedy)
    version = json.loads(places[0].read_text(encoding="utf-8"))["version"]
    if extension == owner and version != metadata.version(owner):
        return Finding(
            name, f"{version} in {places[0].parent}, but {owner} is {metadata.version(owner)}", False, remedy
        )
    return Finding(name, version)


def writable(folder: Path) -> Finding:
    """Whether a file can be made here, tried by making one that goes again."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        remedy = "go to a folder of your own (`cd ~`), then `lalora notebooks` copies the notebooks there"
        return Finding("writing here", f"{folder}: {error.strerror}", False, remedy)
    return Finding("writing here", str(folder))


def disk(folder: Path, free: int) -> Finding:
    """Room for pages, runs and executed notebooks."""
    fine = free >= DISK_BYTES
    remedy = "" if fine else f"{DISK_BYTES / 1e6:.0f} MB are needed: delete what you do not need, or go to another disk"
    return Finding("disk", f"{free / 1e9:.1f} GB free at {os.path.relpath(folder)}", fine, remedy)
