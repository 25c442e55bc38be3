from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.report.plots import _View, check_path, plot_samples
from tests.report import given

MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", sorted(MAGIC))
def test_the_suffix_chooses_the_format(tmp_path: Path, suffix: str) -> None:
    path = plot_samples([given.result()], [given.samples()], tmp_path / f"plot{suffix}")
    assert path.read_bytes().startswith(MAGIC[suffix])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_each_model_has_a_row(tmp_path: Path) -> None:
    from PIL import Image

    heights = []
    for count in (1, 3):
        path = plot_samples([given.result()] * count, [given.samples()] * count, tmp_path / "plot.png")
        with Image.open(path) as image:
            heights.append(image.height)
    assert heights[1] > 2.5 * heights[0]


@pytest.mark.parametrize("name", ["plot.jpeg", "plot", "missing/plot.png"])
def test_a_path_that_cannot_be_drawn_to_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        check_path(tmp_path / name)


def test_a_plot_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    path.write_bytes(b"old")
    frame = given.samples()
    with pytest.raises(ConfigError, match="no samples"):
        plot_samples([given.result()], [frame[frame["role"] == "reference"]], path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["plot.png"]


def test_outliers_do_not_flatten_the_axis() -> None:
    frame = given.samples()
    frame.loc[frame.index[5], "latency_ns"] = 5e9
    view = _View.of(given.result(), frame)
    assert view.high_ms < 4
    assert view.low_ms > 3
    assert view.beyond.sum() < 0.05 * view.latency_ms.size


def test_the_estimate_is_always_on_the_axis() -> None:
    view = _View.of(given.result(latency_ms=5.0, interval_ms=(2.0, 8.0)), given.samples())
    assert view.low_ms < 2
    assert view.high_ms > 8


def test_processes_of_another_boot_follow_on_the_time_axis() -> None:
    frame = given.samples(processes=3)
    frame.loc[frame["repetition"] == 2, "start_ns"] -= 10**12 - 500
    view = _View.of(given.result(), frame)
    assert (np.diff(view.seconds) > 0).all()
    assert view.seconds[0] == 0
    assert view.process.tolist() == sorted(view.process.tolist())


def test_drawing_leaves_pyplot_alone(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom harness.report.plots import plot_samples\nfrom tests.report import given\n"
        f"plot_samples([given.result()], [given.samples()], Path({str(tmp_path / 'p.png')!r}))\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[2])
