from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.measure.result import Equality
from tests.report import given


def test_devices_that_are_equal_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = given.comparison()
    outcome = Equality("pi-a", "pi-b", 0.03, 0.021, equal=True, comparisons=(comparison,))
    asked: list[tuple[object, ...]] = []

    def equal(*devices: str, **how: object) -> Equality:
        asked.append((*devices, how["within"], how["processes"]))
        return outcome

    monkeypatch.setattr("harness.measure.equal.equal", equal)
    done = CliRunner().invoke(cli, ["devices", "equal", "pi-a", "pi-b", "--within", "3%"])
    assert (done.exit_code, asked) == (0, [("pi-a", "pi-b", 0.03, 12)])
    assert "equal within 3.0%: they may share models" in done.stdout
    for change, said in (({"farthest": 0.05}, "may be 5.0% apart"), ({}, "a comparison was not steady")):
        outcome = replace(outcome, equal=False, **change)  # type: ignore[arg-type]
        done = CliRunner().invoke(cli, ["devices", "equal", "pi-a", "pi-b", "--json"])
        assert (done.exit_code, json.loads(done.stdout)["equal"]) == (1, False)
        assert said in CliRunner().invoke(cli, ["devices", "equal", "pi-a", "pi-b"]).stdout
        outcome = replace(outcome, farthest=0.021)


def test_an_option_of_devices_before_its_subcommand_is_a_usage_error() -> None:
    done = CliRunner().invoke(cli, ["devices", "--json", "equal", "a", "b"])
    assert done.exit_code == 2
    assert "Options of harness devices equal stand behind it." in done.stderr
