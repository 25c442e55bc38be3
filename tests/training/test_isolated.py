"""Models trained in processes of their own, some of which are killed as they run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.errors import ConfigError, TrainingFailed
from harness.search.run import Quality
from harness.training import isolated
from harness.training.isolated import Isolated


def sum_or_death() -> Quality:
    def quality(tokens: tuple[int, ...]) -> float:
        if 9 in tokens:
            os.kill(os.getpid(), signal.SIGKILL)
        if 8 in tokens:
            raise TrainingFailed("its loss is nan after epoch 1")
        return sum(tokens)

    return quality


def pid() -> Quality:
    return lambda _: os.getpid()


def dead() -> Quality:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_child_that_is_killed_has_failed_and_the_next_one_is_trained() -> None:
    with Isolated(sum_or_death) as quality:
        assert quality((1, 2)) == 3
        with pytest.raises(TrainingFailed, match="was killed"):
            quality((9,))
        with pytest.raises(TrainingFailed, match="nan"):
            quality((8,))
        assert quality((4, 4)) == 8


def test_children_share_a_process_that_is_not_this_one() -> None:
    with Isolated(pid) as quality:
        first = quality(())
        assert first == quality(())
    assert first != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(int(first), 0)


def test_a_process_trains_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "MOST", 2)
    with Isolated(pid) as quality:
        first, second, third = (quality(()) for _ in range(3))
    assert first == second != third


def test_a_process_that_cannot_start_is_no_failed_child() -> None:
    with Isolated(dead) as quality, pytest.raises(ConfigError, match="ended while it started"):
        quality(())


def wrong() -> Quality:
    raise ConfigError("the data are of another shape")


def test_what_is_wrong_with_a_quality_is_told() -> None:
    with Isolated(wrong) as quality, pytest.raises(ConfigError, match="of another shape"):
        quality(())


def test_a_process_that_was_killed_while_idle_is_no_failed_child() -> None:
    with Isolated(pid) as quality:
        first = int(quality(()))
        os.kill(first, signal.SIGKILL)
        assert int(quality(())) != first


def endless() -> Quality:
    def quality(_: tuple[int, ...]) -> float:
        time.sleep(600)
        return 0.0

    return quality


def test_who_interrupts_a_search_does_not_wait_for_a_child() -> None:
    began = time.monotonic()
    threading.Timer(5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt), Isolated(endless) as quality:
        quality(())
    assert time.monotonic() - began < 60


def test_the_process_ends_with_a_search_that_is_killed() -> None:
    argv = [
        sys.executable,
        "-c",
        "from tests.training.test_isolated import *; quality = Isolated(pid); print(int(quality(())), flush=True); time.sleep(60)",
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()
