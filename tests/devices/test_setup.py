"""A board set up over a real SSH server: this machine, under another home folder."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.devices.board import BoardPython, fit
from harness.devices.footing import FOLDER
from harness.devices.inventory import Device
from harness.devices.packages import _pack, packages_for
from harness.devices.session import Session
from harness.devices.setup import Setup, remove, set_up
from harness.errors import ConfigError, RemoteFailure
from tests.devices.sshd import Sshd, inventory

DEVICE = Device("board", transport="ssh", host="board")
ELF_MACHINE_ARM = 40
PI_OS_12 = BoardPython("/usr/bin/python3.11", (3, 11), "aarch64", (2, 36), venv=True, numpy=None)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    started = Sshd(tmp_path_factory.mktemp("setup") / "board")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def made(board: Sshd) -> Setup:
    return set_up(board.device)


def test_a_board_gets_the_runtime_that_fits(made: Setup, board: Sshd) -> None:
    assert (made.runtime, made.folder, made.changed) == ("ai-edge-litert", f"{board.home}/{FOLDER}", True)
    delegated, total = made.delegated_nodes.split("/")
    assert int(delegated) == int(total) > 10
    assert made.pushed_bytes > 1 << 20


def test_a_session_opens_on_what_was_set_up(made: Setup, board: Sshd) -> None:
    with Session.open(board.device) as session:
        assert session.hello.runtime_version == made.runtime_version
        assert session.occupied_cores == frozenset()


def test_nothing_is_left_but_the_environment_and_the_agent(made: Setup) -> None:
    root = Path(made.folder)
    assert {path.name for path in (root / "runtimes").iterdir()} == {"ai-edge-litert"}
    assert not (root / "packages").exists()


def test_a_second_time_changes_nothing(made: Setup, board: Sshd) -> None:
    again = set_up(board.device)
    assert again == replace(made, changed=False, pushed_bytes=0)


def test_an_environment_that_is_damaged_is_made_again(made: Setup, board: Sshd) -> None:
    python = Path(made.folder) / "runtimes" / "ai-edge-litert" / "bin" / "python"
    python.unlink()
    assert set_up(board.device).changed


def test_a_python_that_is_named_is_what_the_environment_is_made_of(tmp_path: Path) -> None:
    sshd = Sshd(tmp_path / "other")
    try:
        named = replace(sshd.device, python=str(Path(sys.base_prefix, "bin", "python3.11")))
        made = set_up(named)
        assert Path(made.folder, "runtimes", made.runtime, "bin", "python").exists()
        with Session.open(named) as session:
            assert session.hello.runtime_version == made.runtime_version
    finally:
        sshd.stop()


def test_what_somebody_measures_with_is_not_taken_away(made: Setup, board: Sshd) -> None:
    with Session.open(board.device) as session:
        session.acquire(wait_s=120)
        with pytest.raises(RemoteFailure, match="is measuring"):
            remove(board.device)
    assert Path(made.folder).exists()


def test_a_board_that_was_not_set_up_says_so(tmp_path: Path) -> None:
    sshd = Sshd(tmp_path / "other")
    try:
        with pytest.raises(ConfigError, match=r"board is not set up\nharness setup board"):
            Session.open(sshd.device)
        with pytest.raises(ConfigError, match=r"board is not set up for tflite-runtime\nharness setup board"):
            Session.open(replace(sshd.device, runtime="tflite-runtime"))
    finally:
        sshd.stop()


def test_remove_takes_everything_away(tmp_path: Path) -> None:
    sshd = Sshd(tmp_path / "other")
    try:
        (sshd.home / FOLDER / "models").mkdir(parents=True)
        assert remove(sshd.device) == f"{sshd.home}/{FOLDER}"
        assert list(sshd.home.iterdir()) == []
        (tmp_path / "devices.toml").write_text(inventory(sshd.device))
        again = CliRunner().invoke(cli, ["setup", "board", "--remove", "--json", "--inventory", str(tmp_path / "devices.toml")])
        assert (json.loads(again.stdout), again.exit_code) == ({"device": "board", "removed": f"{sshd.home}/{FOLDER}"}, 0)
    finally:
        sshd.stop()


def test_a_python_that_is_not_there_is_told(board: Sshd) -> None:
    with pytest.raises(RemoteFailure, match=r"there is no /opt/python3\.9 on it"):
        set_up(replace(board.device, python="/opt/python3.9"))


def test_this_machine_needs_no_setup() -> None:
    with pytest.raises(ConfigError, match="this machine needs no setup"):
        set_up(Device("local"))


@pytest.mark.parametrize(
    ("python", "runtime", "fitting"),
    [
        (PI_OS_12, None, "ai-edge-litert"),
        (PI_OS_12, "tflite-runtime", "tflite-runtime"),
        (replace(PI_OS_12, version=(3, 9), glibc=(2, 31)), None, "tflite-runtime"),
        (replace(PI_OS_12, version=(3, 10), glibc=(2, 31)), None, "tflite-runtime"),
        (replace(PI_OS_12, version=(3, 13), glibc=(2, 41)), None, "ai-edge-litert"),
        (replace(PI_OS_12, machine="armv7l", numpy="1.24.2"), None, "tflite-runtime"),
    ],
)
def test_the_first_runtime_whose_wheels_run_there_is_chosen(python: BoardPython, runtime: str | None, fitting: str) -> None:
    chosen, one = fit(replace(DEVICE, runtime=runtime), [python])
    assert (chosen, one.runtime) == (python, fitting)


@pytest.mark.parametrize(
    ("python", "runtime", "said"),
    [
        (replace(PI_OS_12, version=(3, 13)), "tflite-runtime", r"Python 3.13 for aarch64.*\n.*tflite-runtime: Python 3.9 to 3.11"),
        (replace(PI_OS_12, glibc=None), None, r"no glibc\)"),
        (replace(PI_OS_12, machine="riscv64"), None, r"for riscv64.*\n.*a 64-bit ARM or x86 system with glibc"),
        (replace(PI_OS_12, machine="armv7l"), None, r"no wheels of numpy 1, and .*has none\n.*apt install python3-numpy"),
        (replace(PI_OS_12, machine="armv7l", numpy="2.2.4"), None, r"has 2\.2\.4"),
    ],
)
def test_a_board_that_no_wheel_fits_is_told_what_would(python: BoardPython, runtime: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        fit(replace(DEVICE, runtime=runtime), [python])


def test_packages_are_the_same_bytes_wherever_they_were_fetched(tmp_path: Path) -> None:
    archives = []
    for python, mode in (("/usr/bin/python3", 0o644), ("/home/me/.venv/bin/python", 0o600)):
        tree = tmp_path / python.replace("/", "_")
        files = {
            "bin/tool": f"#!{python}\n",
            "package/__init__.py": "",
            "package.dist-info/RECORD": f"bin/tool,sha256={hash(python)},{len(python)}\npackage/__init__.py,,0\n",
        }
        for name, text in files.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)
        archives.append(tree.with_suffix(".tar.gz"))
        _pack(tree, archives[-1])
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as content, content.extractfile("package.dist-info/RECORD") or io.BytesIO() as record:
        assert "bin/tool" not in content.getnames()
        assert record.read() == b"package/__init__.py,,0\n"


def test_packages_of_a_32_bit_board_are_fetched_without_numpy() -> None:
    python = replace(PI_OS_12, machine="armv7l", numpy="1.24.2")
    _, fitting = fit(DEVICE, [python])
    archive, _ = packages_for(python, fitting)
    with tarfile.open(archive) as content:
        names = content.getnames()
        library = content.extractfile(next(name for name in names if name.endswith(".so")))
        assert library is not None
        assert library.read(20)[18] == ELF_MACHINE_ARM
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tflite_runtime"}
    begin = time.monotonic()
    assert packages_for(python, fitting)[0] == archive
    assert time.monotonic() - begin < 1
