"""A bundle: Python, numpy and a runtime in one file, for devices that have no Python. It runs from any folder, without root."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

from harness.convert.cache import cache_dir
from harness.devices import debian
from harness.devices.board import FITS, BoardPython
from harness.devices.packages import packages_for
from harness.errors import ConfigError
from harness.tomlfile import nearest

SUITE = "bookworm"
PYTHON = "python3.11"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l"}
"""Debian's names of the architectures there are bundles for, and those that Python and wheels use."""

BOOT, TREE = "boot.tar.gz", "tree.tar.xz"
"""What a bundle holds: the program xz, packed so that any phone can unpack it, and the rest, which that unpacks."""

_KIND = "bundle.json"
_LOADERS = {"amd64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1", "armhf": "ld-linux-armhf.so.3"}
_TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu", "armhf": "arm-linux-gnueabihf"}
_WANTED = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "xz-utils", "base-files")
_LIBRARIES = ("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libffi8", "libexpat1", "liblzma5", "libbz2-1.0")
_LICENCES_OF_GCC = "gcc-12-base"
_DEBIANS_NUMPY = ("python3-numpy", "libblas3", "liblapack3", "libgfortran5")
_QUADMATH = {"amd64": ("libquadmath0",)}
_WITH_DEBIANS_NUMPY = ("tflite-runtime",)
"""The runtimes that run with Debian's numpy, of 1.24. The wheels' BLAS is 26 MB that nothing here calls, and starts a thread per core."""

_PYTHON_PACKAGES = ("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib")
GLIBC, PYTHON_VERSION = (2, 36), (3, 11)
_NEVER_IMPORTED = (
    *("asyncio", "curses", "dbm", "distutils", "idlelib", "lib2to3", "pydoc_data", "sqlite3", "test", "tkinter", "turtledemo"),
    *("turtle.py", "venv", "wsgiref", "xmlrpc"),
)
_NEVER_LOADED = (
    "_asyncio",
    "_codecs_",
    "_crypt",
    "_ctypes_test",
    "_curses",
    "_dbm",
    "_hashlib",
    "_sqlite3",
    "_ssl",
    "_test",
    "_xx",
    "audioop",
    "nis",
    "ossaudiodev",
    "readline",
    "xx",
)
_WITHOUT = (
    *("*.a", "*.h", "*.pyi", "*.pxd", "__pycache__", "tests", "f2py", "distutils", "include"),
    *("aot", "tools", "vendors", "libLiteRtWebGpuAccelerator.so"),
)
"""What is of no use on a device: tests, what is needed to compile against numpy, and what LiteRT brings for accelerators."""

_NEEDED = (
    *("ld-linux*", "libc.so.*", "libm.so.*", "libdl.so.*", "libpthread.so.*", "librt.so.*", "libutil.so.*", "libresolv.so.*"),
    *("libgcc_s.so.*", "libstdc++.so.6", "libz.so.1", "libffi.so.8", "libexpat.so.1", "liblzma.so.5", "libbz2.so.1.0"),
)
_NUMPY_NEEDED = ("libblas.so.3", "liblapack.so.3", "libgfortran.so.5", "libquadmath.so.0")

# The loader is started by its name, since nothing on a phone is where programs of Debian look for it; `--argv0` makes Python start its
# children by this script too.
_LAUNCHER = """\
#!/system/bin/sh
here=${{0%/bin/python}}
exec "$here/lib/{loader}" --inhibit-cache --library-path "$here/lib" --argv0 "$0" "$here/bin/{python}" "$@"
"""


@dataclass(frozen=True)
class Kind:
    """What a bundle is for."""

    architecture: str
    runtime: str


def described(bundle: Path) -> Kind:
    """Return what the bundle in a file is for. Raises ConfigError where it is none."""
    try:
        with tarfile.open(bundle) as content, content.extractfile(_KIND) or io.BytesIO() as file:
            return Kind(**json.load(file))
    except (OSError, tarfile.TarError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{bundle} is no bundle: {str(error).splitlines()[0]}", "harness bundle ARCH makes one") from error


def bundle_for(architecture: str, runtime: str | None = None, announce: Callable[[str], None] = lambda _: None) -> Path:
    """Return the bundle of a runtime: a .tar of `BOOT` and `TREE`, the same bytes from the same packages; made once, then kept.

    The runtime is the first that fits where none is named. `announce` is told, in one line, before something takes long. Raises
    ConfigError where there is none for the architecture or this machine cannot make it, HarnessError where its parts cannot be had.
    """
    if architecture not in MACHINES:
        raise ConfigError(f"no bundle for {architecture!r}{nearest(architecture, MACHINES)}", f"architectures: {', '.join(MACHINES)}")
    machine = MACHINES[architecture]
    runtime = runtime or next(one.runtime for one in FITS if one.machine == machine)
    fit = next((one for one in FITS if (one.machine, one.runtime) == (machine, runtime)), None)
    if fit is None:
        fitting = [one.runtime for one in FITS if one.machine == machine]
        raise ConfigError(f"{runtime} has no wheels for {architecture}", f"runtimes there: {', '.join(fitting)}")
    code = hashlib.sha256(resources.files("harness.devices").joinpath("bundle.py").read_bytes()).hexdigest()
    python = BoardPython(f"/bin/{PYTHON}", PYTHON_VERSION, machine, GLIBC, venv=False, numpy=None)
    packages, sha256 = packages_for(python, fit, announce)
    key = hashlib.sha256(f"{code} {sha256}".encode()).hexdigest()[:16]
    made = cache_dir() / "bundles" / f"{runtime}-{architecture}-{key}.tar"
    if not made.is_file():
        announce(f"fetching {PYTHON} for {architecture}")
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
            folder = Path(scratch)
            debians_numpy = runtime in _WITH_DEBIANS_NUMPY
            wanted = (*_WANTED, "python3-numpy") if debians_numpy else _WANTED
            fetched = debian.fetch(folder / "apt", wanted, architecture, SUITE)
            boot, tree = folder / "boot", folder / "tree"
            _furnish(tree, fetched, architecture, folder / "debian")
            with tarfile.open(packages) as content:
                content.extractall(tree / "lib" / PYTHON, filter="data")
            if debians_numpy:
                _add_numpy(tree, fetched, architecture, folder / "numpy")
            _furnish_boot(boot, fetched, tree, folder / "debian")
            announce("packing")
            draft = folder / "bundle.tar"
            _write(draft, Kind(architecture, runtime), boot, tree)
            draft.replace(made)
    return made


def _furnish(tree: Path, packages: dict[str, Path], architecture: str, debs: Path) -> None:
    """Make the tree of Python and the libraries that it and the runtimes need."""
    _unpack(packages, (*_LIBRARIES, *_PYTHON_PACKAGES), debs, tree)
    debian.unpack(packages["base-files"], debs)  # the texts that packages and wheels only name, such as Apache-2.0
    shutil.copytree(debs / "usr/share/common-licenses", tree / "licences/common-licenses")
    _copy_libraries(debs, architecture, _NEEDED, tree / "lib")
    without = ("__pycache__", "sitecustomize.py", "config-*", *_NEVER_IMPORTED, *(f"{name}*" for name in _NEVER_LOADED))
    shutil.copytree(debs / "usr/lib" / PYTHON, tree / "lib" / PYTHON, ignore=shutil.ignore_patterns(*without))
    programs = tree / "bin"
    programs.mkdir()
    shutil.copy(debs / "usr/bin" / PYTHON, programs / PYTHON)
    (programs / "python").write_text(_LAUNCHER.format(loader=_LOADERS[architecture], python=PYTHON))
    (programs / "python").chmod(0o755)


def _furnish_boot(boot: Path, packages: dict[str, Path], tree: Path, debs: Path) -> None:
    """Make the tree of xz, which unpacks the other one; its licence goes there too."""
    _unpack(packages, ("xz-utils",), debs, tree)
    boot.mkdir()
    shutil.copy(debs / "usr/bin/xz", boot / "xz")
    for library in sorted((tree / "lib").glob("*")):
        if library.name.startswith(("ld-linux", "libc.so", "liblzma.so", "libpthread.so")):
            shutil.copy(library, boot / ("loader" if library.name.startswith("ld-linux") else library.name))


def _add_numpy(tree: Path, packages: dict[str, Path], architecture: str, debs: Path) -> None:
    """Add Debian's numpy, in the place of what came with the runtime's wheels, and the libraries that it needs."""
    for part in (tree / "lib" / PYTHON).glob("numpy*"):
        shutil.rmtree(part)
    _unpack(packages, (*_DEBIANS_NUMPY, *_QUADMATH.get(architecture, ())), debs, tree)
    shutil.copytree(debs / "usr/lib/python3/dist-packages/numpy", tree / "lib" / PYTHON / "numpy")
    _copy_libraries(debs, architecture, _NUMPY_NEEDED, tree / "lib")


def _copy_libraries(debs: Path, architecture: str, patterns: Iterable[str], into: Path) -> None:
    """Copy the libraries under the names that programs ask for, which are links to others."""
    into.mkdir(exist_ok=True)
    for where in (debs / "lib" / _TRIPLETS[architecture], debs / "usr/lib" / _TRIPLETS[architecture]):
        for library in sorted(path for pattern in patterns for path in where.rglob(pattern)):
            shutil.copy(library, into / library.name)


def _unpack(packages: dict[str, Path], names: Iterable[str], debs: Path, tree: Path) -> None:
    """Unpack packages into `debs`, and put their licences into the tree."""
    debian.unpack(packages[_LICENCES_OF_GCC], debs)
    for name in names:
        debian.unpack(packages[name], debs)
        licence = tree / "licences" / name
        licence.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(debs / "usr/share/doc" / name / "copyright", licence)


def _write(path: Path, kind: Kind, boot: Path, tree: Path) -> None:
    """Write the file of a bundle, the same bytes for the same files."""
    contents = {
        _KIND: json.dumps(asdict(kind)).encode(),
        BOOT: gzip.compress(_packed(boot), mtime=0),
        TREE: lzma.compress(_packed(tree)),
    }
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as bundle:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            bundle.addfile(entry, io.BytesIO(data))


def _packed(tree: Path) -> bytes:
    """Return a .tar of a tree, the same bytes for the same files."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if any(fnmatch(part, pattern) for part in entry.name.split("/") for pattern in _WITHOUT):
            return None
        entry.mtime = entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as content:
        for path in sorted(tree.iterdir()):
            content.add(path, path.name, filter=plain)
    return packed.getvalue()
