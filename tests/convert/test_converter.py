"""Sources by name and path, the cache and the conversion process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from harness.convert import cache, warm_worker
from harness.convert.agreement import compare_outputs
from harness.convert.children import environment
from harness.convert.converter import Converter
from harness.convert.model import Precision
from harness.errors import ConfigError, ConversionError
from harness.networks.keras_build import build_keras
from harness.networks.named import network_named
from harness.networks.weights import spread
from tests.cli import tiny_models
from tests.convert.device import run

NETWORK = "mobilenet_v1:width=0.25,resolution=32"


@pytest.fixture(scope="module")
def files(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of saved models, sound and not."""

    class Own(keras.layers.Layer):  # type: ignore[misc]
        def call(self, values: Any) -> Any:
            return values * 2

    folder = tmp_path_factory.mktemp("models")
    entry = keras.Input((8,), name="entry")
    dense = keras.Model(entry, keras.layers.Dense(40, name="dense")(entry))
    own = keras.Model(entry, Own()(entry))
    with_lambda = keras.Model(entry, keras.layers.Lambda(lambda values: values * 2)(entry))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in {"dense": dense, "own": own, "lambda": with_lambda}.items():
            model.save(folder / f"{name}.keras")
            model.save(folder / f"{name}.h5")
        dense.export(folder / "exported", verbose=False)
    whole = (folder / "dense.keras").read_bytes()
    (folder / "cut.keras").write_bytes(whole[: len(whole) // 2])
    (folder / "noise.h5").write_bytes(os.urandom(2048))
    (folder / "empty.keras").touch()
    (folder / "broken").mkdir()
    (folder / "broken" / "saved_model.pb").write_bytes(b"no model")
    return folder


def test_a_killed_worker_is_an_error_that_names_the_model(converter: Converter) -> None:
    # First in this file: the tests below find the worker's replacement.
    future = converter.submit("nasnet_a_mobile", precision="float16")
    while (process := converter._worker._process) is None:
        time.sleep(0.01)
    process.kill()
    with pytest.raises(ConversionError, match="nasnet_a_mobile: the conversion process was killed"):
        future.result(timeout=60)


def test_a_conversion_that_takes_too_long_is_ended(converter: Converter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_worker, "TIMEOUT_S", 0.2)
    future = converter.submit("nasnet_a_mobile", precision="float16")
    with pytest.raises(ConversionError, match="nasnet_a_mobile: the conversion took more than 0 s") as caught:
        future.result(timeout=60)
    assert "yourself" in caught.value.hint
    assert converter._worker._process is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_conversion_ends_with_a_harness_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, signal, time\n"
        "from harness.convert.converter import Converter\n"
        "converter = Converter()\n"
        "converter.submit('nasnet_a_mobile', precision='float16')\n"
        "while converter._worker._process is None: time.sleep(0.01)\n"
        "time.sleep(1)\n"
        "print(converter._worker._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    settings = environment() | {"HARNESS_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=settings, stdout=subprocess.PIPE, check=False, timeout=60)
    until = time.monotonic() + 10  # the conversion takes longer, and the end of stdin is seen after it
    while runs(int(done.stdout)):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_has_nothing_to_do_with_the_cache_is_not_blamed_on_it() -> None:
    with pytest.raises(FileNotFoundError), cache.workspace():
        raise FileNotFoundError(errno.ENOENT, "no such program")


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_files_in_the_users_folder_are_not_run(tmp_path: Path) -> None:
    for name in ("json", "numpy", "harness", "tensorflow"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run')\n")
    (tmp_path / "m.tflite").write_bytes(tiny_models.add())
    script = (
        "import os\n"
        "from harness.convert.converter import Converter\n"
        "from harness.errors import ConversionError\n"
        "with Converter(cores=sorted(os.sched_getaffinity(0))) as converter:\n"
        "    assert converter.submit('m.tflite').result().not_compared is None\n"
        "    open('m.keras', 'w').close()\n"
        "    error = converter.submit('m.keras').exception()\n"
        "    assert isinstance(error, ConversionError) and 'cut short' in str(error), error\n"
    )
    settings = environment() | {"HARNESS_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-P", "-c", script], env=settings, cwd=tmp_path, check=True, timeout=120)


@pytest.mark.parametrize("name", ["dense.keras", "dense.h5", "exported"])
def test_saved_models_convert_and_agree(converter: Converter, files: Path, name: str) -> None:
    model = converter.submit(files / name).result()
    assert (model.name, model.precision) == (str(files / name), "float32")
    assert model.second_side == ("TensorFlow" if name == "exported" else "Keras")
    assert model.size_bytes > 40 * 9 * 4
    assert model.expected is not None
    assert compare_outputs(model.expected, run(model), "float32").ok


@pytest.mark.parametrize(
    ("name", "says", "hint"),
    [
        ("own.keras", "code of its own: Could not locate class 'Own'", "SavedModel folder"),
        ("own.h5", "code of its own: Unknown layer: 'Own'", "SavedModel folder"),
        ("lambda.keras", "Lambda", "the model object itself"),
        ("lambda.h5", "Lambda", "the model object itself"),
        ("cut.keras", "cut short", "save it again"),
        ("empty.keras", "not a .keras file", "save it again"),
        ("noise.h5", "cannot read the file", "save it again"),
        ("broken", "cannot load the SavedModel", "Save it again"),
    ],
)
def test_models_that_cannot_be_loaded(converter: Converter, files: Path, name: str, says: str, hint: str) -> None:
    with pytest.raises(ConversionError) as caught:
        converter.submit(files / name).result()
    assert str(files / name) in caught.value.message
    assert says in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("precision", "side"), [("float32", "host reference kernels"), ("int8", "host reference kernels"), ("float16", "Keras")]
)
def test_a_network_is_written_directly_where_that_can_be_done(converter: Converter, precision: Precision, side: str) -> None:
    model = converter.submit(NETWORK, precision=precision).result()
    assert (model.name, model.precision, model.second_side) == (NETWORK, precision, side)
    assert (model.note is None) == (precision != "int8")
    assert model.expected is not None
    agreement = compare_outputs(model.expected, run(model), precision, side)
    assert agreement.ok
    # 8 bits of a probability among 1000 are hardly any: so much for what random weights can show.
    assert ("says little" in agreement.text) == (precision == "int8")


def test_a_network_is_known_by_what_it_is_not_by_its_name(converter: Converter, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(network_named(NETWORK).to_toml())
    mine = converter.submit(tmp_path / "mine.toml").result()
    assert mine.name == str(tmp_path / "mine.toml")
    assert (mine.path, mine.sha256) == (converter.submit(NETWORK).result().path, converter.submit(NETWORK).result().sha256)


def test_a_network_gives_the_same_bytes_in_any_process(converter: Converter, keras: Any) -> None:
    assert keras is not None
    model = build_keras(network_named(NETWORK))
    spread(model)
    made = [converter.submit(one, precision="float16").result().sha256 for one in (NETWORK, model)]
    assert made[0] == made[1]


def test_a_network_too_large_for_a_file_is_refused(converter: Converter) -> None:
    with pytest.raises(ConversionError, match=r"vgg_16:resolution=1024: its weights take .* GiB"):
        converter.submit("vgg_16:resolution=1024").result()


def test_a_tflite_file_has_its_precision(converter: Converter, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(tiny_models.add())
    assert converter.submit(path).result().path == path
    with pytest.raises(ConfigError, match="has its precision already"):
        converter.submit(path, precision="int8").result()
    with pytest.raises(ConfigError, match="Leave --calibration out"):
        converter.submit(str(path), calibration=path).result()


def test_a_damaged_entry_is_made_again(converter: Converter, files: Path) -> None:
    model = converter.submit(files / "dense.keras").result()
    assert model.expected is not None
    for path in (model.path, model.expected, model.path.with_suffix(".json")):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert converter.submit(files / "dense.keras").result() == model
        assert model.path.stat().st_size == model.size_bytes


def test_what_is_in_the_cache_starts_no_tensorflow(converter: Converter) -> None:
    converter.submit(NETWORK, precision="float16").result()
    script = (
        "import sys\n"
        "from harness.convert.converter import Converter\n"
        "with Converter() as converter:\n"
        f"    converter.submit('{NETWORK}', precision='float16').result()\n"
        "    assert converter._worker._process is None\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], env=environment(), check=True, timeout=60)


def test_settings_and_content_make_the_key(files: Path, tmp_path: Path) -> None:
    assert cache.hash_path(files / "exported") != cache.hash_path(files / "broken")
    copy = tmp_path / "copy.keras"
    copy.write_bytes((files / "dense.keras").read_bytes())
    assert cache.hash_path(copy) == cache.hash_path(files / "dense.keras")
    keys = {cache.key_of("a", {"precision": precision}, ("keras",)) for precision in ("float32", "int8")}
    assert len(keys) == 2


def test_a_cache_that_cannot_be_written_is_an_error_of_the_user(
    converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ConfigError, match="cannot be made"):
        converter.submit("mobilenet_v2").result()


def test_closing_ends_the_process_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    with Converter(cores=sorted(os.sched_getaffinity(0))[:1]) as converter:
        future = converter.submit("vgg_16", precision="float16")
        while (process := converter._worker._process) is None:
            time.sleep(0.01)
        time.sleep(0.3)
        assert os.sched_getaffinity(process.pid) == set(sorted(os.sched_getaffinity(0))[:1])
    assert process.poll() is not None
    assert isinstance(future.exception(), ConversionError)
    assert not list(tmp_path.iterdir())
