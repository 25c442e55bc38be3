"""Host keys that are accepted once, by a person who compares them."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.devices.inventory import Device
from harness.devices.ssh_connect import changed_key, fingerprint, left_s, let_in, load_known, prefer, socket_to
from harness.devices.ssh_route import Route, route_to
from harness.errors import ConfigError, Offline, Unauthorized

_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class UnknownKey:
    """A host key that was never accepted: whose it is, as `ssh-keygen -l` prints it, and the line that accepts it in `file`."""

    host: str
    fingerprint: str
    line: str
    file: Path


def unknown_key(device: Device) -> UnknownKey | None:
    """Return the first host key on the way to an SSH device that is not known, None where all are.

    Raises ConfigError for another kind of device, Unauthorized for a key that is not the known one, Offline where nobody answers.
    """
    if device.transport != "ssh":
        raise ConfigError(f"{device.name}: only devices reached over SSH have a host key", "nothing is to be done for this one")
    deadline = time.monotonic() + _TIMEOUT_S
    opened: list[Any] = []
    via = None
    route = route_to(device)
    try:
        for hop in route.hops():
            if (found := _shown(device.name, hop, socket_to(device.name, hop, via, deadline, opened.append), deadline, opened)) is not None:
                return found
            if hop is not route:
                sock = socket_to(device.name, hop, via, deadline, opened.append)
                via = let_in(device.name, hop, sock, deadline, opened.append)
    finally:
        for one in reversed(opened):
            with contextlib.suppress(OSError, EOFError):
                one.close()
    return None


def _shown(device: str, hop: Route, sock: Any, deadline: float, opened: list[Any]) -> UnknownKey | None:
    """Return the key that a host shows, None where it is the known one."""
    import paramiko

    opened.append(sock)
    known = paramiko.HostKeys()
    revoked = load_known(hop, known)
    kinds = known.lookup(hop.key_name)
    try:
        transport = paramiko.Transport(sock)
        opened.append(transport)
        if kinds is not None:
            prefer(transport, list(kinds))
        transport.start_client(timeout=left_s(deadline))
        key = transport.get_remote_server_key()
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise Offline(device, f"{hop.host} does not answer as an SSH server: {error}", "see whether `ssh` reaches it") from error
    if key.asbytes() in revoked:
        what = f"the key that {hop.key_name} shows is revoked in your known hosts: {fingerprint(key)}"
        raise Unauthorized(device, what, "ask whoever runs the board for another host key")
    if kinds is None:
        return UnknownKey(hop.key_name, fingerprint(key), f"{hop.key_name} {key.get_name()} {key.get_base64()}", _file(device, hop))
    if not known.check(hop.key_name, key):
        raise changed_key(device, hop, key)
    return None


def _file(device: str, hop: Route) -> Path:
    """Return the user's file of known hosts; raises ConfigError where keys cannot be kept in it."""
    file = hop.known_hosts[0] if hop.known_hosts else Path("none")
    if file.name == "none" or (file.exists() and not file.is_file()):
        raise ConfigError(
            f"{device}: keys cannot be remembered in {file}", "name another file: UserKnownHostsFile of your SSH configuration"
        )
    return file


def accept(key: UnknownKey) -> None:
    """Write a host key to the user's file of known hosts, as `ssh` does."""
    try:
        key.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = not key.file.exists() or key.file.read_bytes()[-1:] in (b"", b"\n")
        with os.fdopen(os.open(key.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
            file.write(f"{'' if whole else os.linesep}{key.line}\n")
    except OSError as error:
        raise ConfigError(f"cannot write {key.file}: {error.strerror}", "see UserKnownHostsFile of your SSH configuration") from error
