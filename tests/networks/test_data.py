from __future__ import annotations

from pathlib import Path

from harness.networks.data import models_dir


def test_a_checkout_has_its_models_beside_the_package() -> None:
    assert models_dir() == Path(__file__).resolve().parents[2] / "models"
    assert (models_dir() / "reference" / "write.py").is_file()
