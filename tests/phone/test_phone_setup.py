"""A phone without Python made ready by a bundle, measured on, and cleared again."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.devices import bundle as bundles
from harness.devices.adb import AdbTransport
from harness.devices.bundle import BOOT, TREE, bundle_for, described
from harness.devices.inventory import Device
from harness.devices.session import Session
from harness.devices.setup import remove, set_up
from harness.errors import ConfigError, RemoteFailure
from harness.measure.benchmark import bench
from harness.measure.result import Result
from tests.cli import tiny_models
from tests.devices.contract import soon
from tests.devices.netns import allowed
from tests.devices.sshd import inventory
from tests.phone.phone import BIG, Phone

pytestmark = pytest.mark.skipif(not allowed(), reason="a phone's namespaces take root: these tests run where root runs them")
HOME = "/data/local/tmp"
ROOT = f"{HOME}/.latency-harness"


@pytest.fixture
def device(phone: Phone) -> Device:
    return Device("phone", transport="adb", serial=phone.serial)


@pytest.fixture
def transport(device: Device) -> Iterator[AdbTransport]:
    opened = AdbTransport(device)
    yield opened
    opened.close()


def write_bundle(path: Path, architecture: str = "amd64", runtime: str = "tflite-runtime", boot: bytes = b"") -> Path:
    """Write what only says that it is a bundle."""
    contents = {"bundle.json": json.dumps({"architecture": architecture, "runtime": runtime}).encode(), BOOT: boot}
    with tarfile.open(path, "w") as bundle:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            bundle.addfile(entry, io.BytesIO(data))
    return path


def test_a_phone_without_python_is_set_up_measured_on_and_cleared(
    device: Device, bundle: Path, transport: AdbTransport, phone: Phone, tmp_path: Path
) -> None:
    assert transport.run(["sh", "-c", "command -v python3 python"], soon()).stdout == b""
    made = set_up(device, bundle=bundle)
    assert (made.runtime, made.machine, made.folder, made.changed) == ("tflite-runtime", "x86_64", ROOT, True)
    assert made.delegated_nodes.split("/")[0] == made.delegated_nodes.split("/")[1]
    assert not set_up(device, bundle=bundle).changed

    (tmp_path / "devices.toml").write_text(inventory(device))
    (tmp_path / "add.tflite").write_bytes(tiny_models.add())
    (outcome,) = bench(tmp_path / "add.tflite", interval=0.9, max_time_s=10, inventory=tmp_path / "devices.toml")
    assert isinstance(outcome, Result)
    assert outcome.runtime == "tflite-runtime"
    assert outcome.core is not None
    assert int((phone.root / f"sys/devices/system/cpu/cpu{outcome.core}/cpu_capacity").read_text()) == BIG[0]

    assert remove(device) == ROOT
    assert transport.run(["ls", "-A", HOME], soon()).stdout.split() == [b"latency-harness.lease.lock"]
    assert phone.processes() == {}
    assert remove(device) == ROOT


def test_a_phone_that_was_not_set_up_says_so(device: Device) -> None:
    with pytest.raises(ConfigError, match=r"phone is not set up\nharness setup phone"):
        Session.open(device)


def test_a_bundle_that_does_not_fit_is_refused(device: Device, tmp_path: Path, transport: AdbTransport) -> None:
    with pytest.raises(ConfigError, match=r"is for arm64, and phone is amd64\nharness bundle amd64"):
        set_up(device, bundle=write_bundle(tmp_path / "b.tar", "arm64"))
    with pytest.raises(ConfigError, match=r"holds ai-edge-litert, and devices.toml says tflite-runtime"):
        set_up(Device(**{**vars(device), "runtime": "tflite-runtime"}), bundle=write_bundle(tmp_path / "b.tar", runtime="ai-edge-litert"))
    (tmp_path / "text").write_text("no bundle")
    with pytest.raises(ConfigError, match=r"is no bundle: .*\nharness bundle ARCH makes one"):
        set_up(device, bundle=tmp_path / "text")
    assert transport.run(["ls", "-A", ROOT], soon()).stdout == b""


def test_a_bundle_that_cannot_be_unpacked_leaves_nothing(device: Device, tmp_path: Path, transport: AdbTransport) -> None:
    with pytest.raises(RemoteFailure, match="the bundle cannot be unpacked"):
        set_up(device, bundle=write_bundle(tmp_path / "b.tar", boot=b"damaged"))
    assert transport.run(["ls", "-A", f"{ROOT}/runtimes"], soon()).stdout == b""
    remove(device)


def test_a_bundle_says_what_it_is_for_and_holds_licences(bundle: Path) -> None:
    assert (described(bundle).architecture, described(bundle).runtime) == ("amd64", "tflite-runtime")
    with tarfile.open(bundle) as content, content.extractfile(TREE) or io.BytesIO() as packed, tarfile.open(fileobj=packed) as tree:
        names = tree.getnames()
    assert "bin/python" in names
    for package in ("common-licenses/Apache-2.0", "libblas3", "libc6", "python3-numpy", "python3.11-minimal", "xz-utils"):
        assert f"licences/{package}" in names


def test_the_same_files_make_the_same_bundle(bundle: Path, tmp_path: Path) -> None:
    with tarfile.open(bundle) as content, content.extractfile(BOOT) or io.BytesIO() as packed, tarfile.open(fileobj=packed) as files:
        for name, members, mode in (("one", files.getmembers(), 0o700), ("other", files.getmembers()[::-1], 0o755)):
            files.extractall(tmp_path / name, members, filter="data")
            for path in (tmp_path / name).rglob("*"):
                path.chmod(mode)
    (tmp_path / "other/__pycache__").mkdir()
    for each in (tmp_path / "other").iterdir():
        os.utime(each, (1_000_000_000, 1_000_000_000))
    for name in ("one", "other"):
        bundles._write(tmp_path / f"{name}.tar", described(bundle), tmp_path / name, tmp_path / name)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "other.tar").read_bytes()


def test_a_bundle_is_written_where_it_is_asked_for(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(bundle.parents[1]))
    done = CliRunner().invoke(cli, ["bundle", "amd64", "--runtime", "tflite-runtime", "--output", str(tmp_path / "b.tar")])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "tflite-runtime for amd64" in done.stderr
    assert (tmp_path / "b.tar").read_bytes() == bundle.read_bytes()


def test_no_bundle_for_that() -> None:
    with pytest.raises(ConfigError, match=r"no bundle for 'arm65'; did you mean 'arm64'"):
        bundle_for("arm65")
    with pytest.raises(ConfigError, match=r"ai-edge-litert has no wheels for armhf\nruntimes there: tflite-runtime"):
        bundle_for("armhf", "ai-edge-litert")
