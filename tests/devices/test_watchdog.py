from __future__ import annotations

import threading
import time

import pytest

from harness.devices import watchdog
from harness.devices.watchdog import Watchdog


def test_a_call_that_outlives_its_deadline_is_cut_once() -> None:
    cut = threading.Event()
    dog = Watchdog(cut.set, "board")
    with dog.guard(time.monotonic() + 60), dog.guard(time.monotonic() + 0.1):  # the later one is shorter
        assert cut.wait(5)
    assert dog.bit


def test_calls_that_end_in_time_are_left_alone() -> None:
    cut = threading.Event()
    dog = Watchdog(cut.set, "board")
    for _ in range(100):
        with dog.guard(time.monotonic() + 0.2):
            pass
    assert not cut.wait(0.4)
    assert not dog.bit


def test_a_thread_with_nothing_to_watch_ends_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_IDLE_S", 0.1)
    cut = threading.Event()
    dog = Watchdog(cut.set, "idle")
    with dog.guard(time.monotonic() + 60):
        assert [thread for thread in threading.enumerate() if thread.name == "idle watchdog"]
    deadline = time.monotonic() + 5
    while [thread for thread in threading.enumerate() if thread.name == "idle watchdog"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [thread for thread in threading.enumerate() if thread.name == "idle watchdog"]
    with dog.guard(time.monotonic() + 0.1):
        assert cut.wait(5)
