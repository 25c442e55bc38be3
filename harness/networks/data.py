"""Where the data of `models/` lies: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path

import harness
from harness.errors import ConfigError


def models_dir() -> Path:
    """Return the folder of `models/`; raises ConfigError where the installation lacks it."""
    package = Path(harness.__file__).resolve().parent
    for folder in (package / "_models", package.parent / "models"):
        if folder.is_dir():
            return folder
    raise ConfigError(f"the installation in {package} lacks its models folder", "Install latency-harness again.")
