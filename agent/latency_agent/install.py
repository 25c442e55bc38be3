"""The environment of a runtime on a board that may have no internet: a virtual environment filled from an archive of packages."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Dict

from latency_agent.worker import file_sha256

STAMP = "packages.sha256"
"""The file in an environment that names the archive it was filled from."""


class NotInstalled(Exception):
    """The environment could not be made; the text says why."""


def install(archive: Path, sha256: str, into: Path, system_packages: bool) -> None:
    """Make the environment `into` from the Python that runs this, whole, or leave what was there; raises NotInstalled."""
    try:
        import venv
    except ImportError:
        raise NotInstalled("this Python has no module venv (Debian: apt install python3-venv)") from None
    if file_sha256(archive) != sha256:
        raise NotInstalled(f"{archive} arrived damaged")
    into.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{into.name}.", dir=str(into.parent)))
    try:
        made = staging / "environment"
        venv.EnvBuilder(system_site_packages=system_packages, symlinks=True, with_pip=False).create(str(made))
        (site,) = made.glob("lib/python3*/site-packages")
        with tarfile.open(str(archive)) as packages:
            # Pythons that have it refuse what would leave the folder; the archive's hash stands for the others.
            safe: Dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            packages.extractall(str(site), **safe)  # noqa: S202
        (made / STAMP).write_text(f"{sha256}\n")
        if into.exists():
            into.rename(staging / "before")
        made.rename(into)
    except OSError as error:
        raise NotInstalled(f"{into} cannot be made: {error.strerror or error}") from error
    finally:
        shutil.rmtree(str(staging), ignore_errors=True)
