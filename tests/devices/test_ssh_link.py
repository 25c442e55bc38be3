"""An SSH link that is pulled out: boards in network namespaces, which take root."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.devices.ssh import SshTransport
from harness.errors import DeviceError, Offline, Vanished
from tests.devices.contract import LARGE, soon
from tests.devices.netns import Namespace, allowed
from tests.devices.sshd import Sshd

pytestmark = pytest.mark.skipif(not allowed(), reason="network namespaces take root: a link is cut in tests that root runs")
NOTICED_S = 15.0


@pytest.fixture
def net() -> Iterator[Namespace]:
    made = Namespace()
    yield made
    made.close()


@pytest.fixture
def sshd(net: Namespace, tmp_path: Path) -> Iterator[Sshd]:
    started = Sshd(tmp_path / "board", net=net)
    yield started
    started.stop()


@pytest.fixture
def transport(sshd: Sshd) -> Iterator[SshTransport]:
    opened = SshTransport(sshd.device)
    opened.run(["true"], soon())
    yield opened
    opened.close()


def raised(call: Callable[[], object]) -> DeviceError:
    with pytest.raises(DeviceError) as found:
        call()
    return found.value


def test_a_push_notices(transport: SshTransport, net: Namespace, tmp_path: Path) -> None:
    payload = tmp_path / "payload"
    payload.write_bytes(LARGE * 60)
    threading.Timer(0.3, net.plug, kwargs={"into": False}).start()
    begin = time.monotonic()
    assert isinstance(raised(lambda: transport.push(payload, f"{tmp_path}/copy", soon(60))), Vanished)
    assert time.monotonic() - begin < NOTICED_S
    assert not (tmp_path / "copy").exists()


def test_who_waits_for_an_answer_notices(transport: SshTransport, net: Namespace) -> None:
    stream = transport.stream(["cat"], soon())
    net.plug(into=False)
    begin = time.monotonic()
    assert isinstance(raised(lambda: stream.receive(soon(60))), Vanished)
    assert time.monotonic() - begin < NOTICED_S


def test_a_command_notices(transport: SshTransport, net: Namespace) -> None:
    net.plug(into=False)
    begin = time.monotonic()
    assert isinstance(raised(lambda: transport.run(["true"], soon(60))), Vanished)
    assert time.monotonic() - begin < NOTICED_S


def test_a_board_that_is_plugged_in_again_is_reached(transport: SshTransport, net: Namespace) -> None:
    net.plug(into=False)
    assert isinstance(raised(lambda: transport.run(["true"], soon(60))), Vanished)
    transport.close()
    assert isinstance(raised(lambda: transport.run(["true"], soon(1))), Offline)
    net.plug(into=True)
    assert transport.run(["echo", "back"], soon()).stdout == b"back\n"


def test_boards_keep_out_of_each_others_way(sshd: Sshd, net: Namespace, tmp_path: Path) -> None:
    other_net = Namespace()
    try:
        other = Sshd(tmp_path / "other", "other", net=other_net)
        try:
            first, second = SshTransport(sshd.device), SshTransport(other.device)
            assert first.run(["sh", "-c", "echo $HOME"], soon()).stdout != second.run(["sh", "-c", "echo $HOME"], soon()).stdout
            net.plug(into=False)
            assert second.run(["echo", "here"], soon()).stdout == b"here\n"
            first.close()
            second.close()
        finally:
            other.stop()
    finally:
        other_net.close()
