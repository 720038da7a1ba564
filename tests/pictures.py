"""The README's picture, from a real run in a real browser: `python -m tests.pictures`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TAKEN, SHOWN = ROOT / "build/screenshots/00_start_here-3-done.png", ROOT / "notebooks/images/live_panel.png"


def main() -> None:
    """Let the browser test drive lesson 00, and keep its last picture."""
    subprocess.run([sys.executable, "-m", "pytest", "tests/browser", "-k", "test_live_panel and 00_start"], check=True)
    shutil.copy(TAKEN, SHOWN)


if __name__ == "__main__":
    main()
