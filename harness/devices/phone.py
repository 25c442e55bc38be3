"""A phone has no Python: a bundle is put there, which holds one."""

from __future__ import annotations

import contextlib
import posixpath
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from harness.convert.cache import hash_path
from harness.devices.bundle import BOOT, TREE, bundle_for, described
from harness.devices.inventory import Device
from harness.devices.transport import Transport
from harness.errors import ConfigError, DeviceError, RemoteFailure

_ARCHITECTURES = {"aarch64": "arm64", "armv8l": "armhf", "armv7l": "armhf", "x86_64": "amd64"}
_TIMEOUT_S = 600.0
_UNPACK = f"""\
cd "$1" && tar -xf "$2" && mkdir boot made && tar -xzf {BOOT} -C boot &&
boot/loader --library-path boot boot/xz -dc {TREE} | tar -x -C made && test -x made/bin/python"""


def choose(
    device: Device, transport: Transport, deadline: float, given: Path | None, announce: Callable[[str], None]
) -> tuple[str, str, Path]:
    """Return a phone's machine, the runtime for it, and the bundle of that: the one `given`, or one made here.

    Raises ConfigError where there is none for it, and what `bundle_for` raises.
    """
    machine = transport.run(["uname", "-m"], deadline).stdout.decode(errors="replace").strip()
    if machine not in _ARCHITECTURES:
        raise ConfigError(f"{device.name}: no bundle for its architecture, {machine}", f"there are some for {', '.join(_ARCHITECTURES)}")
    architecture = _ARCHITECTURES[machine]
    if given is not None:
        kind = described(given)
        if kind.architecture != architecture:
            raise ConfigError(f"{given} is for {kind.architecture}, and {device.name} is {architecture}", f"harness bundle {architecture}")
        if device.runtime not in (None, kind.runtime):
            raise ConfigError(
                f"{given} holds {kind.runtime}, and devices.toml says {device.runtime}",
                f"harness bundle {architecture} --runtime {device.runtime}",
            )
        return machine, kind.runtime, given
    made = bundle_for(architecture, device.runtime, announce)
    return machine, described(made).runtime, made


def install(device: Device, transport: Transport, bundle: Path, agent: str, into: str, lease: tuple[str, ...]) -> None:
    """Make `into` of a bundle, whole, or leave what was there. Raises RemoteFailure."""
    folder = posixpath.dirname(into)
    staging = f"{folder}/.{secrets.token_hex(8)}"
    pushed, made = f"{staging}/bundle.tar", f"{staging}/made"
    complete = [f"{made}/bin/python", "-I", agent, "put", *lease, "--sha256", hash_path(bundle), "--made", made, "--into", into]
    try:
        transport.push(bundle, pushed, time.monotonic() + _TIMEOUT_S)
        for command in (["sh", "-c", _UNPACK, "sh", staging, pushed], complete):
            done = transport.run(command, time.monotonic() + _TIMEOUT_S)
            if done.exit != 0:
                said = done.stderr.decode(errors="replace").strip()[-2000:]
                raise RemoteFailure(device.name, f"the bundle cannot be unpacked (exit {done.exit}): {said}", "is there room on its disk?")
    finally:
        with contextlib.suppress(DeviceError):
            transport.run(["rm", "-rf", staging], time.monotonic() + _TIMEOUT_S)
