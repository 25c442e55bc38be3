from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from ai_edge_litert import schema_py_generated as schema

from harness.convert.agreement import compare_outputs
from harness.convert.converter import prepare_tflite
from harness.convert.reference import MEMORY_SHA256, MOBILE_SHA256, reference_models
from harness.networks.data import models_dir
from tests.convert.device import run


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_reference", models_dir() / "reference" / "write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_script_writes_the_pinned_bytes(writer: ModuleType) -> None:
    assert hashlib.sha256(writer.mobile()).hexdigest() == MOBILE_SHA256
    assert hashlib.sha256(writer.memory()).hexdigest() == MEMORY_SHA256


def test_they_compute_what_the_plain_kernels_do() -> None:
    mobile, memory = reference_models()
    assert (mobile.sha256, memory.sha256) == (MOBILE_SHA256, MEMORY_SHA256)
    assert memory.size_bytes > 8 * 2**20
    for reference in (mobile, memory):
        assert (reference.expected, reference.not_compared) == (None, "a reference model")
        model = prepare_tflite(reference.path, "m", {})
        assert model.expected is not None
        agreement = compare_outputs(model.expected, run(model), model.precision, model.second_side or "")
        assert agreement.ok
        assert "says little" not in agreement.text


def test_every_runtime_loads_their_operators() -> None:
    for model in reference_models():
        tree = schema.ModelT.InitFromPackedBuf(model.path.read_bytes())
        assert {code.version for code in tree.operatorCodes} == {1}


def test_a_damaged_copy_in_the_cache_is_unpacked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    path = reference_models()[0].path
    path.write_bytes(path.read_bytes()[:-1])
    assert reference_models()[0].sha256 == MOBILE_SHA256
