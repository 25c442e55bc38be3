from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.convert.source import resolve
from harness.errors import ConfigError
from harness.networks.named import network_named


def test_a_name_of_the_zoo_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mobilenet_v2").mkdir()
    (tmp_path / "mobilenet_v2" / "saved_model.pb").touch()
    assert resolve("mobilenet_v2").network == network_named("mobilenet_v2")
    assert resolve("./mobilenet_v2").kind == "saved_model"
    assert resolve(Path("mobilenet_v2")).kind == "saved_model"


@pytest.mark.parametrize(("name", "kind"), [("a.tflite", "tflite"), ("a.TFLITE", "tflite"), ("a.keras", "keras"), ("a.h5", "keras")])
def test_a_file_is_known_by_its_suffix(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).touch()
    source = resolve(str(tmp_path / name))
    assert (source.kind, source.path) == (kind, tmp_path / name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("nowhere.tflite", "no such file"),
        ("some/where", "no such file"),
        ("~/no-such-model", "no such file"),
        ("~no-such-user/m.tflite", "no such user's home folder"),
        (f"{'m' * 300}.tflite", "cannot be read (File name too long)"),
        ("a\0b.tflite", "no such file"),
        ("mobilenet-v2", "did you mean 'mobilenet_v2'"),
        ("mine.toml", "no such file"),
    ],
)
def test_what_is_nowhere_is_said_so(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(text)
    assert says in str(caught.value)


@contextmanager
def not_root() -> Iterator[None]:
    """Be another user for a moment, if this one is root, who may enter every folder."""
    before = os.geteuid()
    os.seteuid(before or 65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_what_lies_in_a_closed_folder_cannot_be_read(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    with not_root(), pytest.raises(ConfigError, match=r"cannot be read \(Permission denied\)"):
        resolve(closed / "m.tflite")


def test_a_folder_or_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no saved_model\.pb"):
        resolve(tmp_path)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ConfigError, match="not a kind of model file"):
        resolve(tmp_path / "model.onnx")
