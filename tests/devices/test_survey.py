from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.main import cli
from harness.devices.inventory import Device
from harness.devices.survey import survey
from tests.devices.sshd import Sshd

INVENTORY = """\
default = "local"
[devices.local]
transport = "local"
[devices.local-tflite-runtime]
transport = "local"
runtime = "tflite-runtime"
[devices.off]
transport = "ssh"
host = "127.0.0.1"
port = 9
"""


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    started = Sshd(tmp_path / "board")
    yield started
    started.stop()


def devices(folder: Path, *arguments: str) -> Result:
    (folder / "devices.toml").write_text(INVENTORY)
    return CliRunner().invoke(cli, ["devices", "--inventory", str(folder / "devices.toml"), *arguments])


def test_what_is_there_and_what_is_not_is_listed(tmp_path: Path) -> None:
    found = devices(tmp_path)
    assert found.exit_code == 0
    assert "ai-edge-litert 2" in found.stdout
    assert "off: cannot reach 127.0.0.1 port 9" in found.stdout
    assert "local-tflite-runtime: its runtime's environment is made when it is first measured on" in found.stdout


def test_programs_get_all_that_was_found_and_no_way_in(tmp_path: Path) -> None:
    local, _, off = json.loads(devices(tmp_path, "--json").stdout)
    assert (local["device"], local["transport"], local["problem"]) == ("local", "local", None)
    assert local["found"]["placement"]["cores"]
    assert local["found"]["conditions"]["free_disk_bytes"] > 0
    assert (off["device"], off["found"]) == ("off", None)
    assert "host" not in off


def test_a_device_that_does_not_answer_keeps_nobody_waiting(sshd: Sshd) -> None:
    os.kill(sshd.pid, signal.SIGSTOP)
    begin = time.monotonic()
    try:
        silent, local = survey([sshd.device, Device("local")], deadline_s=3)
    finally:
        os.kill(sshd.pid, signal.SIGCONT)
    assert time.monotonic() - begin < 5
    assert silent.problem == "did not answer within 3 s"
    assert local.found is not None
