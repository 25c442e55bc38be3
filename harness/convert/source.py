"""What a MODEL text means: a file, a SavedModel folder, a network of the zoo, or a candidate of a search space."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import ConfigError
from harness.networks.named import SUFFIX, is_name, network_named
from harness.networks.network import Network

KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
ACCEPTED = (
    "Accepted: a .tflite, .keras or .h5 file, a SavedModel folder, a network's .toml file, its name such as mobilenet_v2, "
    "or a candidate such as space:mnasnet/STRING."
)


@dataclass(frozen=True)
class Source:
    """A model before conversion; `path` is set for files and folders, `network` for what is known block by block."""

    kind: Literal["tflite", "keras", "saved_model", "network"]
    name: str
    path: Path | None = None
    network: Network | None = None


def resolve(text: str | os.PathLike[str]) -> Source:
    """Return what `text` stands for; raises ConfigError where it stands for nothing.

    A known network's name wins over a file of the same name in this folder: `./mobilenet_v2` means the file.
    """
    name = os.fspath(text)
    if not name:
        raise ConfigError("the model's name is empty", ACCEPTED)
    if isinstance(text, str) and is_name(name):
        return Source("network", name, network=network_named(name))
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
        if suffix == SUFFIX:
            return Source("network", name, path, network_named(str(path)))
        raise ConfigError(f"{name}: not a kind of model file that the harness reads", ACCEPTED)
    if os.sep in name or name.startswith(("~", ".")) or suffix in (".tflite", SUFFIX, *KERAS_SUFFIXES) or not isinstance(text, str):
        raise ConfigError(f"{name}: no such file or folder", ACCEPTED)
    return Source("network", name, network=network_named(name))
