"""What a board has, as its own Pythons tell, and the runtime that fits it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from harness.devices.inventory import Device
from harness.devices.transport import Transport
from harness.errors import ConfigError, RemoteFailure

Version = tuple[int, int]

_PYTHONS = (*(f"python3.{minor}" for minor in range(14, 8, -1)), "python3")
_FACTS = """
import importlib.util, json, os, platform, struct, sys
def numpy():
    try:
        import numpy
        return numpy.__version__
    except ImportError:
        return None
try:
    glibc = os.confstr("CS_GNU_LIBC_VERSION")
except (AttributeError, ValueError, OSError):
    glibc = None
print(json.dumps({
    "path": os.path.realpath(sys.executable), "version": sys.version_info[:2], "bits": 8 * struct.calcsize("P"),
    "machine": platform.machine(), "glibc": glibc, "venv": importlib.util.find_spec("venv") is not None, "numpy": numpy(),
}))
"""


@dataclass(frozen=True)
class BoardPython:
    """One interpreter on a board. `machine` is what its own wheels are for: a 32-bit one on a 64-bit kernel says armv7l.

    `glibc` is None where the C library is another; `numpy` is the version it can import already, None where it cannot.
    """

    path: str
    version: Version
    machine: str
    glibc: Version | None
    venv: bool
    numpy: str | None


@dataclass(frozen=True)
class Fit:
    """Where the wheels of a runtime run. `own_numpy` says whether numpy has wheels there, or must be the board's."""

    runtime: str
    machine: str
    pythons: tuple[Version, ...]
    glibc: Version
    own_numpy: bool = True


def _versions(first: int, last: int) -> tuple[Version, ...]:
    return tuple((3, minor) for minor in range(first, last + 1))


FITS = (
    # Its tags ask for less, but ai-edge-litert 2.3 calls functions of glibc 2.34.
    Fit("ai-edge-litert", "aarch64", _versions(10, 14), (2, 34)),
    Fit("ai-edge-litert", "x86_64", _versions(10, 14), (2, 34)),
    Fit("tflite-runtime", "aarch64", _versions(9, 11), (2, 27)),
    Fit("tflite-runtime", "x86_64", _versions(9, 11), (2, 27)),
    Fit("tflite-runtime", "armv7l", ((3, 9), (3, 11)), (2, 31), own_numpy=False),
)
"""The first that fits is taken."""


def look(device: Device, transport: Transport, deadline: float) -> tuple[BoardPython, ...]:
    """Return the Pythons of a board, the newest first, or the one that devices.toml names. Raises RemoteFailure where there is none."""
    names = (device.python,) if device.python else _PYTHONS
    script = f'for name in {shlex.join(names)}; do command -v "$name" >/dev/null && "$name" -I -c {shlex.quote(_FACTS)}; done; true'
    done = transport.run(["sh", "-c", script], deadline)
    found = {python.path: python for python in (_python(json.loads(line)) for line in done.stdout.splitlines())}
    if not found:
        what = device.python or "Python 3"
        raise RemoteFailure(device.name, f"there is no {what} on it", "install it (Debian: apt install python3 python3-venv)")
    return tuple(sorted(found.values(), key=lambda python: python.version, reverse=True))


def _python(told: dict[str, object]) -> BoardPython:
    machine, glibc, numpy = str(told["machine"]), told["glibc"], told["numpy"]
    if told["bits"] == 32 and machine in ("aarch64", "armv8l"):
        machine = "armv7l"
    return BoardPython(
        path=str(told["path"]),
        version=_version(told["version"]),
        machine=machine,
        glibc=_version(str(glibc).split()[-1].split(".")) if glibc else None,
        venv=bool(told["venv"]),
        numpy=None if numpy is None else str(numpy),
    )


def _version(parts: object) -> Version:
    assert isinstance(parts, Sequence)
    return int(parts[0]), int(parts[1])


def fit(device: Device, pythons: Sequence[BoardPython]) -> tuple[BoardPython, Fit]:
    """Return the Python and the runtime to set up. Raises ConfigError, which says what would fit, where none does."""
    for one in FITS:
        if device.runtime in (None, one.runtime):
            for python in pythons:
                if _fits(python, one):
                    if not python.venv:
                        raise ConfigError(f"{device.name}: {python.path} has no module venv", "Debian: apt install python3-venv")
                    if not one.own_numpy and not (python.numpy or "2").startswith("1."):
                        raise ConfigError(
                            f"{device.name}: {one.machine} has no wheels of numpy 1, and {python.path} has {python.numpy or 'none'}",
                            "Debian and Raspberry Pi OS up to 12 have it: apt install python3-numpy",
                        )
                    return python, one
    had = "; ".join(
        f"Python {_text(python.version)} for {python.machine}, {f'glibc {_text(python.glibc)}' if python.glibc else 'no glibc'}"
        for python in pythons
    )
    wanted = [one for one in FITS if device.runtime in (None, one.runtime) and one.machine in {python.machine for python in pythons}]
    would = "; ".join(f"{one.runtime}: Python {_choices(one.pythons)}, glibc {_text(one.glibc)} or newer" for one in wanted)
    raise ConfigError(
        f"{device.name}: no runtime has wheels for what it has ({had})",
        f"what would fit: {would or 'a 64-bit ARM or x86 system with glibc'}; `python` in devices.toml names an interpreter",
    )


def _fits(python: BoardPython, one: Fit) -> bool:
    known = python.machine == one.machine and python.version in one.pythons
    return known and python.glibc is not None and python.glibc >= one.glibc


def _choices(versions: Sequence[Version]) -> str:
    return " or ".join(_text(version) for version in versions) if len(versions) < 3 else f"{_text(versions[0])} to {_text(versions[-1])}"


def _text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
