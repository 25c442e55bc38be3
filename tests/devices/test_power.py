from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from harness.devices import power
from harness.devices.inventory import Device
from harness.devices.power import power_cycle
from harness.errors import ConfigError
from tests.agent.live import running


def test_the_command_is_run_to_its_end(tmp_path: Path) -> None:
    power_cycle(Device("pi4", power_cycle=f"sh -c 'sleep 0.1; touch \"{tmp_path}/power is back\"'"))
    assert (tmp_path / "power is back").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sh -c 'echo no such port >&2; exit 3'", r"pi4: its power_cycle ended with exit 3: no such port\nsee power_cycle in devices.toml"),
        (rf"{sys.executable} -c 'import os; os.write(2, bytes([255])); os._exit(1)'", "ended with exit 1: �"),
        ("no-such-program", "cannot be run: No such file or directory"),
    ],
)
def test_one_that_fails_says_how(command: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        power_cycle(Device("pi4", power_cycle=command))


def test_one_that_does_not_end_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "_TIMEOUT_S", 0.5)
    with pytest.raises(ConfigError, match="did not end within"):
        power_cycle(Device("pi4", power_cycle=f"sh -c 'sleep 60 & echo $! > {tmp_path}/pid; wait'"))
    deadline = time.monotonic() + 5
    while running(int((tmp_path / "pid").read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(int((tmp_path / "pid").read_text()))
