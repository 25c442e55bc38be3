"""A phone that tests share: a real adb server, a real adbd, and no Python on it. Needs root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.phone.adb_server import AdbServer
from tests.phone.bundles import PHONES, kept_bundle
from tests.phone.phone import Phone


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbServer]:
    started = AdbServer(tmp_path_factory.mktemp("adb") / "server")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in started.environment.items():
            patch.setenv(name, value)
        yield started
    started.stop()


@pytest.fixture(scope="session")
def phone(tmp_path_factory: pytest.TempPathFactory, adb_server: AdbServer) -> Iterator[Phone]:
    started = Phone(tmp_path_factory.mktemp("phones") / "phone", adb_server, PHONES)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def bundle() -> Path:
    """Return the bundle of tflite-runtime for the phone, which is of this machine's architecture."""
    return kept_bundle("amd64", "tflite-runtime")


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory, adb_server: AdbServer, bundle: Path) -> Iterator[Phone]:
    """A phone that is set up."""
    from harness.devices.inventory import Device
    from harness.devices.setup import set_up

    started = Phone(tmp_path_factory.mktemp("phones") / "ready", adb_server, PHONES)
    try:
        set_up(Device("phone", transport="adb", serial=started.serial), bundle=bundle)
        yield started
    finally:
        started.stop()


@pytest.fixture
def quiet(ready: Phone) -> Iterator[Phone]:
    """That phone, which has been told nothing yet; what a test makes it say is forgotten after it."""
    before = {path: path.read_bytes() for path in (ready.root / "stand-in").rglob("*") if path.is_file()}
    (ready.root / "stand-in/told").write_text("")
    yield ready
    for path in (ready.root / "stand-in").rglob("*"):
        if path.is_file() and path not in before:
            path.unlink()
    for path, data in before.items():
        path.write_bytes(data)
    ready.write_cores()
    ready.server.disconnect(ready.serial)  # some tests want one phone alone to be attached
