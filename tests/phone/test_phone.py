"""The stand-in itself, by adbutils alone: it is what the tests of the transport hold for a phone."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from adbutils import AdbDevice, AdbError

from tests.phone.adb_server import AdbServer
from tests.phone.gate import Gate
from tests.phone.phone import Phone

IMAGES = Path(__file__).parents[2] / ".phone"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbServer]:
    started = AdbServer(tmp_path_factory.mktemp("adb"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory, server: AdbServer) -> Iterator[Phone]:
    started = Phone(tmp_path_factory.mktemp("phones") / "phone", server, IMAGES)
    started.connect()
    yield started
    started.stop()


@pytest.fixture
def device(server: AdbServer, phone: Phone) -> AdbDevice:
    return server.client.device(phone.serial)


@pytest.fixture
def gate(server: AdbServer, phone: Phone) -> Iterator[Gate]:
    """A gate that lets the server through."""
    with Gate(phone.address, [server.key]) as opened:
        server.connect(opened.serial)
        yield opened
        server.disconnect(opened.serial)


def test_a_shell_is_the_shell_user_on_a_phone_without_python(device: AdbDevice) -> None:
    told = device.shell2("id -u; which python python3; echo gone >&2; exit 7", v2=True)
    assert (told.stdout, told.stderr, told.returncode) == ("2000\n", "gone\n", 7)


def test_nothing_that_needs_glibc_finds_it(phone: Phone, device: AdbDevice) -> None:
    program = phone.root / "data/local/tmp/true"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    assert device.shell2("/data/local/tmp/true", v2=True).returncode == 126
    program.unlink()


def test_a_file_goes_there_and_back(phone: Phone, device: AdbDevice) -> None:
    data = os.urandom(1 << 20)
    device.sync.push(data, "/data/local/tmp/data")
    digest, _ = device.shell("sha256sum /data/local/tmp/data").split()
    assert digest == hashlib.sha256(data).hexdigest()
    assert device.sync.read_bytes("/data/local/tmp/data") == data
    assert (phone.root / "data/local/tmp/data").read_bytes() == data


def test_a_full_disk_takes_no_file(device: AdbDevice) -> None:
    with pytest.raises(AdbError, match="FAIL"):
        device.sync.push(bytes(2 << 20), "/mnt/small/data")
    assert device.shell("ls /mnt/small") == ""


def test_it_tells_what_its_files_say(phone: Phone, device: AdbDevice) -> None:
    assert "[ro.product.model]: [Pixel 8]" in device.shell("getprop").splitlines()
    assert device.shell("getprop ro.product.model; getprop ro.none; getprop ro.none 9") == "Pixel 8\n\n9"
    battery = phone.root / "stand-in/dumpsys/battery"
    battery.write_text(battery.read_text().replace("temperature: 326", "temperature: 411"))
    assert "  temperature: 411\n" in device.shell("dumpsys battery")
    phone.write_cores({0: (250, 1_000_000), 1: (1024, 2_000_000)})
    assert device.shell("cat /sys/devices/system/cpu/cpu*/cpu_capacity") == "250\n1024"


def test_it_records_what_it_is_told(phone: Phone, device: AdbDevice) -> None:
    (phone.root / "stand-in/answers/settings get global low_power").write_text("0\n")
    assert device.shell("cmd power set-fixed-performance-mode-enabled true; settings get global low_power") == "0"
    told = (phone.root / "stand-in/told").read_text().splitlines()
    assert told[-2:] == ["cmd power set-fixed-performance-mode-enabled true", "settings get global low_power"]


def test_it_keeps_settings_and_has_another_boot_id_after_a_restart(phone: Phone, server: AdbServer, device: AdbDevice) -> None:
    settings = "settings get global stay_on_while_plugged_in"
    boot_id = device.shell("cat /proc/sys/kernel/random/boot_id")
    assert device.shell(f"{settings}; svc power stayon true; {settings}; {settings}x") == "0\n7\nnull"
    phone.kill()
    phone.start()
    server.disconnect(phone.serial)
    phone.connect()
    device = server.client.device(phone.serial)
    assert device.shell(settings) == "7"
    assert device.shell("settings put global stay_on_while_plugged_in 3; settings get global stay_on_while_plugged_in") == "3"
    assert device.shell("cat /proc/sys/kernel/random/boot_id") != boot_id


def test_what_it_refuses_ends_badly(phone: Phone, device: AdbDevice) -> None:
    (phone.root / "stand-in/refusals/cmd power on").write_text("no\n")
    told = device.shell2("cmd power on", v2=True)
    assert (told.stdout, told.stderr, told.returncode) == ("", "no\n", 255)


def test_it_names_what_runs_on_it(phone: Phone, device: AdbDevice) -> None:
    with device.shell("sleep 2", stream=True):  # adbd may leave it, where nobody listens any more
        until(lambda: any("sleep 2" in line for line in phone.processes().values()))
    until(lambda: phone.processes() == {})


def test_a_server_is_unauthorized_until_the_user_allows_it(server: AdbServer, phone: Phone) -> None:
    with Gate(phone.address) as gate:
        assert "failed to authenticate" in server.connect(gate.serial)
        assert server.state(gate.serial) == "unauthorized"
        gate.accept()
        until(lambda: server.state(gate.serial) == "device")
        assert server.client.device(gate.serial).shell("id -u") == "2000"
        server.disconnect(gate.serial)
        assert "connected" in server.connect(gate.serial)
        assert server.state(gate.serial) == "device"
        server.disconnect(gate.serial)


def test_a_link_that_is_cut_comes_back(server: AdbServer, gate: Gate) -> None:
    gate.refuse(refuse=True)
    gate.cut()
    until(lambda: server.state(gate.serial) == "offline")
    server.disconnect(gate.serial)
    assert "refused" in server.connect(gate.serial)
    gate.refuse(refuse=False)
    server.connect(gate.serial)
    assert server.client.device(gate.serial).shell("id -u") == "2000"


def test_a_link_that_drops_ends_a_push(server: AdbServer, phone: Phone, gate: Gate) -> None:
    gate.drop_after(1 << 20)
    with pytest.raises(AdbError):
        server.client.device(gate.serial).sync.push(bytes(4 << 20), "/data/local/tmp/dropped")
    until(lambda: not (phone.root / "data/local/tmp/dropped").exists())


def test_a_call_over_a_stalled_link_hangs_until_the_server_lets_go(server: AdbServer, gate: Gate) -> None:
    gate.stall()
    ended: list[Exception | None] = []

    def call() -> None:
        try:
            server.client.device(gate.serial).sync.push(bytes(4 << 20), "/data/local/tmp/stalled")
        except AdbError as error:
            ended.append(error)
        else:
            ended.append(None)

    calling = threading.Thread(target=call)
    calling.start()
    calling.join(0.5)
    assert calling.is_alive()
    server.disconnect(gate.serial)
    calling.join(5.0)
    assert isinstance(ended[0], AdbError)


def test_nothing_is_left_of_a_phone(server: AdbServer, tmp_path: Path) -> None:
    phone = Phone(tmp_path / "phone", server, IMAGES)

    def left() -> list[bool]:
        namespaces = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
        processes = subprocess.run(["pgrep", "-f", str(tmp_path)], check=False, capture_output=True, text=True).stdout
        mounts = Path("/proc/mounts").read_text()
        return [phone.namespace in namespaces, phone.namespace in mounts, processes != "", phone.processes() != {}]

    try:
        phone.connect()
        server.client.device(phone.serial).shell("setsid sleep 100 > /dev/null 2>&1 < /dev/null & sleep 0.2")
        assert list(phone.processes().values()) == ["setsid sleep 100"]
        assert left() == [True] * 4
        assert str(tmp_path) not in Path("/proc/mounts").read_text()
    finally:
        phone.stop()
    assert left() == [False] * 4
    assert server.state(phone.serial) is None
