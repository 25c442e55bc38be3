from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

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
