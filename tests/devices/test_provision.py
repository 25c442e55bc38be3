from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ai_edge_litert.interpreter import Interpreter

from harness.convert.reference import reference_models
from harness.devices import provision
from harness.errors import ConfigError, HarnessError
from latency_agent import protocol

AGENT = Path(protocol.__file__).parent


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_archive_is_the_same_whatever_the_sources_went_through(tmp_path: Path) -> None:
    copies = [tmp_path / "first", tmp_path / "second"]
    for number, copy in enumerate(copies):
        shutil.copytree(AGENT, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for file in copy.rglob("*.py"):
            os.utime(file, (number * 1_000_000_000, number * 1_000_000_000))
            file.chmod(0o600 + number * 0o144)
    (copies[1] / "__pycache__").mkdir()
    (copies[1] / "__pycache__" / "server.cpython-311.pyc").write_bytes(b"compiled")
    assert provision.archive_bytes(copies[0]) == provision.archive_bytes(copies[1]) == provision.archive_bytes(AGENT)


def test_the_archive_is_another_for_other_sources(tmp_path: Path) -> None:
    copy = tmp_path / "agent"
    shutil.copytree(AGENT, copy)
    (copy / "protocol.py").write_text("VERSION = 2\n")
    assert provision.archive_bytes(copy) != provision.archive_bytes(AGENT)


def test_the_archive_is_named_by_its_content_and_made_once(cache: Path) -> None:
    path = provision.agent_archive()
    assert path.parent == cache / "agents"
    assert path.name == f"latency_agent-{hashlib.sha256(path.read_bytes()).hexdigest()}.pyz"
    made = path.stat()
    assert provision.agent_archive() == path
    assert path.stat() == made
    with zipfile.ZipFile(path) as archive:
        assert "latency_agent/protocol.py" in archive.namelist()


def test_a_relative_cache_is_one_folder_wherever_one_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", "cache")
    monkeypatch.chdir(tmp_path)
    assert provision.agent_archive().parent == tmp_path / "cache" / "agents"
    assert reference_models()[0].path.parent == tmp_path / "cache"


def test_a_cache_that_cannot_be_made_is_an_error_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ConfigError, match="cannot be made"):
        provision.agent_archive()


def test_the_archive_runs(cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(provision.agent_archive()), "--help"], capture_output=True, text=True, check=True, timeout=60, cwd=cache
    )
    assert "latency_agent" in done.stdout


def test_the_default_runtime_is_in_the_harness_own_environment(cache: Path) -> None:
    assert provision.runtime_python("ai-edge-litert") == Path(sys.executable)
    assert not cache.exists()


def test_the_smoke_model_is_a_model() -> None:
    interpreter = Interpreter(model_content=provision.smoke_model())
    interpreter.allocate_tensors()
    assert [detail["shape"].tolist() for detail in interpreter.get_input_details()] == [[2]]


def test_the_environment_of_tflite_runtime_is_made_once_and_runs_a_model(cache: Path) -> None:
    told: list[str] = []
    python = provision.runtime_python("tflite-runtime", told.append)
    assert python.is_relative_to(cache / "runtimes")
    assert len(told) == 1
    assert "tflite-runtime" in told[0]
    script = """
import sys, importlib.metadata, numpy
from tflite_runtime.interpreter import Interpreter
interpreter = Interpreter(model_content=sys.stdin.buffer.read())
interpreter.allocate_tensors()
print(importlib.metadata.version("tflite-runtime"), numpy.__version__.split(".")[0], interpreter.get_output_details()[0]["shape"].tolist())
"""
    done = subprocess.run([python, "-I", "-c", script], input=provision.smoke_model(), capture_output=True, check=True, timeout=60)
    assert done.stdout.decode().split(maxsplit=2) == ["2.14.0", "1", "[2]\n"]

    assert provision.runtime_python("tflite-runtime", told.append) == python
    assert len(told) == 1
    assert [entry.name for entry in (cache / "runtimes").iterdir()] == [python.parent.parent.name]

    # As after the removal of the Python that it was made from.
    python.unlink()
    assert provision.runtime_python("tflite-runtime", told.append) == python
    assert python.exists()
    assert len(told) == 2


def test_an_environment_that_cannot_be_made_leaves_nothing_behind(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(HarnessError, match="cannot set up tflite-runtime: its packages cannot be installed") as failed:
        provision.runtime_python("tflite-runtime")
    assert "set `python` of the device" in failed.value.hint
    assert list((cache / "runtimes").iterdir()) == []


def told_to_uv(**settings: str) -> list[str]:
    """The index and the certificates that uv is given by a process of its own under these settings."""
    script = "from harness.devices.provision import uv_environment as e; print(e().get('UV_DEFAULT_INDEX'), e().get('SSL_CERT_FILE'))"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "SSL_"))}
    return subprocess.run([sys.executable, "-c", script], env=clean | settings, capture_output=True, text=True, check=True).stdout.split()


def test_the_index_and_the_certificates_of_pip_reach_uv(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = file:///wheels/simple\ncert = /certificates.pem\n")
    assert told_to_uv(PIP_CONFIG_FILE=str(file)) == ["file:///wheels/simple", "/certificates.pem"]
    assert told_to_uv(PIP_CONFIG_FILE=str(file), PIP_INDEX_URL="file:///other/simple") == ["file:///other/simple", "/certificates.pem"]
    assert told_to_uv(PIP_CONFIG_FILE=str(file), UV_DEFAULT_INDEX="file:///uv/simple") == ["file:///uv/simple", "/certificates.pem"]
    assert told_to_uv(PIP_CONFIG_FILE=os.devnull, PIP_CERT="/certificates.pem")[1] == "/certificates.pem"
