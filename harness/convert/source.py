"""What a MODEL text means: a file, a SavedModel folder, or a network of the zoo."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import ConfigError
from harness.networks import zoo

KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
ACCEPTED = "Accepted: a .tflite, .keras or .h5 file, a SavedModel folder, or a network's name such as mobilenet_v2."


@dataclass(frozen=True)
class Source:
    """A model before conversion; `path` is set for files and folders, `zoo` for a named network."""

    kind: Literal["tflite", "keras", "saved_model", "zoo"]
    name: str
    path: Path | None = None
    zoo: zoo.ZooName | None = None


def resolve(text: str | os.PathLike[str]) -> Source:
    """Return what `text` stands for; raises ConfigError where it stands for nothing.

    A known network's name wins over a file of the same name in this folder: `./mobilenet_v2` means the file.
    """
    name = os.fspath(text)
    if not name:
        raise ConfigError("the model's name is empty", ACCEPTED)
    if isinstance(text, str) and name.partition(":")[0] in zoo.APPLICATIONS:
        return Source("zoo", name, zoo=zoo.parse(name))
    try:
        path = Path(name).expanduser()
        is_folder, exists = path.is_dir(), path.exists()
        is_saved_model = is_folder and (path / "saved_model.pb").is_file()
    except OSError as error:  # a folder on the way that may not be entered, a name that is too long
        raise ConfigError(f"{name}: cannot be read ({error.strerror})", "Check the path and its permissions.") from error
    except RuntimeError as error:
        raise ConfigError(f"{name}: there is no such user's home folder", ACCEPTED) from error
    suffix = path.suffix.lower()
    if is_folder:
        if not is_saved_model:
            raise ConfigError(f"{name}: the folder holds no saved_model.pb", ACCEPTED)
        return Source("saved_model", name, path)
    if exists:
        if suffix == ".tflite":
            return Source("tflite", name, path)
        if suffix in KERAS_SUFFIXES:
            return Source("keras", name, path)
        raise ConfigError(f"{name}: not a kind of model file that the harness reads", ACCEPTED)
    if os.sep in name or name.startswith(("~", ".")) or suffix in (".tflite", *KERAS_SUFFIXES) or not isinstance(text, str):
        raise ConfigError(f"{name}: no such file or folder", ACCEPTED)
    return Source("zoo", name, zoo=zoo.parse(name))
