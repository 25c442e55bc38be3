"""Repetitions that take as little time as they may, for tests that ask what becomes of them and not what they say.

`python -m tests.measure.quick ...` is `harness ...` with such repetitions.
"""

from __future__ import annotations

import pytest

from harness.cli.main import main
from harness.measure import plan


def shorten(patch: pytest.MonkeyPatch, least: int = 2) -> None:
    """Let a benchmark have `least` repetitions of a few milliseconds each, one of which may be measured again for its flaws."""
    for name, value in (
        ("LEAST_REPETITIONS", least),
        ("MOST_FLAWED", 1),
        ("CANDIDATE_CHUNK_NS", 10_000_000),
        ("REFERENCE_CHUNK_NS", 5_000_000),
        ("REFERENCE_CHUNK_RUNS", 1),
        ("COMPARE_EXCHANGE_NS", 20_000_000),
    ):
        patch.setattr(plan, name, value)


if __name__ == "__main__":
    shorten(pytest.MonkeyPatch())
    main()
