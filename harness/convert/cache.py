"""Converted models and computed numbers, kept by the content of what they were made from."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import platformdirs

from harness.errors import ConfigError

CONVERTER_VERSION = 3
"""Raised with every change that makes other bytes or numbers out of the same model."""


_CANNOT_WRITE = (errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS)


@dataclass(frozen=True)
class Entry:
    """What is kept for a key. The hashes are None where there is no such file."""

    model_sha256: str | None
    numbers_sha256: str | None
    second_side: str | None
    not_compared: str | None
    note: str | None


def cache_dir() -> Path:
    """Return the absolute path of the folder for what can be made again, made where it was missing.

    It is `$HARNESS_CACHE`, or the user's cache folder.
    """
    chosen = os.environ.get("HARNESS_CACHE")
    folder = Path(chosen).absolute() if chosen else platformdirs.user_cache_path("latency-harness")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder}: the cache folder cannot be made ({error.strerror})", "Set HARNESS_CACHE to a folder that you may write."
        ) from error
    return folder


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """Yield a temporary folder on the cache's file system: what is made there is moved in at once. A full disk ends in a ConfigError."""
    folder = cache_dir()
    try:
        with tempfile.TemporaryDirectory(prefix="making-", dir=folder, ignore_cleanup_errors=True) as made:
            yield Path(made)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise ConfigError(
            f"{folder}: the cache folder cannot be written ({error.strerror})", "Free space there, or set HARNESS_CACHE to another folder."
        ) from error


def key_of(source: str, settings: Mapping[str, object], packages: Sequence[str]) -> str:
    """Return the key for something made from `source` (a hash or a canonical name) with these settings and installed packages."""
    parts = {
        "converter": CONVERTER_VERSION,
        "source": source,
        "settings": dict(settings),
        "packages": {package: version(package) for package in packages},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def hash_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder: every file's relative path and content. Raises ConfigError where it cannot be read."""
    try:
        if path.is_file():
            return _hash_file(path)
        digest = hashlib.sha256()
        for file in sorted(path.rglob("*")):
            if file.is_file():
                digest.update(json.dumps([file.relative_to(path).as_posix(), _hash_file(file)]).encode())
        return digest.hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})", "Check the path and its permissions.") from error


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def model_file(key: str) -> Path:
    """Return where the model of `key` lies, if it is there."""
    return cache_dir() / f"{key}.tflite"


def numbers_file(key: str) -> Path:
    """Return where the numbers of `key` lie, if they are there."""
    return cache_dir() / f"{key}.npz"


def find(key: str) -> Entry | None:
    """Return the entry of `key`, or None where there is none whose files are still what they were."""
    try:
        entry = Entry(**json.loads((cache_dir() / f"{key}.json").read_text("utf-8")))
        kept = ((entry.model_sha256, model_file(key)), (entry.numbers_sha256, numbers_file(key)))
        return entry if all(sha256 in (None, _hash_file(path)) for sha256, path in kept if sha256) else None
    except (OSError, ValueError, TypeError):  # absent, cut short, or from another version of this file
        return None


def keep(
    key: str, model: Path | None, numbers: Path | None, *, second_side: str | None, not_compared: str | None, note: str | None
) -> Entry:
    """Move what was made in a workspace into the cache and return its entry. The entry is written last: files without one do not count."""
    entry = Entry(_move_in(model, model_file(key)), _move_in(numbers, numbers_file(key)), second_side, not_compared, note)
    with workspace() as folder:
        record = folder / "entry.json"
        record.write_text(json.dumps(asdict(entry)), "utf-8")
        record.replace(cache_dir() / f"{key}.json")
    return entry


def _move_in(made: Path | None, to: Path) -> str | None:
    if made is None:
        return None
    sha256 = _hash_file(made)
    made.replace(to)
    return sha256
