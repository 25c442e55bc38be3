from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def _with_keras(keras: Any) -> None:
    """Let Keras be set up before any test here loads it."""
