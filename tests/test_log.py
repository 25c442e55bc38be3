"""Logs of long work, where the disk is full."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.log import LineLog


def test_a_full_disk_is_one_error_and_what_was_kept_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "log"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with LineLog(path, {"seed": 1}, "search") as log:
            log.append({"number": 0})
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, limits[1]))
            with pytest.raises(ConfigError, match="cannot be written: File too large"):
                log.append({"number": 1})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with LineLog(path, {"seed": 1}, "search") as log:
        assert log.lines == [{"number": 0}]
