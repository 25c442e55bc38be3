"""`harness models`, the measured ones from end to end."""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.main import cli
from harness.errors import ConfigError
from harness.measure import plan
from harness.measure.benchmark import bench
from harness.measure.result import FailedResult
from harness.measure.zoo import Measured
from harness.networks.listing import listed
from harness.report import table
from harness.report.accuracy import draw_accuracy, plot_accuracy
from tests.report import given
from tests.report.test_table import printed


def models(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["models", *arguments])


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("models")
    how = ("--measured", "local", "--results", str(folder / "results"), "--plot", str(folder / "zoo.svg"), "--json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "MOST_FLAWED", 0)
        patch.setattr("harness.measure.zoo.bench", partial(bench, max_time_s=1.0))
        return models("mnasnet_a2", "mobilenet_v3_small", *how), folder


def test_what_was_published_stands_beside_what_was_measured(measured: tuple[Result, Path]) -> None:
    only_published, whole = json.loads(measured[0].stdout)
    assert (only_published["network"]["name"], only_published["outcome"]) == ("mnasnet_a2", None)
    assert whole["network"]["published"]["top_1"] > 60
    assert whole["outcome"]["latency_ms"] > 0
    assert whole["outcome"]["model"] == whole["network"]["name"] == "mobilenet_v3_small"


def test_accuracy_is_drawn_against_latency(measured: tuple[Result, Path]) -> None:
    drawn = (measured[1] / "zoo.svg").read_text()
    assert "<!-- mobilenet_v3_small -->" in drawn
    assert "<!-- mnasnet_a2 -->" in drawn
    assert "zoo.svg" in measured[0].stderr


def zoo(**latencies_ms: float) -> list[Measured]:
    return [
        Measured(network, given.result(latency_ms=latency_ms))
        for network, latency_ms in zip(listed(list(latencies_ms)), latencies_ms.values(), strict=True)
    ]


def test_a_table_has_quick_networks_first_and_failed_and_published_ones_last() -> None:
    (darts, broken) = listed(["darts", "alexnet"])
    rows = [Measured(darts, None), *zoo(mnasnet_a1=3.0, mobilenet_v2=2.0), Measured(broken, FailedResult("alexnet", "local", "no"))]
    lines = printed(table.measured_networks_table(rows, "pi4")).splitlines()
    assert [line.split()[0] for line in lines if "M" in line] == ["mobilenet_v2", "mnasnet_a1", "darts", "alexnet"]
    assert "failed" in lines[-1] + lines[-2]


def test_networks_of_another_data_set_are_not_drawn_beside_those_of_imagenet(tmp_path: Path) -> None:
    drawn = plot_accuracy(zoo(lenet_5=0.1, mobilenet_v2=2.0), "pi4", tmp_path / "zoo.svg").read_text()
    assert "<!-- mobilenet_v2 -->" in drawn
    assert "<!-- lenet_5 -->" not in drawn


def test_names_of_near_points_do_not_cover_one_another() -> None:
    near = zoo(mobilenet_v3_large=7.8, mnasnet_a1=7.9, inception_v2=50.0, nasnet_a_mobile=51.0, mobilenet_v3_small=0.4)
    figure = draw_accuracy(near, "pi4")
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) >= 4
        assert not [(one, other) for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)]
    assert "0.5" in [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_nothing_measured_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="of the networks measured on pi4 none has a published accuracy on ImageNet"):
        plot_accuracy(zoo(lenet_5=0.1), "pi4", tmp_path / "zoo.png")


def test_what_could_not_be_drawn_or_built_is_not_measured(tmp_path: Path) -> None:
    where = ("--measured", "local", "--results", str(tmp_path / "results"))
    for asked, says in ((("lenet_5", "darts", "--plot", str(tmp_path / "zoo.png")), "nothing to draw"), (("darts",), "only published")):
        found = models(*asked, *where)
        assert (found.exit_code, found.stdout) == (1, "")
        assert says in found.stderr
    assert not (tmp_path / "results").exists()


def test_some_networks_are_listed_alone() -> None:
    rows = json.loads(models("mnasnet_a1", "darts", "--json").stdout)
    assert [row["name"] for row in rows] == ["mnasnet_a1", "darts"]


def test_an_unknown_network_is_an_error_with_the_nearest() -> None:
    found = models("mnasnet_a4")
    assert found.exit_code == 1
    assert "did you mean 'mnasnet_a" in found.stderr


def test_nothing_is_drawn_that_was_not_measured() -> None:
    assert models("--plot", "zoo.png").exit_code == 2
