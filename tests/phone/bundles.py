"""Bundles that tests share, kept beside what else is fetched and made for phones."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.devices.bundle import bundle_for

PHONES = Path(__file__).parents[2] / ".phone"


def kept_bundle(architecture: str, runtime: str) -> Path:
    """Return a bundle, made unless it was made there before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(PHONES / "cache"))
        return bundle_for(architecture, runtime)
