"""Models pushed ahead, over a real SSH server and beside other pushes."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.convert.converter import prepare_tflite
from harness.convert.model import Model
from harness.devices import pushed
from harness.devices.session import Session
from harness.errors import DeviceError
from tests.cli import tiny_models
from tests.devices.sshd import Sshd

MIB = 1 << 20


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    started = Sshd(tmp_path_factory.mktemp("board"))
    yield started
    started.stop()


@pytest.fixture
def session(sshd: Sshd) -> Iterator[Session]:
    with Session.open(replace(sshd.device, runtime="ai-edge-litert", python=sys.executable)) as opened:
        yield opened


@pytest.fixture(scope="module")
def add(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("models") / "add.tflite"
    path.write_bytes(tiny_models.add())
    return prepare_tflite(path, "add", {})


def of_size(model: Model, folder: Path, size_bytes: int) -> Model:
    """Return what is only pushed, never run: random bytes."""
    data = os.urandom(size_bytes)
    path = folder / f"{len(list(folder.iterdir()))}.tflite"
    path.write_bytes(data)
    return replace(model, name=path.name, path=path, sha256=hashlib.sha256(data).hexdigest(), size_bytes=size_bytes)


def test_a_model_is_pushed_ahead_beside_others(session: Session, add: Model, tmp_path: Path) -> None:
    models = [of_size(add, tmp_path, 4 * MIB) for _ in range(4)]
    for model in models:
        session.push_ahead(model)
    placed = [session.push(model) for model in reversed(models)]
    assert [hashlib.sha256(Path(file.path).read_bytes()).hexdigest() for file in placed] == [model.sha256 for model in reversed(models)]


def test_what_cannot_be_pushed_ahead_is_told_when_it_is_needed(session: Session, add: Model, tmp_path: Path, sshd: Sshd) -> None:
    model = of_size(add, tmp_path, MIB)
    session.push_ahead(model)
    sshd.kill_sessions()
    with pytest.raises(DeviceError):
        session.push(model)


def test_a_session_that_is_closed_drops_what_is_under_way(sshd: Sshd, add: Model, tmp_path: Path) -> None:
    session = Session.open(replace(sshd.device, runtime="ai-edge-litert", python=sys.executable))
    first, second = (of_size(add, tmp_path, size * MIB) for size in (256, 1))
    session.push_ahead(first)
    session.push_ahead(second)
    errors: list[DeviceError] = []

    def place() -> None:
        try:
            session.push(first)
        except DeviceError as error:
            errors.append(error)

    waiting = threading.Thread(target=place)
    waiting.start()
    time.sleep(0.2)
    began = time.monotonic()
    session.close()
    waiting.join(10)
    assert not waiting.is_alive()
    assert len(errors) == 1
    assert time.monotonic() - began < 15
    while sshd.sessions() and time.monotonic() < began + 15:
        time.sleep(0.05)
    assert sshd.sessions() == []


def test_what_was_used_last_stays_where_room_is_made(session: Session, add: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed, "_KEPT", 2)
    session.acquire(wait_s=120)
    models = [of_size(add, tmp_path, 1000) for _ in range(3)]
    for model in (*models, models[0]):
        session.push(model)
    session._models._make_room(add)
    assert list(session._models._paths) == [models[2].sha256, models[0].sha256]
