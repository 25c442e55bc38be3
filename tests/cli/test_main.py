from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import harness
from harness.cli import doctor, main
from harness.errors import AgentDied, ConfigError

COMMANDS = [
    "bench",
    "compare",
    "aa",
    "doctor",
    "results",
    "models",
    "table",
    "search",
    "prune",
    "worker",
    "devices",
    "setup",
    "bundle",
    "trust",
    "init",
]
HEAVY = ("tensorflow", "keras", "pandas", "matplotlib", "paramiko", "numpy", "rich", "sqlalchemy", "scipy")


def run(*args: str) -> tuple[int, str, str]:
    outcome = CliRunner().invoke(main.cli, list(args), prog_name="harness")
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exception
    return outcome.exit_code, outcome.stdout, outcome.stderr


def raising(error: BaseException) -> click.Command:
    @click.command()
    def fails() -> None:
        raise error

    return fails


def test_the_help_page_lists_each_command_with_a_whole_sentence() -> None:
    code, out, _ = run("--help")
    assert code == 0
    listed = out.split("Commands:")[1].split("\n")[1:]
    assert [line.split()[0] for line in listed if line.strip()] == COMMANDS
    assert "..." not in out.split("Commands:")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_and_each_of_its_options_is_documented(name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: harness {name}")
    command = main.cli.get_command(click.Context(main.cli), name)
    assert command is not None
    assert command.help
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, option.name


def test_an_unknown_command_is_wrong_usage() -> None:
    code, out, err = run("bnech")
    assert code == 2
    assert out == ""
    assert "No such command 'bnech'" in err


def test_an_error_is_printed_with_its_hint_and_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "doctor", raising(ConfigError("no device 'pi' in devices.toml", "devices: local")))
    assert run("doctor") == (1, "", "error: no device 'pi' in devices.toml\n  devices: local\n")


def test_the_last_words_of_a_worker_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "doctor", raising(AgentDied("pi", "the worker ended", "try again", "one\ntwo")))
    assert run("doctor") == (1, "", "error: pi: the worker ended\n  | one\n  | two\n  try again\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("bench", "interrupted: what was measured is stored; the same command goes on from there"),
        ("compare", "interrupted: what was measured is stored; the same command goes on from there"),
        ("aa", "interrupted: what was measured is stored; the same command goes on from there"),
        ("doctor", "interrupted"),
    ],
)
def test_an_interrupt_says_what_is_kept(monkeypatch: pytest.MonkeyPatch, command: str, said: str) -> None:
    monkeypatch.setattr(f"{main._MODULES[command]}.{command}", raising(KeyboardInterrupt()))
    code, out, err = run(command)
    assert (code, out) == (130, "")
    assert err.strip() == said


def test_an_error_that_is_no_message_to_the_user_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "doctor", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(main.cli, ["doctor"], catch_exceptions=False)


def loaded(code: str) -> set[str]:
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return {name.partition(".")[0] for name in out.split()}


CALL = "from click.testing import CliRunner\nfrom harness.cli.main import cli\nassert CliRunner().invoke(cli, {}).exit_code == 0"


@pytest.mark.parametrize("code", ["import harness", CALL.format(["--help"]), CALL.format(["bench", "--help"])])
def test_starting_loads_nothing_heavy(code: str) -> None:
    assert loaded(code).isdisjoint(HEAVY)


def test_the_package_has_few_names_and_each_is_there() -> None:
    assert harness.__all__ == sorted(harness.__all__)
    assert len(harness.__all__) == 20
    for name in harness.__all__:
        assert getattr(harness, name).__name__ == name
        assert name in dir(harness)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="benhc"):
        _ = harness.benhc


def test_init_writes_an_inventory_once(tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    code, out, err = run("init", str(path))
    assert (code, out) == (0, "")
    assert str(path) in err
    assert "[devices.local]" in path.read_text()
    path.write_text("mine")
    code, _, err = run("init", str(path))
    assert code == 1
    assert err.startswith("error: ")
    assert path.read_text() == "mine"
