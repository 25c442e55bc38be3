"""`harness trust` against a real SSH server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.main import cli
from harness.devices.inventory import Device
from tests.devices.sshd import Sshd, inventory


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    started = Sshd(tmp_path / "board")
    (tmp_path / "devices.toml").write_text(inventory(started.device, Device("local")))
    yield started
    started.stop()


def trust(folder: Path, *arguments: str, say: str = "") -> Result:
    return CliRunner().invoke(cli, ["trust", *arguments, "--inventory", str(folder / "devices.toml")], input=say)


def test_a_key_is_shown_and_remembered(sshd: Sshd, tmp_path: Path) -> None:
    sshd.known_hosts.write_text("other ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
    found = trust(tmp_path, "board", say="y\n")
    assert found.exit_code == 0
    assert f"[127.0.0.1]:{sshd.port} shows ssh-ed25519 SHA256:" in found.stderr
    assert len(sshd.known_hosts.read_text().splitlines()) == 2
    assert "known and the same" in trust(tmp_path, "board").stderr


def test_a_key_that_the_user_does_not_know_is_not_remembered(sshd: Sshd, tmp_path: Path) -> None:
    sshd.known_hosts.unlink()
    assert trust(tmp_path, "board", say="n\n").exit_code == 1
    assert not sshd.known_hosts.exists()


def test_a_changed_key_is_never_accepted_over_the_old_one(sshd: Sshd, tmp_path: Path) -> None:
    before = sshd.known_hosts.read_text()
    sshd.make_key(sshd.folder / "host_key")
    sshd.stop()
    sshd.start()
    found = trust(tmp_path, "board", "--yes")
    assert found.exit_code == 1
    assert "ssh-keygen -R '[127.0.0.1]:" in found.stderr
    assert sshd.known_hosts.read_text() == before


def test_a_key_of_another_kind_than_the_servers_first_is_known_too(sshd: Sshd, tmp_path: Path) -> None:
    sshd.know("host_key_ecdsa")
    assert "known and the same" in trust(tmp_path, "board").stderr


@pytest.mark.parametrize("file", ["/dev/null", "none"])
def test_where_no_key_can_be_remembered_none_is_asked_for(sshd: Sshd, tmp_path: Path, file: str) -> None:
    sshd.config.write_text(sshd.config.read_text().replace(str(sshd.known_hosts), file))
    found = trust(tmp_path, "board", "--yes")
    assert found.exit_code == 1
    assert "keys cannot be remembered in" in found.stderr


def test_a_line_that_is_no_key_is_passed_over(sshd: Sshd, tmp_path: Path) -> None:
    sshd.known_hosts.write_text(f"board ssh-ed25519 !!!\nnonsense\n{sshd.known_hosts.read_text()}")
    assert "known and the same" in trust(tmp_path, "board").stderr


def test_other_devices_have_no_host_key(sshd: Sshd, tmp_path: Path) -> None:
    assert sshd.port
    found = trust(tmp_path, "local")
    assert found.exit_code == 1
    assert "only devices reached over SSH" in found.stderr
