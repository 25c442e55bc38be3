"""Host keys that are accepted once, by a person who compares them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.devices.inventory import Device
from harness.devices.ssh_connect import fingerprint, let_in, load_known, route_to, socket_to
from harness.errors import ConfigError, Offline, Unauthorized

_TIMEOUT_S = 10.0


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
    import paramiko

    if device.transport != "ssh":
        raise ConfigError(f"{device.name}: only devices reached over SSH have a host key", "nothing is to be done for this one")
    route = route_to(device)
    opened: list[Any] = []
    via = None
    try:
        for hop in (*route.jumps, route):
            sock = socket_to(device.name, hop, via, _TIMEOUT_S, opened.append)
            opened.append(sock)
            known = paramiko.HostKeys()
            load_known(hop, known)
            if known.lookup(hop.key_name) is None or hop is route:
                transport = paramiko.Transport(sock)
                opened.append(transport)
                transport.start_client(timeout=_TIMEOUT_S)
                key = transport.get_remote_server_key()
                if known.lookup(hop.key_name) is None:
                    line = f"{hop.key_name} {key.get_name()} {key.get_base64()}"
                    return UnknownKey(hop.key_name, fingerprint(key), line, hop.known_hosts[0])
                if not known.check(hop.key_name, key):
                    raise Unauthorized(
                        device.name,
                        f"the key of {hop.key_name} is not the one that is known: it shows {fingerprint(key)}",
                        f"if that is right, forget the old one first: ssh-keygen -R '{hop.key_name}' -f {hop.known_hosts[0]}",
                    )
                return None
            via = let_in(device.name, hop, sock, _TIMEOUT_S, opened.append)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise Offline(device.name, f"its SSH server does not answer as one: {error}", "see whether `ssh` reaches it") from error
    finally:
        for one in reversed(opened):
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                one.close()
    return None


def accept(key: UnknownKey) -> None:
    """Write a host key to the user's file of known hosts, as `ssh` does."""
    try:
        key.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = not key.file.exists() or key.file.read_bytes()[-1:] in (b"", b"\n")
        with key.file.open("a", encoding="utf-8") as file:
            file.write(f"{'' if whole else chr(10)}{key.line}\n")
        key.file.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"cannot write {key.file}: {error.strerror}", "see UserKnownHostsFile of your SSH configuration") from error
