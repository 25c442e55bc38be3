"""The packages of a runtime for a board, fetched on this machine: the board may have no internet."""

from __future__ import annotations

import gzip
import hashlib
import re
import sys
import tarfile
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import uv

from harness.convert.cache import cache_dir, hash_path
from harness.devices.board import BoardPython, Fit
from harness.devices.provision import run_installer
from harness.errors import HarnessError

_TIMEOUT_S = 900.0
_GLIBC_MINORS = (17, 28, *range(31, 41))
"""Those of the platforms that uv knows."""


def packages_for(python: BoardPython, fit: Fit, announce: Callable[[str], None] | None = None) -> tuple[Path, str]:
    """Return an archive of what the runtime's environment on the board holds, and its SHA-256; made once, then from the cache.

    The wheels are those that the harness has pinned, hashes checked. Raises HarnessError where they cannot be had.
    """
    requirements = resources.files("harness.devices").joinpath("requirements", f"{fit.runtime}.txt").read_text(encoding="utf-8")
    assert python.glibc is not None
    platform = f"{fit.machine}-manylinux_2_{max(minor for minor in _GLIBC_MINORS if (2, minor) <= python.glibc)}"
    version = f"{python.version[0]}.{python.version[1]}"
    key = hashlib.sha256(f"{requirements}\0{platform}\0{version}".encode()).hexdigest()[:16]
    archive = cache_dir() / "boards" / f"{fit.runtime}-{key}.tar.gz"
    if not archive.is_file():
        if announce is not None:
            announce(f"fetching {fit.runtime} for Python {version} on {fit.machine}")
        archive.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
            tree = Path(scratch, "tree")
            wanted = Path(scratch, "requirements.txt")
            wanted.write_text(requirements if fit.own_numpy else _only(fit.runtime, requirements), encoding="utf-8")
            command = _by_uv(platform, version) if fit.own_numpy else _by_pip(platform, version)
            options = ["--quiet", "--only-binary", ":all:", "--require-hashes", "--target", str(tree), "-r", str(wanted)]
            _install([*command, *options], Path(scratch))
            made = Path(scratch, "packages.tar.gz")
            _pack(tree, made)
            made.replace(archive)
    return archive, hash_path(archive)


def _by_uv(platform: str, version: str) -> list[str]:
    """Return the command that unpacks the wheels of a platform."""
    return [uv.find_uv_bin(), "pip", "install", "--python-platform", platform, "--python-version", version, "--link-mode", "copy"]


def _by_pip(platform: str, version: str) -> list[str]:
    """Return the same for armv7l, which uv has no name for; the board has numpy itself."""
    machine, _, tag = platform.partition("-")
    tags = [f"--platform={tag}_{machine}", f"--platform=manylinux_2_34_{machine}", f"--python-version={version}"]
    return [sys.executable, "-m", "pip", "install", *tags, "--implementation=cp", f"--abi=cp{version.replace('.', '')}", "--no-deps"]


def _install(command: list[str], folder: Path) -> None:
    done = run_installer(command, _TIMEOUT_S, folder=folder)
    if done.returncode != 0:
        raise HarnessError(
            f"the packages for the board cannot be fetched\n{done.stderr.decode(errors='replace').strip()[-2000:]}",
            "they come from the index that pip on this machine is set to",
        )


def _only(runtime: str, requirements: str) -> str:
    """Return the lines of one package of a requirements file."""
    found = re.search(rf"^{re.escape(runtime)}==.*?[^\\]$", requirements, re.MULTILINE | re.DOTALL)
    assert found is not None
    return f"{found[0]}\n"


def _pack(tree: Path, archive: Path) -> None:
    """Write the files of a folder as an archive, the same bytes for the same files.

    The wheels' programs are left out, and their lines in RECORD, whose hashes tell where this machine's Python lies.
    """
    for record in tree.glob("*.dist-info/RECORD"):
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not line.startswith("bin/")), encoding="utf-8")

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if entry.name.split("/")[0] == "bin" or "__pycache__" in entry.name:
            return None
        entry.mtime = entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with archive.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as content:
        for path in sorted(tree.iterdir()):
            content.add(path, path.name, filter=plain)
