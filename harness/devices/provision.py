"""What a device needs before it can measure: the agent as one archive, and an environment for its runtime."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import uv

from harness.convert.cache import cache_dir, workspace
from harness.errors import ConfigError, HarnessError
from latency_agent import protocol

_ARCHIVE_MAIN = b"from latency_agent.__main__ import main\n\nmain()\n"
_OLDEST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)

# The wheels of tflite-runtime 2.14.0 are for these, and so is numpy 1.26.
_TFLITE_RUNTIME_PYTHONS = ((3, 9), (3, 11))
_INSTALL_TIMEOUT_S = 900.0
_SHORT_TIMEOUT_S = 60.0

_SMOKE_TEST = """
import sys
import numpy
from tflite_runtime.interpreter import Interpreter
interpreter = Interpreter(model_content=sys.stdin.buffer.read())
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], numpy.array([-1, 2], numpy.float32))
interpreter.invoke()
assert interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist() == [0, 2]
"""


def agent_archive() -> Path:
    """Return the agent as one file that a Python interpreter runs; its name holds its SHA-256."""
    content = archive_bytes(Path(protocol.__file__).parent)
    path = cache_dir() / "agents" / f"latency_agent-{hashlib.sha256(content).hexdigest()}.pyz"
    if not path.is_file():
        with workspace() as folder:
            made = folder / path.name
            made.write_bytes(content)
            path.parent.mkdir(exist_ok=True)
            made.replace(path)
    return path


def archive_bytes(package: Path) -> bytes:
    """Return the archive of the agent whose sources are in the folder `package`: the same bytes for the same sources."""
    entries = [("__main__.py", _ARCHIVE_MAIN)]
    entries += sorted((f"latency_agent/{file.relative_to(package).as_posix()}", file.read_bytes()) for file in package.rglob("*.py"))
    buffer = io.BytesIO()
    # Stored, not deflated: what deflate yields depends on the zlib at hand.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name, _OLDEST_ZIP_DATE)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def runtime_python(runtime: str, progress: Callable[[str], None] | None = None) -> Path:
    """Return the interpreter on this machine that has `runtime`; the first call for tflite-runtime sets its environment up.

    `progress` is told, in one line, before something takes long. Raises ConfigError where no Python here fits the runtime, HarnessError
    where the environment cannot be made.
    """
    if runtime == "ai-edge-litert":
        return Path(sys.executable)
    environment, base, requirements = _environment(runtime)
    python = environment / "bin" / "python"
    if not python.exists():  # nothing there, or the Python that it was made from is gone
        shutil.rmtree(environment, ignore_errors=True)
        if progress is not None:
            progress(f"setting up {runtime} in {environment}")
        _make_environment(runtime, environment, base, requirements)
    return python


def runtime_is_there(runtime: str | None) -> bool:
    """Return whether `runtime_python` would answer without making an environment."""
    return runtime in (None, "ai-edge-litert") or (_environment(runtime)[0] / "bin" / "python").exists()


def _environment(runtime: str) -> tuple[Path, Path, bytes]:
    """Return the folder of a runtime's environment, the Python it is made from and what is installed there."""
    requirements = resources.files("harness.devices").joinpath("requirements", f"{runtime}.txt").read_bytes()
    base = _fitting_python()
    key = hashlib.sha256(requirements + os.fsencode(base)).hexdigest()[:16]
    return cache_dir() / "runtimes" / f"{runtime}-{key}", base, requirements


def _make_environment(runtime: str, environment: Path, base: Path, requirements: bytes) -> None:
    """Make the folder `environment`, complete and seen to run a model, or not at all."""
    environment.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{environment.name}.", dir=environment.parent) as scratch:
        made, wanted = Path(scratch, "environment"), Path(scratch, "requirements.txt")
        wanted.write_bytes(requirements)
        python = str(made / "bin" / "python")
        venv = ["venv", "--quiet", "--no-project", "--relocatable", "--python", str(base), str(made)]
        packages = ["pip", "sync", "--quiet", "--require-hashes", "--python", python, str(wanted)]
        for command, failure, stdin in (
            ([uv.find_uv_bin(), *venv], "an environment cannot be made", b""),
            ([uv.find_uv_bin(), *packages], "its packages cannot be installed", b""),
            ([python, "-I", "-c", _SMOKE_TEST], "it cannot run a model", smoke_model()),
        ):
            # Not where the user is: the settings of a project there are not ours.
            done = run_installer(command, _INSTALL_TIMEOUT_S, folder=Path(scratch), stdin=stdin)
            if done.returncode != 0:
                raise HarnessError(
                    f"cannot set up {runtime}: {failure}\n{done.stderr.decode(errors='replace').strip()[-2000:]}",
                    "packages come from the index that pip on this machine is set to; "
                    "without one, set `python` of the device in devices.toml to an interpreter that has the runtime",
                )
        try:
            made.rename(environment)
        except OSError:
            if not environment.is_dir():  # another process was faster: its environment is the same
                raise


def _fitting_python() -> Path:
    """Return a Python of this machine that tflite-runtime has wheels for: the harness's own, else one that uv finds."""
    oldest, newest = _TFLITE_RUNTIME_PYTHONS
    if oldest <= sys.version_info[:2] <= newest:
        return _base_python()
    versions = f">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"
    found = run_installer([uv.find_uv_bin(), "python", "find", "--no-project", "--system", versions], _SHORT_TIMEOUT_S)
    if found.returncode != 0:
        raise ConfigError(
            f"tflite-runtime needs Python 3.9, 3.10 or 3.11, and this machine has none (the harness runs on {sys.version.split()[0]})",
            "install one (Debian: python3.11; any system: uv python install 3.11), "
            "or set `python` of the device in devices.toml to an interpreter that has tflite-runtime and numpy<2",
        )
    return Path(found.stdout.decode().strip())


def smoke_model() -> bytes:
    """Return the smallest .tflite model worth running: ReLU over two float32 values."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    code.version = 1
    model.operatorCodes = [code]
    graph = schema.SubGraphT()
    graph.tensors = [_float_pair(schema, "x"), _float_pair(schema, "y")]
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0], [1]
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [1]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def uv_environment() -> dict[str, str]:
    """Return the environment to run uv in: this process's, and pip's settings of package index and certificates, which uv does not read."""
    environment = dict(os.environ)
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    for option, name in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        value = os.environ.get(f"PIP_{option.upper().replace('-', '_')}") or _pip_settings().get(option)
        if value:
            environment.setdefault(name, value)
    return environment


def _float_pair(schema: Any, name: str) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [2], schema.TensorType.FLOAT32, 0
    return tensor


def _base_python() -> Path:
    """Return the machine's Python that the harness's own environment was made from."""
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    return base if base.exists() else Path(sys.executable)


@functools.cache
def _pip_settings() -> dict[str, str]:
    """Return the settings in the files of the machine's pip; none where there is no pip."""
    # Not `pip config get`: it reads the user's file alone, and misses the machine's.
    command = [str(_base_python()), "-m", "pip", "config", "list"]
    listed = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SHORT_TIMEOUT_S)
    return dict(re.findall(r"^global\.([\w-]+)='(.*)'$", listed.stdout, re.MULTILINE))


def run_installer(
    command: Sequence[str], timeout_s: float, *, folder: Path | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Return how a command ended that fetches packages from where the machine's pip gets them; raises HarnessError at its time-out."""
    try:
        return subprocess.run(command, check=False, cwd=folder, env=uv_environment(), input=stdin, capture_output=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise HarnessError(f"{command[0]} was still running after {timeout_s:.0f} s", "is the package index reachable?") from None
