"""The way to a board over SSH: sockets, jump hosts, host keys, keys and agent."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.devices.ssh_route import Route
from harness.errors import Offline, Unauthorized

if TYPE_CHECKING:
    import paramiko

Opened = Callable[[Any], None]
"""Told of each socket, process and client at once, so that they can be closed."""

_KEEPALIVE_S = 2
_UNACKNOWLEDGED_MS = 4000
"""A connection whose data stays unacknowledged for so long is over: without this a cut link hangs whoever sends."""


def connect(device: str, route: Route, deadline: float, opened: Opened) -> paramiko.SSHClient:
    """Return a client that is let in, its host's key known, through every host on the way.

    Raises Unauthorized for an unknown or changed host key and where no key is taken, Offline where nobody answers as an SSH server.
    """
    via = None
    for hop in route.hops():
        via = let_in(device, hop, socket_to(device, hop, via, deadline, opened), deadline, opened)
    assert via is not None
    return via


def let_in(device: str, route: Route, sock: Any, deadline: float, opened: Opened) -> paramiko.SSHClient:
    """Return a client on `sock` that is let in, the host's key known; raises Unauthorized where it is not, Offline where nobody answers."""
    import paramiko

    # What paramiko logs it also raises; without a handler its tracebacks would reach the terminal.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    opened(sock)
    client = paramiko.SSHClient()
    opened(client)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    load_known(route, client.get_host_keys())
    known = client.get_host_keys().lookup(route.key_name) is not None
    agent_key = _agent_key(route, opened)
    timeout_s = left_s(deadline)
    try:
        # With a socket of its own the port serves only to find the host's key, which is filed under `key_name` already.
        client.connect(
            route.key_name,
            port=22,
            username=route.user,
            sock=sock,
            pkey=agent_key,
            key_filename=[str(file) for file in route.identities if file.suffix != ".pub"],  # type: ignore[arg-type] # a list is taken too
            allow_agent=route.use_agent,
            look_for_keys=False,
            timeout=timeout_s,
            banner_timeout=timeout_s,
            auth_timeout=timeout_s,
            channel_timeout=timeout_s,
        )
    except paramiko.BadHostKeyException as error:
        raise changed_key(device, route, error.key) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport = client.get_transport()
        if transport is not None and transport.is_active() and not known:
            raise Unauthorized(
                device, f"the host key of {route.key_name} is not known", f"compare it and accept it: harness trust {device}"
            ) from None
        if isinstance(error, paramiko.AuthenticationException) or (transport is not None and transport.is_active()):
            raise Unauthorized(
                device,
                f"{route.user}@{route.host} takes none of your keys ({error})",
                f"`ssh {route.user}@{route.host}` must get in without a password: ssh-copy-id puts your key there, ssh-add unlocks it "
                "(the agent is the one of $SSH_AUTH_SOCK)",
            ) from error
        raise Offline(
            device, f"{route.host} port {route.port} does not answer as an SSH server: {error}", "is it still starting? try `ssh` to it"
        ) from error
    transport = client.get_transport()
    assert transport is not None
    transport.set_keepalive(_KEEPALIVE_S)
    return client


def _agent_key(route: Route, opened: Opened) -> paramiko.PKey | None:
    """Return the agent's key that IdentitiesOnly allows, None where the agent may offer all it has, or has none of them."""
    import paramiko

    if route.use_agent:
        return None
    allowed = set()
    for file in route.identities:
        public = file if file.suffix == ".pub" else file.with_name(f"{file.name}.pub")
        with suppress(OSError, IndexError, ValueError):
            allowed.add(base64.b64decode(public.read_text().split()[1]))
    agent = paramiko.Agent()
    opened(agent)
    return next((key for key in agent.get_keys() if key.asbytes() in allowed), None)


def changed_key(device: str, route: Route, key: paramiko.PKey) -> Unauthorized:
    """Return the error of a host whose key is not the known one."""
    return Unauthorized(
        device,
        f"the key of {route.key_name} is not the one that is known: it shows {fingerprint(key)}",
        f"if the board was installed anew, forget the old key (ssh-keygen -R '{route.key_name}'), then: harness trust {device}",
    )


def socket_to(device: str, route: Route, via: paramiko.SSHClient | None, deadline: float, opened: Opened) -> Any:
    """Return a socket, or what paramiko takes for one, to the server of a route; raises Offline."""
    import paramiko

    failure: Exception
    if via is not None:
        transport = via.get_transport()
        assert transport is not None
        try:
            return transport.open_channel("direct-tcpip", (route.host, route.port), ("127.0.0.1", 0), timeout=left_s(deadline))
        except (paramiko.SSHException, EOFError, OSError) as error:
            failure = error
    elif route.proxy_command is not None:
        return _through(device, route.proxy_command, opened)
    else:
        try:
            return _direct(route, deadline)
        except (OSError, ValueError) as error:  # a name that none can have, for one
            failure = error
    why = "did not answer in time" if isinstance(failure, TimeoutError) else (getattr(failure, "strerror", None) or str(failure))
    raise Offline(
        device, f"cannot reach {route.host} port {route.port}: {why}", "is it switched on, on this network, and its sshd running?"
    ) from failure


def _direct(route: Route, deadline: float) -> socket.socket:
    """Return a socket to the first of the host's addresses that takes one."""
    failure: OSError = TimeoutError()
    for family, kind, number, _, address in socket.getaddrinfo(route.host, route.port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, number)
        try:
            sock.settimeout(left_s(deadline))
            sock.connect(address)
            # Paramiko leaves Nagle's algorithm on, which costs each command 40 ms.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _through(device: str, command: str, opened: Opened) -> socket.socket:
    """Return a socket whose other end is the stdin and stdout of a ProxyCommand, run by a shell as `ssh` runs it."""
    ours, theirs = socket.socketpair()
    shell = os.environ.get("SHELL", "/bin/sh")
    try:
        with theirs:
            ends = theirs.fileno()
            process = subprocess.Popen([shell, "-c", f"exec {command}"], stdin=ends, stdout=ends, start_new_session=True)
    except OSError as error:
        ours.close()
        raise Offline(device, f"the ProxyCommand cannot be run: {error.strerror}", shlex.join([shell, "-c", command])) from error
    opened(_Process(process))
    return ours


@dataclass(frozen=True)
class _Process:
    process: subprocess.Popen[bytes]

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def load_known(route: Route, keys: paramiko.HostKeys) -> set[bytes]:
    """Add the host keys that the user's files know to `keys`, and return those that they revoke, which are not added for any host.

    Lines that are none are passed over, as `ssh` does.
    """
    import paramiko
    from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

    known, revoked = [], set()
    for file in route.known_hosts:
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else ():
            marked = line.startswith("@revoked ")
            entry: Any = None
            if marked or not line.startswith(("#", "@")):
                with suppress(paramiko.SSHException, InvalidHostKey):
                    entry = HostKeyEntry.from_line(line.removeprefix("@revoked ").strip())
            if entry is None or entry.key is None:
                continue
            if marked:
                revoked.add(entry.key.asbytes())
            else:
                known.append(entry)
    for entry in known:
        if entry.key.asbytes() not in revoked:
            for name in entry.hostnames:
                keys.add(name, entry.key.get_name(), entry.key)
    return revoked


def prefer(transport: paramiko.Transport, kinds: Sequence[str]) -> None:
    """Make a server show, of its host keys, one of a kind that is known; paramiko's own client does the same."""
    options = transport.get_security_options()
    known = [kind for kind in kinds if kind in options.key_types]
    if "ssh-rsa" in kinds:
        known += [kind for kind in ("rsa-sha2-512", "rsa-sha2-256") if kind in options.key_types]
    options.key_types = [*known, *(kind for kind in options.key_types if kind not in known)]


def left_s(deadline: float) -> float:
    """Return how long it is to the deadline; a moment where it has passed."""
    return max(0.1, deadline - time.monotonic())


def fingerprint(key: paramiko.PKey) -> str:
    """Return a host key's kind and SHA-256 as `ssh-keygen -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"
