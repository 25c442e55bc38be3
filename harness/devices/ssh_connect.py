"""The way to a board over SSH, as the user's own `ssh` goes it: configuration, jump hosts, host keys, keys and agent."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.devices.inventory import Device
from harness.errors import ConfigError, Offline, Unauthorized

if TYPE_CHECKING:
    import paramiko

_CONFIG_TIMEOUT_S = 10.0
_KEEPALIVE_S = 2
_UNACKNOWLEDGED_MS = 4000
"""A connection whose data stays unacknowledged for so long is over: without this a cut link hangs whoever sends."""


@dataclass(frozen=True)
class Route:
    """Where to connect and as whom. `key_name` is what the host's key is filed under; `jumps` are passed through in their order."""

    host: str
    port: int
    user: str
    key_name: str
    known_hosts: tuple[Path, ...]
    identities: tuple[Path, ...]
    use_agent: bool
    jumps: tuple[Route, ...] = ()
    proxy_command: str | None = None


def route_to(device: Device) -> Route:
    """Return the way to an SSH device. Raises ConfigError where there is no OpenSSH client, which reads `~/.ssh/config`."""
    assert device.host is not None
    options = [] if device.ssh_config is None else ["-F", str(Path(device.ssh_config).expanduser())]
    for flag, value in (("-p", device.port), ("-l", device.user), ("-i", device.identity)):
        if value is not None:
            options += [flag, str(value)]
    return _route(device.name, device.host, options, options[:2] if device.ssh_config else [])


def _route(device: str, host: str, options: list[str], options_of_jumps: list[str]) -> Route:
    settings = _settings(device, host, options)

    def one(key: str, default: str) -> str:
        return settings.get(key, [default])[0]

    hostname, port = one("hostname", host), int(one("port", "22"))
    jumps: tuple[Route, ...] = ()
    if (jump := one("proxyjump", "none")) != "none":
        jumps = tuple(_jump(device, text, options_of_jumps) for text in jump.split(","))
    user, command = one("user", ""), one("proxycommand", "none")
    tokens = {"%": "%", "h": hostname, "n": host, "p": str(port), "r": user}
    alias = one("hostkeyalias", "none")
    own_name = hostname if port == 22 else f"[{hostname}]:{port}"
    return Route(
        host=hostname,
        port=port,
        user=user,
        key_name=own_name if alias == "none" else alias,
        known_hosts=tuple(
            Path(file).expanduser() for key in ("userknownhostsfile", "globalknownhostsfile") for file in one(key, "").split()
        ),
        identities=tuple(path for file in settings.get("identityfile", []) if (path := Path(file).expanduser()).is_file()),
        use_agent=one("identitiesonly", "no") != "yes",
        jumps=jumps,
        proxy_command=None if command == "none" else re.sub("%([%hnpr])", lambda token: tokens[token[1]], command),
    )


def _jump(device: str, text: str, options: list[str]) -> Route:
    """Return the way to one host of a ProxyJump, written [user@]host[:port] or as an ssh:// address."""
    user, _, rest = text.removeprefix("ssh://").rpartition("@")
    host, colon, port = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    options = [*options, *(["-l", user] if user else []), *(["-p", port] if colon else [])]
    return _route(device, (host if colon else rest).strip("[]"), options, [])


def _settings(device: str, host: str, options: list[str]) -> dict[str, list[str]]:
    """Return what `ssh -G` prints: it alone knows Include, Match and the rest of the user's configuration."""
    program = shutil.which("ssh")
    if program is None:
        raise ConfigError(f"{device}: there is no OpenSSH client on this machine", "install it (Debian: apt install openssh-client)")
    command = [program, "-G", *options, "--", host]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_CONFIG_TIMEOUT_S)
    if done.returncode != 0:
        raise ConfigError(f"{device}: ssh does not take its configuration: {done.stderr.strip()}", "ssh -G HOST shows the same")
    settings: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        settings.setdefault(key, []).append(value)
    return settings


def connect(device: str, route: Route, timeout_s: float, opened: Callable[[Any], None]) -> paramiko.SSHClient:
    """Return a client that is let in, its host's key known. `opened` is told each socket and client at once, so that they can be closed.

    Raises Unauthorized for an unknown or changed host key and where no key is taken, Offline where nobody answers; what paramiko and
    the socket raise besides is the caller's to tell.
    """
    import paramiko

    via = None
    for jump in route.jumps:
        via = let_in(device, jump, socket_to(device, jump, via, timeout_s, opened), timeout_s, opened)
    sock = socket_to(device, route, via, timeout_s, opened)
    try:
        return let_in(device, route, sock, timeout_s, opened)
    except paramiko.AuthenticationException as error:
        raise Unauthorized(
            device,
            f"{route.user}@{route.host} takes none of your keys ({error})",
            f"`ssh {route.user}@{route.host}` must get in without a password: ssh-copy-id puts your key there, ssh-add unlocks it",
        ) from error


def let_in(device: str, route: Route, sock: Any, timeout_s: float, opened: Callable[[Any], None]) -> paramiko.SSHClient:
    """Return a client on `sock` that is let in, the host's key known; raises Unauthorized where it is not, and what paramiko raises."""
    import paramiko

    opened(sock)
    client = paramiko.SSHClient()
    opened(client)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    load_known(route, client.get_host_keys())
    known = client.get_host_keys().lookup(route.key_name) is not None
    try:
        # With a socket of its own the port serves only to find the host's key, which is filed under `key_name` already.
        client.connect(
            route.key_name,
            port=22,
            username=route.user,
            sock=sock,
            key_filename=[str(file) for file in route.identities],  # type: ignore[arg-type] # a list is taken too
            allow_agent=route.use_agent,
            look_for_keys=False,
            timeout=timeout_s,
            banner_timeout=timeout_s,
            auth_timeout=timeout_s,
            channel_timeout=timeout_s,
        )
    except paramiko.BadHostKeyException as error:
        raise Unauthorized(
            device,
            f"the key of {route.key_name} is not the one that is known: it shows {fingerprint(error.key)}",
            f"if the board was installed anew, forget the old key (ssh-keygen -R '{route.key_name}'), then: harness trust {device}",
        ) from error
    except paramiko.SSHException:
        if not known:
            raise Unauthorized(
                device, f"the host key of {route.key_name} is not known", f"compare it and accept it: harness trust {device}"
            ) from None
        raise
    transport = client.get_transport()
    assert transport is not None
    transport.set_keepalive(_KEEPALIVE_S)
    return client


def socket_to(device: str, route: Route, via: paramiko.SSHClient | None, timeout_s: float, opened: Callable[[Any], None]) -> Any:
    """Return a socket, or what paramiko takes for one, to the server of a route; raises Offline."""
    if via is not None:
        transport = via.get_transport()
        assert transport is not None
        return transport.open_channel("direct-tcpip", (route.host, route.port), ("127.0.0.1", 0), timeout=timeout_s)
    if route.proxy_command is not None:
        return _through(device, route.proxy_command, opened)
    try:
        sock = socket.create_connection((route.host, route.port), timeout=timeout_s)
    except OSError as error:
        why = "did not answer in time" if isinstance(error, TimeoutError) else (error.strerror or str(error))
        raise Offline(
            device, f"cannot reach {route.host} port {route.port}: {why}", "is it switched on, on this network, and its sshd running?"
        ) from error
    # Paramiko leaves Nagle's algorithm on, which costs each command 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    return sock


def _through(device: str, command: str, opened: Callable[[Any], None]) -> socket.socket:
    """Return a socket whose other end is the stdin and stdout of a ProxyCommand."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(shlex.split(command), stdin=theirs.fileno(), stdout=theirs.fileno(), start_new_session=True)
    except OSError as error:
        ours.close()
        raise Offline(device, f"the ProxyCommand cannot be run: {error.strerror}", command) from error
    opened(_Process(process))
    return ours


@dataclass(frozen=True)
class _Process:
    process: subprocess.Popen[bytes]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def load_known(route: Route, keys: paramiko.HostKeys) -> None:
    """Add the host keys that the user's files know to `keys`."""
    for file in route.known_hosts:
        if file.is_file():
            keys.load(str(file))


def fingerprint(key: paramiko.PKey) -> str:
    """Return a host key's kind and SHA-256 as `ssh-keygen -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"
