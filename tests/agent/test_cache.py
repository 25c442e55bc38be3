from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from latency_agent import cache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three models of 10 bytes, `a` used last and `c` longest ago, where 30 bytes fit."""
    monkeypatch.setattr(cache, "LIMIT_BYTES", 30)
    monkeypatch.setattr(cache, "LEAST_FREE_BYTES", 0)
    for age_s, name in enumerate(("a", "b", "c")):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (time.time() - age_s, time.time() - age_s))
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_fits_costs_nothing(folder: Path) -> None:
    assert cache.make_room(folder, 0, []) == 0
    assert names(folder) == {"a", "b", "c"}


def test_the_least_recently_used_goes_first(folder: Path) -> None:
    cache.touch(folder / "c")
    assert cache.make_room(folder, 5, []) == 10
    assert names(folder) == {"a", "c"}


def test_what_is_kept_stays(folder: Path) -> None:
    assert cache.make_room(folder, 20, ["c"]) == 20
    assert names(folder) == {"c"}
    cache.make_room(folder, 100, ["c"])
    assert names(folder) == {"c"}


def test_a_full_disk_makes_room_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = os.statvfs(folder)
    monkeypatch.setattr(cache, "LIMIT_BYTES", 1 << 60)
    monkeypatch.setattr(cache, "LEAST_FREE_BYTES", disk.f_bavail * disk.f_frsize * 2)
    cache.make_room(folder, 1, ["a"])
    assert names(folder) == {"a"}


def test_a_push_that_was_given_up_is_cleared_away(folder: Path) -> None:
    for name, age_s in ((".new.tflite.1234", 10), (".old.tflite.1234", 7200)):
        (folder / name).write_bytes(bytes(10))
        os.utime(folder / name, (time.time() - age_s, time.time() - age_s))
    assert cache.make_room(folder, 0, []) == 10
    assert names(folder) == {"a", "b", "c", ".new.tflite.1234"}


def test_the_agents_of_a_few_hosts_stay(tmp_path: Path) -> None:
    for age_s in range(6):
        agent = tmp_path / f"latency_agent-{age_s}.pyz"
        agent.touch()
        os.utime(agent, (time.time() - age_s, time.time() - age_s))
    for name, age_s in ((".latency_agent-6.pyz.12", 7200), (".draft", 7200), ("governor.json", 7200)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s, time.time() - age_s))
    cache.keep_latest_agents(tmp_path)
    assert names(tmp_path) == {"governor.json", *(f"latency_agent-{age_s}.pyz" for age_s in range(4))}


def test_a_folder_that_is_not_there_has_room(tmp_path: Path) -> None:
    assert cache.make_room(tmp_path / "models", 10, []) == 0
