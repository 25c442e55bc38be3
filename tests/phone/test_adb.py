"""The ADB transport against a real adb server and a real adbd."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.devices.adb import AdbTransport
from harness.devices.inventory import Device
from harness.devices.transport import open_transport
from harness.errors import ConfigError, Offline, RemoteFailure, TimedOut, Unauthorized, Vanished
from tests.devices.contract import LARGE, CutContract, TransportContract, soon
from tests.devices.netns import allowed
from tests.phone.adb_server import AdbServer
from tests.phone.gate import Gate
from tests.phone.phone import Phone

pytestmark = pytest.mark.skipif(not allowed(), reason="a phone's namespaces take root: these tests run where root runs them")
HOME = "/data/local/tmp"


@pytest.fixture
def gate(phone: Phone, adb_server: AdbServer) -> Iterator[Gate]:
    """A way to the phone that a test may harm."""
    opened = Gate(phone.address, [adb_server.key])
    yield opened
    opened.close()
    adb_server.client.disconnect(opened.serial)


@pytest.fixture
def transport(phone: Phone) -> Iterator[AdbTransport]:
    opened = AdbTransport(Device("phone", transport="adb", serial=phone.serial))
    yield opened
    opened.close()


def behind(gate: Gate) -> AdbTransport:
    return AdbTransport(Device("phone", transport="adb", serial=gate.serial))


class TestAdb(TransportContract):
    @pytest.fixture
    def remote(self, transport: AdbTransport, request: pytest.FixtureRequest) -> Iterator[str]:
        folder = f"{HOME}/{request.node.name}"
        transport.run(["mkdir", folder], soon())
        yield folder
        transport.run(["rm", "-r", folder], soon())


def test_a_phone_is_reached_by_adb() -> None:
    assert isinstance(open_transport(Device("phone", transport="adb")), AdbTransport)


def test_commands_run_as_the_shell_user(transport: AdbTransport) -> None:
    assert transport.run(["id", "-u"], soon()).stdout == b"2000\n"


def test_a_phone_without_a_serial_is_the_one_there_is(phone: Phone, adb_server: AdbServer, gate: Gate) -> None:
    adb_server.client.connect(phone.serial)
    any_phone = AdbTransport(Device("phone", transport="adb"))
    assert any_phone.run(["true"], soon()).exit == 0
    any_phone.close()
    adb_server.client.connect(gate.serial)
    with pytest.raises(ConfigError, match=r"2 phones are attached\n.*serial"):
        any_phone.run(["true"], soon())


@pytest.mark.usefixtures("adb_server")
def test_an_unknown_phone() -> None:
    for serial in ("1A2B3C", "127.0.0.1:1"):
        with pytest.raises(Offline, match="adb knows no such phone"):
            AdbTransport(Device("phone", transport="adb", serial=serial)).run(["true"], soon())


def test_a_phone_that_has_not_let_this_machine_in(phone: Phone, adb_server: AdbServer) -> None:
    with Gate(phone.address) as closed:
        waiting = behind(closed)
        with pytest.raises(Unauthorized, match=r"has not let this machine in\nunlock it and accept"):
            waiting.run(["true"], soon())
        closed.accept()
        deadline = soon()
        while adb_server.state(closed.serial) != "device" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert waiting.run(["true"], soon()).exit == 0
        waiting.close()


def test_no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(tmp_path / "missing"))
    with pytest.raises(Offline, match=r"there is no adb server.*\nadb start-server"):
        AdbTransport(Device("phone", transport="adb")).run(["true"], soon())


class TestAdbCut(CutContract):
    @pytest.fixture
    def transport(self, gate: Gate) -> Iterator[AdbTransport]:
        opened = behind(gate)
        yield opened
        opened.close()

    @pytest.fixture
    def cut(self, gate: Gate) -> Callable[[], None]:
        return gate.cut


def test_a_push_that_is_cut_leaves_the_old_file(gate: Gate, phone: Phone, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    new.write_bytes(LARGE)
    transport = behind(gate)
    transport.push(old, f"{HOME}/file", soon())
    gate.drop_after(1 << 20)
    with pytest.raises(Vanished):
        transport.push(new, f"{HOME}/file", soon())
    left = phone.root / HOME[1:] / "file"
    assert left.read_bytes() == b"old"
    left.unlink()


def test_a_push_that_runs_into_a_full_disk_says_so(transport: AdbTransport, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(LARGE)
    with pytest.raises(RemoteFailure, match=r"cannot push .* to /mnt/small/file: .*No space left"):
        transport.push(large, "/mnt/small/file", soon())
    assert transport.run(["ls", "-A", "/mnt/small"], soon()).stdout == b""


@pytest.mark.parametrize("doing", ["push", "run", "stream", "send", "receive", "probe"])
def test_a_phone_that_stops_answering_does_not_hang_the_harness(gate: Gate, tmp_path: Path, doing: str) -> None:
    payload = tmp_path / "payload"
    payload.write_bytes(LARGE)
    transport = behind(gate)
    stream = transport.stream(["cat"], soon())
    calls: dict[str, Callable[[], object]] = {
        "push": lambda: transport.push(payload, f"{HOME}/file", soon(0.5)),
        "run": lambda: transport.run(["true"], soon(0.5)),
        "stream": lambda: transport.stream(["true"], soon(0.5)),
        "send": lambda: stream.send(LARGE * 8 + b"\n", soon(0.5)),
        "receive": lambda: stream.receive(soon(0.5)),
        "probe": lambda: transport.probe(soon(0.5)),
    }
    gate.stall()
    begin = time.monotonic()
    try:
        with pytest.raises(Vanished if doing == "probe" else TimedOut):
            calls[doing]()
        assert time.monotonic() - begin < 12  # 0.5 s, and 5 s in which the device is asked to end what it runs
    finally:
        gate.cut()
        transport.close()


def test_a_probe_starts_no_process(transport: AdbTransport, phone: Phone) -> None:
    stream = transport.stream(["cat"], soon())
    stream.send(b"up\n", soon())
    assert stream.receive(soon()) == b"up\n"
    before = set(phone.processes())
    transport.probe(soon())
    assert set(phone.processes()) == before
    stream.close(soon())
