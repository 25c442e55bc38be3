from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.convert.converter import Converter


@pytest.fixture(scope="session", autouse=True)
def _with_keras(keras: Any) -> None:
    """Let Keras be set up before any test here loads it."""


@pytest.fixture(scope="session")
def converter() -> Iterator[Converter]:
    with Converter() as converter:
        yield converter
