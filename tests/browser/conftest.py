"""A real JupyterLab, and a real Chromium in front of it."""

from __future__ import annotations

import gc
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
LEAVE = 15  # seconds; a kernel in the middle of a cell holds it longer
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """Headless Chromium. Without one: skipped, with the remedy; in CI a failure."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        reason = "no Chromium found; install your system's chromium package to run the browser tests"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with launched(found) as browser:
        yield browser
    gc.collect()  # what the browser left half open is swept up here, not in the middle of somebody else's test


@contextmanager
def launched(path: str) -> Iterator[Any]:
    """The browser at `path`, without a screen and without network of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@dataclass(frozen=True)
class Lab:
    url: str
    token: str


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Iterator[Lab]:
    """JupyterLab over a copy of the notebooks, stopped at the end."""
    with served(tmp_path_factory.mktemp("lab")) as running:
        yield running


@contextmanager
def served(home: Path) -> Iterator[Lab]:
    """JupyterLab over a copy of the notebooks in `home`, with no setting or state of the user's."""
    shutil.copytree(NOTEBOOKS, home / "notebooks", ignore=shutil.ignore_patterns(".*"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    settings = {name: str(home / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    # Lab would ask, over the page, whether it may fetch news.
    disabled = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    page_config = home / "JUPYTER_CONFIG_DIR" / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True)
    page_config.write_text(json.dumps(disabled), encoding="utf-8")
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
        f"--ServerApp.root_dir={home / 'notebooks'}", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
        f"--IdentityProvider.token={token}",
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(home), **settings}
    with open(home / "log", "w") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server:
        try:
            await_answer(f"http://127.0.0.1:{port}/api/status?token={token}", server)
            yield Lab(f"http://127.0.0.1:{port}", token)
        finally:
            server.terminate()
            try:
                server.wait(LEAVE)
            except subprocess.TimeoutExpired:  # a kernel that does not answer would hold it, and the tests, for good
                server.kill()


def await_answer(url: str, server: subprocess.Popen) -> None:
    """Return when the server answers; fail if it has died or takes a minute."""
    for _ in range(240):
        assert server.poll() is None, "JupyterLab ended before it answered"
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.25)
    pytest.fail("JupyterLab did not answer within a minute")
