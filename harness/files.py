"""Files that a command writes for its user: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import ConfigError

StrPath = str | os.PathLike[str]


def check_writable(path: Path) -> None:
    """Raise ConfigError where a file cannot be written at `path`; asked before long work whose outcome goes there."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", "Name a file in it.")
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written: {path.parent} is not a folder", "Create the folder first.")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path.parent} cannot be written to", "Choose another folder, or change its permissions.")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; it takes the place of `path` once the block has ended without an error."""
    check_writable(path)
    # The suffix stays: writers choose their format by it.
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o666 & ~umask)
        draft.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}", "Free space there, or choose another folder.") from error
    finally:
        draft.unlink(missing_ok=True)
