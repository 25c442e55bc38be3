"""What `harness setup` does on a board: the environment of a runtime, made without internet, and all of it taken away again."""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, Sequence

from latency_agent import settings
from latency_agent.android_settings import PhoneError
from latency_agent.cpufreq import GovernorError
from latency_agent.lease import Busy, Lease
from latency_agent.worker import file_sha256

STAMP = "packages.sha256"
"""The file in an environment that names the archive it was filled from."""


class NotDone(Exception):
    """The board is as it was; the text says why."""


def install(archive: Path, sha256: str, into: Path, system_packages: bool, lease: Lease) -> None:
    """Make the environment `into` from the Python that runs this, whole, or leave what was there; raises NotDone."""
    try:
        import venv
    except ImportError:
        raise NotDone("this Python has no module venv (Debian: apt install python3-venv)") from None
    if file_sha256(archive) != sha256:
        raise NotDone(f"{archive} arrived damaged")
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
        _put_in_place(made, sha256, into, staging, lease)
    except OSError as error:
        raise NotDone(f"{into} cannot be made: {error.strerror or error}") from error
    finally:
        shutil.rmtree(str(staging), ignore_errors=True)


def put(made: Path, sha256: str, into: Path, lease: Lease) -> None:
    """Make `made`, which holds the Python that runs this, the environment `into`; raises NotDone, and what was there stays.

    The folder that `made` lies in goes in any case.
    """
    try:
        _put_in_place(made, sha256, into, made.parent, lease)
    except OSError as error:
        raise NotDone(f"{into} cannot be made: {error.strerror or error}") from error
    finally:
        shutil.rmtree(str(made.parent), ignore_errors=True)


def remove(root: Path, lease: Lease, become: Sequence[str] = ()) -> None:
    """Remove the folder of the harness, when what its journals say is put back; raises NotDone where somebody measures from it."""
    with _held(lease):
        try:
            settings.restore_left(root, settings.journal_of(root, lease.holder), become)
            shutil.rmtree(str(root))
        except (GovernorError, PhoneError) as error:
            raise NotDone(str(error)) from error
        except OSError as error:
            raise NotDone(f"{root} cannot be removed: {error.strerror or error}") from error


def _put_in_place(made: Path, sha256: str, into: Path, staging: Path, lease: Lease) -> None:
    """Let `made` take the place of `into` under the lease: whoever measures starts every repetition from there."""
    (made / STAMP).write_text(f"{sha256}\n")
    with _held(lease):
        if into.exists():
            into.rename(staging / "before")
        made.rename(into)


@contextlib.contextmanager
def _held(lease: Lease) -> Iterator[None]:
    try:
        lease.acquire()
    except Busy as busy:
        raise NotDone(str(busy)) from None
    try:
        yield
    finally:
        lease.release()
