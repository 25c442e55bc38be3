from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.devices.inventory import Device
from harness.devices.local import LocalTransport
from harness.devices.transport import open_transport
from harness.errors import AgentDied, TimedOut
from tests.devices.contract import TransportContract, ends, soon


@pytest.fixture
def transport() -> Iterator[LocalTransport]:
    opened = LocalTransport("local")
    yield opened
    opened.close()


class TestLocal(TransportContract):
    @pytest.fixture
    def remote(self, tmp_path: Path) -> str:
        folder = tmp_path / "remote"
        folder.mkdir()
        return str(folder)


def test_the_transport_of_a_local_device_is_the_machine_itself() -> None:
    assert isinstance(open_transport(Device("local")), LocalTransport)


def test_run_past_its_deadline_tells_what_was_printed(transport: LocalTransport) -> None:
    with pytest.raises(TimedOut) as timed_out:
        transport.run(["sh", "-c", "echo so far >&2; sleep 60"], soon(0.3))
    assert timed_out.value.stderr_tail == "so far\n"


def test_a_stray_that_left_the_session_and_holds_stdout_delays_nothing(transport: LocalTransport) -> None:
    script = "import subprocess, time; print(subprocess.Popen(['sleep', '60'], start_new_session=True).pid, flush=True); time.sleep(60)"
    stream = transport.stream([sys.executable, "-c", script], soon())
    pid = stream.receive(soon())
    stream.kill()
    with pytest.raises(AgentDied, match="was ended"):
        stream.receive(soon(60))
    transport.run(["kill", pid.decode().strip()], soon())
    assert ends(transport, pid)


def test_only_the_tail_of_stderr_is_kept(transport: LocalTransport) -> None:
    stream = transport.stream(["sh", "-c", "seq 1 100000 >&2; echo done"], soon())
    assert stream.receive(soon()) == b"done\n"
    with pytest.raises(AgentDied):
        stream.receive(soon())
    assert stream.stderr_tail().splitlines() == [str(number) for number in range(99_961, 100_001)]
