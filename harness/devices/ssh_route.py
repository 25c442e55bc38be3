"""Where an SSH device is and how it is reached: as the user's own `ssh` goes, which tells it by `ssh -G`."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.devices.inventory import Device
from harness.errors import ConfigError

_CONFIG_TIMEOUT_S = 10.0
_MOST_JUMPS = 8


@dataclass(frozen=True)
class Route:
    """Where to connect and as whom. `key_name` is what the host's key is filed under; `jumps` are passed through in their order.

    Without `use_agent` the agent may offer the keys of `identities` alone.
    """

    host: str
    port: int
    user: str
    key_name: str
    known_hosts: tuple[Path, ...]
    identities: tuple[Path, ...]
    use_agent: bool
    jumps: tuple[Route, ...] = ()
    proxy_command: str | None = None

    def hops(self) -> tuple[Route, ...]:
        """Return every host to connect to, this one last; the first jump is reached by its own way."""
        return (*self.jumps[0].hops(), *self.jumps[1:], self) if self.jumps else (self,)


def route_to(device: Device) -> Route:
    """Return the way to an SSH device. Raises ConfigError where there is no OpenSSH client, or its configuration is wrong."""
    assert device.host is not None
    file = [] if device.ssh_config is None else ["-F", str(Path(device.ssh_config).expanduser())]
    own = [
        text
        for flag, value in (("-p", device.port), ("-l", device.user), ("-i", device.identity))
        if value is not None
        for text in (flag, str(value))
    ]
    return _route(device.name, device.host, file, own, 0)


def _route(device: str, host: str, file: list[str], own: list[str], depth: int) -> Route:
    if depth > _MOST_JUMPS:
        raise ConfigError(f"{device}: its ProxyJump leads in a circle", "`Match !host GATE` keeps the gate itself from jumping")
    settings = _settings(device, host, [*file, *own])

    def one(key: str, default: str) -> str:
        return settings.get(key, [default])[0]

    hostname, port, user = one("hostname", host), int(one("port", "22")), one("user", getpass.getuser())
    tokens = {"%": "%", "h": hostname, "n": host, "p": str(port), "r": user, "d": str(Path.home()), "u": getpass.getuser()}
    jumps: tuple[Route, ...] = ()
    if (jump := one("proxyjump", "none")) != "none":
        jumps = tuple(_jump(device, text, file, depth + 1) for text in jump.split(",") if text != host)
    identities = [Path(_expanded(name, tokens)).expanduser() for name in settings.get("identityfile", [])]
    command, alias = one("proxycommand", "none"), one("hostkeyalias", "none")
    own_name = hostname if port == 22 else f"[{hostname}]:{port}"
    return Route(
        host=hostname,
        port=port,
        user=user,
        key_name=own_name if alias == "none" else alias,
        known_hosts=tuple(Path(name).expanduser() for files in ("user", "global") for name in one(f"{files}knownhostsfile", "").split()),
        identities=tuple(file for file in identities if file.is_file()),
        use_agent=one("identitiesonly", "no") != "yes",
        jumps=jumps,
        proxy_command=None if command == "none" else _expanded(command, tokens),
    )


def _expanded(text: str, tokens: Mapping[str, str]) -> str:
    return re.sub("%(.)", lambda token: tokens.get(token[1], token[0]), text)


def _jump(device: str, text: str, file: list[str], depth: int) -> Route:
    """Return the way to one host of a ProxyJump, written [user@]host[:port] or as an ssh:// address."""
    user, _, rest = text.removeprefix("ssh://").rpartition("@")
    host, colon, port = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    own = [*(["-l", user] if user else []), *(["-p", port] if colon else [])]
    return _route(device, (host if colon else rest).strip("[]"), file, own, depth)


def _settings(device: str, host: str, options: list[str]) -> dict[str, list[str]]:
    """Return what `ssh -G` prints: it alone knows Include, Match and the rest of the user's configuration."""
    program = shutil.which("ssh")
    if program is None:
        raise ConfigError(f"{device}: there is no OpenSSH client on this machine", "install it (Debian: apt install openssh-client)")
    command = [program, "-G", *options, "--", host]
    try:
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_CONFIG_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{device}: reading the SSH configuration takes too long", "does a `Match exec` in it hang?") from None
    if done.returncode != 0:
        raise ConfigError(f"{device}: ssh does not take its configuration: {done.stderr.strip()}", "ssh -G HOST shows the same")
    settings: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        settings.setdefault(key, []).append(value)
    return settings
