from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

MEASURING = ("cli", "measure", "test_setup.py", "test_survey.py")
"""Folders and files whose tests take the lease of this machine: one process runs them, for who waits long for it is told so."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each folder to one of the processes that share the work, those that measure to the same."""
    for item in items:
        parts = item.path.relative_to(Path(__file__).parent).parts
        item.add_marker(pytest.mark.xdist_group("measuring" if set(MEASURING).intersection(parts) else parts[0]))


# Runs on a shared machine pause; an example that took long is no failure.
hypothesis.settings.register_profile("harness", deadline=None)
hypothesis.settings.load_profile("harness")


@pytest.fixture(scope="session", autouse=True)
def _apart_from_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests off the user's cache and inventory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("HARNESS_DEVICES", raising=False)
        patch.delenv("COLUMNS", raising=False)
        yield
