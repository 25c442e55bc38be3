"""The built wheel, used from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import uv

from harness.devices.provision import agent_archive

ROOT = Path(__file__).parent.parent

ASK_INSTALLED = """
import json, harness, latency_agent
from harness.devices.inventory import write_example, load_inventory
from harness.devices.provision import agent_archive, runtime_python
from harness.networks.data import models_dir
from pathlib import Path
write_example(Path("devices.toml"))
print(json.dumps({
    "harness": harness.__file__,
    "agent": latency_agent.__file__,
    "archive": agent_archive().name,
    "models": sorted(path.relative_to(models_dir()).as_posix() for path in models_dir().rglob("*") if path.is_file()),
    "devices": [device.name for device in load_inventory().devices],
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        uv.find_uv_bin(),
        "build",
        "--wheel",
        "--quiet",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "--out-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


def test_an_installed_wheel_finds_its_models_and_its_agent(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [
        uv.find_uv_bin(),
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        sys.executable,
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(command, check=True, timeout=120)
    environment = os.environ | {"PYTHONPATH": str(site), "HARNESS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", ASK_INSTALLED], cwd=elsewhere, env=environment, capture_output=True, check=True, timeout=120
    )
    told = json.loads(done.stdout)

    assert Path(told["harness"]).is_relative_to(site)
    assert Path(told["agent"]).is_relative_to(site)
    assert told["archive"] == agent_archive().name
    files = [path.relative_to(ROOT / "models") for path in (ROOT / "models").rglob("*") if path.is_file()]
    assert told["models"] == sorted(path.as_posix() for path in files if path.suffix != ".pyc")  # tests beside this one leave some
    assert told["models"]
    assert told["devices"] == ["local", "local-tflite-runtime"]


def test_the_wheel_holds_what_the_package_needs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"harness", "latency_agent", "latency_harness-0.1.0.dist-info"}
    assert "harness/devices/requirements/tflite-runtime.txt" in names
    assert "latency_harness-0.1.0.dist-info/licenses/LICENSE" in names
