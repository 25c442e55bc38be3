"""A board or a phone made ready to measure on, and cleared again."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.convert.cache import hash_path
from harness.convert.reference import reference_models
from harness.devices import phone
from harness.devices.board import fit, look
from harness.devices.bundle import GLIBC, PYTHON_VERSION
from harness.devices.footing import CHOSEN, board_root, environment
from harness.devices.inventory import Device
from harness.devices.packages import packages_for
from harness.devices.provision import agent_archive
from harness.devices.session import Session, lease_path, owner
from harness.devices.transport import Transport, open_transport
from harness.errors import ConfigError, RemoteFailure
from harness.files import StrPath

_LOOK_TIMEOUT_S = 60.0
_PUSH_TIMEOUT_S = 600.0
_INSTALL_TIMEOUT_S = 600.0
_PROOF_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Setup:
    """What `set_up` found and made on a device. `changed` is False where everything was there already.

    `delegated_nodes` is how many operators of a model like MobileNet the runtime's fast kernels take there, as `19/19`.
    """

    device: str
    machine: str
    python: str
    glibc: str
    runtime: str
    runtime_version: str
    delegated_nodes: str
    folder: str
    changed: bool
    pushed_bytes: int


def set_up(device: Device, announce: Callable[[str], None] = lambda _: None, *, bundle: StrPath | None = None) -> Setup:
    """Return what was made ready on a device: an environment with the runtime that fits it, seen to run a model.

    On a board that is made from the Python there, on a phone, which has none, from a bundle: the file that is named, or one made here.
    `announce` is told what is being done, line by line. Raises ConfigError where no runtime fits the device or it needs no setup, and
    what the transport raises; what was there before an error is there after it.
    """
    _check(device)
    transport = open_transport(device)
    try:
        deadline = time.monotonic() + _LOOK_TIMEOUT_S
        root = board_root(device, transport, deadline)
        if device.transport == "adb" and device.python is None:
            made = _by_bundle(device, transport, root, None if bundle is None else Path(bundle), announce)
        elif bundle is not None:
            raise ConfigError(f"{device.name} takes no bundle", "a bundle is for phones, which have no Python of their own")
        else:
            made = _by_python(device, transport, root, announce)
        announce("running a model")
        version, delegated = _prove(replace(device, runtime=made.runtime))
        if device.runtime is None:
            _run(device, transport, ["sh", "-c", f"echo {made.runtime} > {shlex.quote(f'{root}/{CHOSEN}')}"])
    finally:
        transport.close()
    return replace(made, runtime_version=version, delegated_nodes=delegated)


def remove(device: Device) -> str:
    """Remove all that was ever put on a device, and return the folder that is gone; there being nothing is no error.

    Raises RemoteFailure where somebody measures there, and what the transport raises.
    """
    _check(device)
    transport = open_transport(device)
    try:
        deadline = time.monotonic() + _LOOK_TIMEOUT_S
        root = board_root(device, transport, deadline)
        if transport.run(["test", "-d", root], deadline).exit == 0:
            python = _any_python(device, transport, root, deadline)
            if python is None:  # nothing that could measure
                _run(device, transport, ["rm", "-rf", root])
            else:
                become = shlex.split(device.become or "")
                _run(device, transport, [python, "-I", _agent(transport, root), "remove", *_lease(device), "--root", root, "--", *become])
    finally:
        transport.close()
    return root


def _by_python(device: Device, transport: Transport, root: str, announce: Callable[[str], None]) -> Setup:
    announce("looking at its Pythons")
    deadline = time.monotonic() + _LOOK_TIMEOUT_S
    python, fitting = fit(device, look(device, transport, deadline))
    assert python.glibc is not None
    packages, sha256 = packages_for(python, fitting, announce)
    into = f"{root}/runtimes/{fitting.runtime}"
    changed = _stamp(transport, into) != sha256
    pushed_bytes = 0
    if changed:
        pushed_bytes = packages.stat().st_size
        announce(f"pushing {fitting.runtime}, {pushed_bytes / 2**20:.0f} MiB")
        remote = f"{root}/packages/{sha256}.tar.gz"
        agent = _agent(transport, root)
        transport.push(packages, remote, time.monotonic() + _PUSH_TIMEOUT_S)
        announce(f"making {into}")
        command = [python.path, "-I", agent, "install", *_lease(device), "--packages", remote, "--sha256", sha256, "--into", into]
        _run(device, transport, [*command, *([] if fitting.own_numpy else ["--system-packages"])])
        _run(device, transport, ["sh", "-c", f"rm -f {shlex.quote(remote)}; rmdir {shlex.quote(f'{root}/packages')} 2>/dev/null; true"])
    return Setup(
        device=device.name,
        machine=python.machine,
        python=f"{python.path} ({python.version[0]}.{python.version[1]})",
        glibc=f"{python.glibc[0]}.{python.glibc[1]}",
        runtime=fitting.runtime,
        runtime_version="",
        delegated_nodes="",
        folder=root,
        changed=changed,
        pushed_bytes=pushed_bytes,
    )


def _by_bundle(device: Device, transport: Transport, root: str, given: Path | None, announce: Callable[[str], None]) -> Setup:
    machine, runtime, bundle = phone.choose(device, transport, time.monotonic() + _LOOK_TIMEOUT_S, given, announce)
    into = f"{root}/runtimes/{runtime}"
    changed = _stamp(transport, into) != hash_path(bundle)
    pushed_bytes = 0
    if changed:
        pushed_bytes = bundle.stat().st_size
        announce(f"pushing {runtime}, {pushed_bytes / 2**20:.0f} MiB")
        phone.install(device, transport, bundle, _agent(transport, root), into, _lease(device))
    return Setup(
        device=device.name,
        machine=machine,
        python=f"{environment(root, runtime)} ({PYTHON_VERSION[0]}.{PYTHON_VERSION[1]})",
        glibc=f"{GLIBC[0]}.{GLIBC[1]}",
        runtime=runtime,
        runtime_version="",
        delegated_nodes="",
        folder=root,
        changed=changed,
        pushed_bytes=pushed_bytes,
    )


def _any_python(device: Device, transport: Transport, root: str, deadline: float) -> str | None:
    """Return a Python that the agent runs on there, None on a phone without one."""
    if device.transport == "adb" and device.python is None:
        script = f"for made in {shlex.quote(root)}/runtimes/*/bin/python; do echo $made; done"
        found = transport.run(["sh", "-c", script], deadline).stdout.decode(errors="replace").split()
        return next((path for path in found if "*" not in path), None)
    return look(device, transport, deadline)[0].path


def _lease(device: Device) -> tuple[str, ...]:
    return ("--lease", lease_path(device), "--owner", owner())


def _agent(transport: Transport, root: str) -> str:
    """Push the agent and return where it lies on the device."""
    agent = agent_archive()
    transport.push(agent, f"{root}/{agent.name}", time.monotonic() + _PUSH_TIMEOUT_S)
    return f"{root}/{agent.name}"


def _check(device: Device) -> None:
    if device.transport == "local":
        raise ConfigError(f"{device.name}: this machine needs no setup", "harness bench sets up what it needs here")


def _stamp(transport: Transport, into: str) -> str | None:
    """Return what an environment was filled from, None where there is none that has a Python."""
    script = f"test -x {shlex.quote(f'{into}/bin/python')} && cat {shlex.quote(f'{into}/packages.sha256')}"
    done = transport.run(["sh", "-c", script], time.monotonic() + _LOOK_TIMEOUT_S)
    return done.stdout.decode().strip() if done.exit == 0 else None


def _run(device: Device, transport: Transport, command: list[str]) -> None:
    done = transport.run(command, time.monotonic() + _INSTALL_TIMEOUT_S)
    if done.exit != 0:
        raise RemoteFailure(device.name, f"{Path(command[0]).name} failed: {done.stderr.decode(errors='replace').strip()[-2000:]}")


def _prove(device: Device) -> tuple[str, str]:
    """Run a model there and return the runtime's version and how many operators its delegate takes; raises what a session raises."""
    with Session.open(device) as session:
        session.acquire()
        result = session.solo(reference_models()[0], seed=0, warmup_ns=0, timeout_s=_PROOF_TIMEOUT_S)
        return session.hello.runtime_version, f"{result.delegated_nodes}/{result.total_nodes}"
