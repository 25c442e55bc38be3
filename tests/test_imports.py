"""The lines of who may import whom, held by walking the imports."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the top down: a room imports itself and rooms further down, never one above or beside it.
LAYERS = (
    ("cli",),
    ("report",),
    ("search", "prune"),
    ("training",),
    ("tables", "rewards"),
    ("measure",),
    ("devices",),
    ("convert",),
    ("networks",),
    ("files", "log", "tomlfile"),
    ("errors",),
)
DEPTH = {room: depth for depth, rooms in enumerate(LAYERS) for room in rooms}

RUNTIMES_OF_THE_AGENT = {"ai_edge_litert", "tflite_runtime", "numpy"}
PURE = ("rewards.py", "measure/stats.py", "tables/predict.py")
HEAVY = ("tensorflow", "keras")
# `import harness` and `harness --help` load none of these.
LATE = ("tensorflow", "keras", "pandas", "matplotlib", "scipy", "sqlalchemy", "pyarrow", "paramiko")


def python_files(package: Path) -> list[Path]:
    files = sorted(package.rglob("*.py"))
    assert files, f"{package} holds no Python"
    return files


def imports(node: ast.AST, module: str) -> Iterator[str]:
    """Every module that `node` imports, those inside functions too; `from a import b` yields a.b, where `b` may be a module."""
    for item in ast.walk(node):
        if isinstance(item, ast.Import):
            yield from (alias.name for alias in item.names)
        elif isinstance(item, ast.ImportFrom):
            assert item.level == 0, f"{module}: a relative import"
            yield from (f"{item.module}.{alias.name}" for alias in item.names)


def imports_of(file: Path) -> list[str]:
    return list(imports(ast.parse(file.read_text(encoding="utf-8")), file.name))


def imports_at_load(file: Path) -> list[str]:
    """The modules that importing `file` imports: those of its functions and of TYPE_CHECKING blocks are not among them."""

    class Prune(ast.NodeTransformer):
        def visit_FunctionDef(self, _node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, _node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)

    return list(imports(Prune().visit(ast.parse(file.read_text(encoding="utf-8"))), file.name))


def room(file: Path) -> str:
    first = file.relative_to(ROOT / "harness").parts[0]
    return first.removesuffix(".py")


def test_every_room_has_its_layer() -> None:
    rooms = {room(file) for file in python_files(ROOT / "harness")} - {"__init__"}
    assert rooms <= set(DEPTH)


def test_imports_go_downwards() -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in python_files(ROOT / "harness")
        if file != ROOT / "harness" / "__init__.py"  # it re-exports the public names of all rooms
        for name in imports_of(file)
        if name.startswith("harness.") and (target := name.split(".")[1]) != room(file) and DEPTH.get(target, -1) <= DEPTH[room(file)]
    ]
    assert wrong == []


def test_nothing_imports_the_command_line() -> None:
    importers = {
        room(file) for file in python_files(ROOT / "harness") for name in imports_of(file) if f"{name}.".startswith("harness.cli.")
    }
    assert importers <= {"cli"}


def test_the_harness_imports_only_the_protocol_of_the_agent() -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in python_files(ROOT / "harness")
        for name in imports_of(file)
        # The bare package is empty: it tells where the sources are.
        if name.startswith("latency_agent.") and not f"{name}.".startswith("latency_agent.protocol.")
    ]
    assert wrong == []


def test_the_agent_imports_the_standard_library_numpy_and_a_runtime() -> None:
    allowed = sys.stdlib_module_names | RUNTIMES_OF_THE_AGENT | {"latency_agent"}
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in python_files(ROOT / "agent" / "latency_agent")
        for name in imports_of(file)
        if name.split(".")[0] not in allowed
    ]
    assert wrong == []


def test_nothing_loads_tensorflow_when_it_is_imported() -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in python_files(ROOT / "harness")
        for name in imports_at_load(file)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_pure_modules_touch_no_files_and_no_devices() -> None:
    outside = {"os", "io", "pathlib", "shutil", "socket", "subprocess", "tempfile", "sqlite3", "harness.devices", "harness.convert"}
    wrong = [
        f"{name} imports {module}"
        for name in PURE
        if (file := ROOT / "harness" / name).is_file()
        for module in imports_of(file)
        if any(f"{module}.".startswith(f"{one}.") for one in outside)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "statement",
    ["import harness", "import runpy, sys; sys.argv = ['harness', '--help']; runpy.run_module('harness.cli', run_name='__main__')"],
)
def test_start_loads_nothing_heavy(statement: str) -> None:
    report = f"import atexit, json, sys; atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n{statement}"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.split(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}
    assert "harness" in loaded
    assert loaded.isdisjoint(LATE)
