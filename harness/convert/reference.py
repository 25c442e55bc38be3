"""The two reference models: what a device's speed is watched by. `models/reference/write.py` writes them."""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

from harness.convert import cache
from harness.convert.cached_model import model_of
from harness.convert.inspect import inspect
from harness.convert.model import Model
from harness.errors import ConfigError
from harness.networks.data import models_dir

MOBILE_SHA256 = "7c1e7e327468ac3d71546aed3068255ed6e96bb28ce5610bc676c9e8c5086268"
MEMORY_SHA256 = "92852cef4d9ad49cd841c92738f78ab4398e29c5989c6a09818a99944a6e3fd0"


def reference_models() -> tuple[Model, Model]:
    """Return the model like those searched for phones and the one larger than an L2 cache, without numbers: only their speed is looked at.

    Raises ConfigError where the installation's files are not the pinned ones.
    """
    return _prepare("mobile", MOBILE_SHA256), _prepare("memory", MEMORY_SHA256)


def _prepare(name: str, sha256: str) -> Model:
    unpacked = cache.cache_dir() / f"reference-{name}-{sha256[:16]}.tflite"
    if not (unpacked.is_file() and cache.hash_path(unpacked) == sha256):
        _unpack(models_dir() / "reference" / f"{name}.tflite.xz", sha256, unpacked)
    without_numbers = cache.Entry(None, None, None, "a reference model", None)
    return model_of(f"reference:{name}", unpacked, inspect(unpacked), "", without_numbers)


def _unpack(packed: Path, sha256: str, to: Path) -> None:
    hint = "Install latency-harness again."
    try:
        data = lzma.decompress(packed.read_bytes())
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise ConfigError(f"{packed}: the reference model cannot be read ({error})", hint) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ConfigError(f"{packed}: not the reference model that this version pins", hint)
    with cache.workspace() as folder:
        made = folder / "reference.tflite"
        made.write_bytes(data)
        made.replace(to)
