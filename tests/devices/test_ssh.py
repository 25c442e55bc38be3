from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.devices.ssh import SshTransport
from harness.devices.ssh_route import route_to
from harness.devices.transport import open_transport, poll_ms
from harness.devices.trust import unknown_key
from harness.errors import ConfigError, Offline, RemoteFailure, TimedOut, Unauthorized, Vanished
from tests.devices.contract import LARGE, CutContract, TransportContract, soon
from tests.devices.sshd import Sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    started = Sshd(tmp_path_factory.mktemp("ssh") / "board")
    yield started
    started.stop()


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A server of the test's own, that it may harm."""
    started = Sshd(tmp_path / "board")
    yield started
    started.stop()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Sshd]:
    """A server that the way to another leads through."""
    started = Sshd(tmp_path / "gate", "gate")
    yield started
    started.stop()


@pytest.fixture
def transport(server: Sshd) -> Iterator[SshTransport]:
    opened = SshTransport(server.device)
    yield opened
    opened.close()


class TestSsh(TransportContract):
    @pytest.fixture
    def remote(self, tmp_path: Path) -> str:
        folder = tmp_path / "remote"
        folder.mkdir()
        return str(folder)


def test_a_deadline_is_never_too_far_for_poll() -> None:
    assert poll_ms(time.monotonic() - 1) == 0
    assert 900 < poll_ms(time.monotonic() + 1) <= 1000
    assert poll_ms(time.monotonic() + 1e9) == 2**31 - 1


def test_an_ssh_device_is_reached_by_ssh(server: Sshd) -> None:
    assert isinstance(open_transport(server.device), SshTransport)


def test_a_command_that_runs_out_of_time_costs_the_connection_nothing(sshd: Sshd) -> None:
    transport = SshTransport(sshd.device)
    transport.run(["true"], soon())
    before = sshd.sessions()
    with pytest.raises(TimedOut):
        transport.run(["sleep", "60"], soon(0.3))
    transport.run(["true"], soon())
    assert sshd.sessions() == before
    transport.close()


class TestSshCut(CutContract):
    @pytest.fixture
    def transport(self, sshd: Sshd) -> Iterator[SshTransport]:
        opened = SshTransport(sshd.device)
        yield opened
        opened.close()

    @pytest.fixture
    def cut(self, sshd: Sshd) -> Callable[[], None]:
        return sshd.kill_sessions


def test_a_push_that_is_cut_leaves_the_old_file(sshd: Sshd, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    new.write_bytes(LARGE * 30)
    transport = SshTransport(sshd.device)
    transport.push(old, f"{tmp_path}/file", soon())
    threading.Timer(0.3, sshd.kill_sessions).start()
    with pytest.raises(Vanished):
        transport.push(new, f"{tmp_path}/file", soon(60))
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_push_that_runs_into_a_full_disk_says_so(transport: SshTransport, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.write_bytes(LARGE)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(RemoteFailure, match=r"cannot push .*\nits disk is full: 8\.0 MiB are needed in .*, 1\.0 are free"):
            transport.push(large, f"{small}/file", soon())
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("doing", ["push", "run", "stream", "send", "receive"])
def test_a_server_that_stops_answering_does_not_hang_the_harness(sshd: Sshd, tmp_path: Path, doing: str) -> None:
    payload = tmp_path / "payload"
    payload.write_bytes(LARGE)
    transport = SshTransport(sshd.device)
    stream = transport.stream(["cat"], soon())
    frozen = sshd.sessions()
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    calls: dict[str, Callable[[], object]] = {
        "push": lambda: transport.push(payload, f"{tmp_path}/file", soon(0.5)),
        "run": lambda: transport.run(["true"], soon(0.5)),
        "stream": lambda: transport.stream(["true"], soon(0.5)),
        "send": lambda: stream.send(LARGE * 8 + b"\n", soon(0.5)),
        "receive": lambda: stream.receive(soon(0.5)),
    }
    begin = time.monotonic()
    try:
        with pytest.raises(TimedOut):
            calls[doing]()
        assert time.monotonic() - begin < 12  # 0.5 s, and 5 s in which the device is asked to end what it runs
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        transport.close()


def test_an_unknown_host_key_is_refused(sshd: Sshd) -> None:
    sshd.known_hosts.unlink()
    with pytest.raises(Unauthorized, match=r"host key of \[127.0.0.1\]:\d+ is not known\nc.*harness trust board"):
        SshTransport(sshd.device).run(["true"], soon())


def test_a_changed_host_key_is_refused(sshd: Sshd) -> None:
    sshd.make_key(sshd.folder / "host_key")
    sshd.stop()
    sshd.start()
    with pytest.raises(Unauthorized, match=r"not the one that is known: it shows ssh-ed25519 SHA256:"):
        SshTransport(sshd.device).run(["true"], soon())


def test_a_revoked_host_key_is_refused(sshd: Sshd) -> None:
    known = sshd.known_hosts.read_text()
    sshd.known_hosts.write_text(known + f"@revoked * {' '.join(known.split()[1:])}\n")
    with pytest.raises(Unauthorized, match="is not known"):
        SshTransport(sshd.device).run(["true"], soon())
    with pytest.raises(Unauthorized, match=r"is revoked in your known hosts: ssh-ed25519 SHA256:"):
        unknown_key(sshd.device)


@pytest.mark.parametrize("host", ["pi4..local", "a" * 64 + ".local"])
def test_a_name_that_no_host_can_have_is_told(server: Sshd, host: str) -> None:
    with pytest.raises(Offline, match=f"cannot reach {re.escape(host)}"):
        SshTransport(replace(server.device, host=host)).run(["true"], soon())


def test_a_key_that_is_not_taken_is_told(sshd: Sshd) -> None:
    (sshd.folder / "authorized_keys").write_text("")
    with pytest.raises(Unauthorized, match="takes none of your keys"):
        SshTransport(sshd.device).run(["true"], soon())


def test_a_board_that_is_off_is_told(sshd: Sshd) -> None:
    sshd.stop()
    with pytest.raises(Offline, match=r"cannot reach 127\.0\.0\.1 port .*: Connection refused"):
        SshTransport(sshd.device).run(["true"], soon())


def test_what_a_login_shell_prints_is_passed_over(sshd: Sshd) -> None:
    (sshd.home / ".bashrc").write_text("echo welcome; echo and mind the gap >&2; printf 'no newline'\n")
    transport = SshTransport(sshd.device)
    done = transport.run(["sh", "-c", "echo out; echo err >&2"], soon())
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    transport.close()


def test_a_login_that_runs_no_commands_is_told(sshd: Sshd) -> None:
    with (sshd.folder / "sshd_config").open("a") as file:
        file.write("ForceCommand echo This account is currently not available.\n")
    sshd.stop()
    sshd.start()
    with pytest.raises(RemoteFailure, match="runs no commands; it says: This account is currently not available"):
        SshTransport(sshd.device).run(["true"], soon())


def test_a_server_that_drops_connections_is_offline(sshd: Sshd) -> None:
    sshd.stop()
    with socket.socket() as dropping:
        dropping.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections to the server before it linger
        dropping.bind(("127.0.0.1", sshd.port))
        dropping.listen()

        def drop() -> None:
            dropping.accept()[0].close()

        threading.Thread(target=drop, daemon=True).start()
        with pytest.raises(Offline, match="does not answer as an SSH server"):
            SshTransport(sshd.device).run(["true"], soon(5))


def test_an_agent_holds_the_key_of_an_identity(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a passphrase that `ssh-add` has unlocked, under IdentitiesOnly."""
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        deadline = soon(5)
        while not (tmp_path / "agent").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        subprocess.run(["ssh-add", "-q", str(sshd.identity)], check=True)
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(sshd.identity)], check=True, stdout=subprocess.DEVNULL)
        transport = SshTransport(sshd.device)
        assert transport.run(["echo", "in"], soon()).stdout == b"in\n"
        transport.close()
        agent.terminate()


def test_a_gate_that_is_itself_behind_a_gate_is_passed(gate: Sshd, sshd: Sshd, tmp_path: Path) -> None:
    bastion = Sshd(tmp_path / "bastion", "bastion")
    try:
        ways = f"{gate.config.read_text()}  ProxyJump bastion\n{bastion.config.read_text()}"
        sshd.config.write_text(f"{sshd.config.read_text()}  ProxyJump gate\n{ways}")
        transport = SshTransport(sshd.device)
        assert transport.run(["echo", "through"], soon()).stdout == b"through\n"
        assert len(gate.sessions()) == len(bastion.sessions()) == 1
        transport.close()
    finally:
        bastion.stop()


def test_the_inventory_comes_before_the_configuration(server: Sshd) -> None:
    device = replace(server.device, port=2222, user="pi")
    route = route_to(device)
    assert (route.host, route.port, route.user, route.key_name) == ("127.0.0.1", 2222, "pi", "[127.0.0.1]:2222")
    assert route.identities == (server.identity,)
    assert not route.use_agent


def test_a_broken_configuration_is_told(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host board\n  Nonsense yes\n")
    with pytest.raises(ConfigError, match=r"board: ssh does not take its configuration.*nonsense"):
        route_to(replace(server.device, ssh_config=str(tmp_path / "config")))


def test_a_board_behind_a_jump_host_is_reached(gate: Sshd, sshd: Sshd) -> None:
    sshd.config.write_text(f"{sshd.config.read_text()}  ProxyJump gate\n{gate.config.read_text()}")
    transport = SshTransport(sshd.device)
    assert transport.run(["echo", "through"], soon()).stdout == b"through\n"
    assert len(gate.sessions()) == 1
    transport.close()


def test_a_proxy_command_is_followed(gate: Sshd, sshd: Sshd) -> None:
    sshd.config.write_text(f"{sshd.config.read_text()}  ProxyCommand ssh -F {gate.config} -W %h:%p gate\n")
    transport = SshTransport(sshd.device)
    assert transport.run(["echo", "through"], soon()).stdout == b"through\n"
    assert len(gate.sessions()) == 1
    transport.close()
