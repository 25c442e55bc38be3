from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from harness.devices.inventory import Device, Inventory, load_inventory, parse_inventory, write_example
from harness.errors import ConfigError
from harness.tomlfile import line_of

ROOT = Path(__file__).parent.parent.parent
FULL = """\
default = "pi4"

[devices.local]
transport = "local"

[devices.pi4]
transport = "ssh"
host = "pi4.local"
user = "pi"
port = 2222
identity = "~/.ssh/board"
runtime = "tflite-runtime"
python = "/usr/bin/python3.11"
core = 3
temperature_limit_c = 70
tags = ["cortex-a72", "desk"]
become = "sudo -n"
frequency_khz = 1_500_000
power_cycle = "uhubctl -l 1-1 -p 2 -a cycle"

[devices.pixel6]
transport = "adb"
serial = "1A2B3C"
"""
KEYS = {
    "transport",
    "host",
    "user",
    "port",
    "identity",
    "serial",
    "runtime",
    "python",
    "core",
    "temperature_limit_c",
    "tags",
    "become",
    "frequency_khz",
    "power_cycle",
}


def parse(text: str) -> Inventory:
    return parse_inventory(text, Path("/desk/devices.toml"))


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse(text)
    return str(refused.value)


def test_every_key_is_read() -> None:
    inventory = parse(FULL)
    assert inventory.device() == Device(
        name="pi4",
        transport="ssh",
        runtime="tflite-runtime",
        host="pi4.local",
        user="pi",
        port=2222,
        identity="~/.ssh/board",
        python="/usr/bin/python3.11",
        core=3,
        temperature_limit_c=70.0,
        tags=("cortex-a72", "desk"),
        become="sudo -n",
        frequency_khz=1_500_000,
        power_cycle="uhubctl -l 1-1 -p 2 -a cycle",
    )
    assert inventory.device("local") == Device("local")
    assert inventory.device("pixel6") == Device("pixel6", transport="adb", serial="1A2B3C")
    assert (inventory.path, inventory.results_dir) == (Path("/desk/devices.toml"), Path("/desk/results"))


def test_an_only_device_is_the_default() -> None:
    assert parse('[devices.board]\ntransport = "local"').device().name == "board"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('default = "local\n', ["/desk/devices.toml:1:"]),
        ('[devices.a]\ntransport = "local"\n\n[devices.b\n', ["/desk/devices.toml:4:"]),
        ('default = """open', ["/desk/devices.toml:1:"]),
        (
            '[devices.a]\ntransport = "local"\ntemprature_limit_c = 70',
            [":3: unknown key 'temprature_limit_c'; did you mean 'temperature_limit_c'?"],
        ),
        ('[device.a]\ntransport = "local"', [":1: unknown key 'device'; did you mean 'devices'?"]),
        ('[devices.a]\ntransport = "local"\nhost = "pi4"', [":3: unknown key 'host'"]),
        ('[devices.a]\ncore = 3\ntransport = "shh"', [":3: unknown transport 'shh'; did you mean 'ssh'?", "local, ssh, adb"]),
        ("[devices.a]\ncore = 3", [":1: device 'a' has no transport", "local, ssh, adb"]),
        ('[devices.a]\ntransport = "ssh"', [":1: device 'a' has no host"]),
        ('[devices.a]\ntransport = "local"\nruntime = "tflite"', [":3: unknown runtime 'tflite'; did you mean 'tflite-runtime'?"]),
        ('[devices.a]\ntransport = "local"\ncore = "3"', [":3: core is a whole number, not '3'"]),
        ('[devices.a]\ntransport = "local"\ncore = true', [":3: core is a whole number, not True"]),
        ('[devices.a]\ntransport = "local"\ncore = -1', [":3: core is a number from 0 on, not -1"]),
        ('[devices.a]\ntransport = "local"\ntemperature_limit_c = nan', [":3: temperature_limit_c is a finite number, not nan"]),
        ('[devices.a]\ntransport = "local"\npython = "a\\u0000b"', [":3: python is a text in quotes"]),
        ('[devices.a]\ntransport = "local"\ntags = "desk"', [":3: tags is a list of texts, not 'desk'"]),
        ('[devices.a]\ntransport = "adb"\nfrequency_khz = 1500000', [":3: frequency_khz needs become"]),
        ('[devices.a]\ntransport = "local"\nbecome = "su 0"\nfrequency_khz = 0', [":4: frequency_khz is a number from 1 on, not 0"]),
        ('[devices]\na = "local"', [":2: device 'a' is not a table"]),
        ('[devices."a b"]\ntransport = "local"', [":1: a device cannot be called 'a b'"]),
        ('default = "locl"\n[devices.local]\ntransport = "local"', [":1: no device 'locl'; did you mean 'local'?", "devices: local"]),
        ('[devices.a]\ntransport = "local"\n[devices.b]\ntransport = "local"', ["no default device", 'default = "a"']),
        ("", ["no devices"]),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, words: list[str]) -> None:
    message = refusal(text)
    assert message.startswith("/desk/devices.toml")
    for word in words:
        assert word in message


def test_an_unknown_device_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no device 'pi5' in /desk/devices\.toml; did you mean 'pi4'") as refused:
        parse(FULL).device("pi5")
    assert "local, pi4, pixel6" in str(refused.value)


@given(
    key=st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,20}", fullmatch=True).filter(lambda key: key not in KEYS),
    device=st.sampled_from(["local", "pi4", "pixel6"]),
    data=st.data(),
)
def test_any_unknown_key_is_refused_at_its_line(key: str, device: str, data: st.DataObject) -> None:
    lines = FULL.splitlines()
    first = lines.index(f"[devices.{device}]") + 1
    size = next((number for number, line in enumerate(lines[first:]) if not line), len(lines) - first)
    at = first + data.draw(st.integers(0, size))
    lines.insert(at, f"{key} = 1")
    assert refusal("\n".join(lines)).startswith(f"/desk/devices.toml:{at + 1}: unknown key {key!r}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[devices.a]\nx = 1\n[devices.b]\nx = 1", 4),
        ('# x = 1\n[devices."b"]\n\n  "x" = 1', 4),
        ("devices.b.x = 1", 1),
        ("[devices]\nb = { y = 2, x = 1 }", 2),
        ('note = """\n[devices.b]\n"""\n[devices.b]\ny = 1', 2),
        ("[devices.b]\ny = 1", 1),
        ("", 1),
    ],
)
def test_a_key_is_found_in_the_text(text: str, line: int) -> None:
    assert line_of(text, ("devices", "b", "x")) == line


def test_a_named_file_comes_before_the_environment_and_the_environment_before_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("named", "environment", "folder"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "devices.toml").write_text(f'[devices.{name}]\ntransport = "local"')
    monkeypatch.chdir(tmp_path / "folder" / "below")
    assert load_inventory().device().name == "folder"
    assert load_inventory().results_dir == tmp_path / "folder" / "results"
    monkeypatch.setenv("HARNESS_DEVICES", str(tmp_path / "environment" / "devices.toml"))
    assert load_inventory().device().name == "environment"
    named = load_inventory(tmp_path / "named" / "devices.toml")
    assert (named.device().name, named.results_dir) == ("named", tmp_path / "named" / "results")


def test_without_a_file_local_alone_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inventory = load_inventory()
    assert inventory == Inventory("local", (Device("local"),), None, tmp_path / "results")
    with pytest.raises(ConfigError, match=r"there is no devices\.toml"):
        inventory.device("pi4")


def test_a_named_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        load_inventory(tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml"):
        load_inventory(tmp_path / "binary.toml")


def test_the_example_works_and_never_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    write_example(path)
    assert [(device.name, device.runtime) for device in load_inventory(path).devices] == [
        ("local", None),
        ("local-tflite-runtime", "tflite-runtime"),
    ]
    with pytest.raises(ConfigError, match="there already"):
        write_example(path)


def test_the_example_works_with_its_comments_removed(tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    write_example(path)
    lines = path.read_text().splitlines()
    shown = [line.removeprefix("# ") for line in lines if not line.startswith(("# The ", "# A "))]
    assert [device.name for device in parse("\n".join(shown)).devices] == ["local", "local-tflite-runtime", "pi4", "pixel6"]


def test_the_committed_inventory_has_the_local_devices() -> None:
    inventory = load_inventory(ROOT / "devices.toml")
    assert inventory.device("local") == Device("local")
    assert inventory.device("local-tflite-runtime") == Device("local-tflite-runtime", runtime="tflite-runtime")


FARM = """
default = "pi4"
[devices.pi4]
transport = "ssh"
host = "pi4"
tags = ["boards"]
[devices.pi4-litert]
transport = "ssh"
host = "pi4"
runtime = "ai-edge-litert"
tags = ["boards", "litert"]
[devices.pixel]
transport = "adb"
serial = "1A"
"""


def test_devices_are_selected_by_name_and_by_tag_each_once() -> None:
    found = parse_inventory(FARM, Path("devices.toml"))

    def names(*wanted: str) -> list[str]:
        return [device.name for device in found.select(wanted)]

    assert names() == ["pi4"]
    assert names("pixel", "tag:litert", "tag:boards") == ["pixel", "pi4-litert", "pi4"]
    with pytest.raises(ConfigError, match=r"has the tag 'board'; did you mean 'boards'\?\ntags: boards, litert"):
        names("tag:board")
    with pytest.raises(ConfigError, match="no device 'pixl'"):
        names("pixl")


def test_two_runtimes_of_one_board_are_one_machine() -> None:
    pi4, litert, pixel = parse_inventory(FARM, Path("devices.toml")).devices
    assert pi4.machine == litert.machine != pixel.machine


@pytest.mark.parametrize("value", ['"', ""])
def test_a_power_cycle_that_is_no_command_is_told(value: str) -> None:
    text = FARM + f"power_cycle = '{value}'\n"
    with pytest.raises(ConfigError, match=r"devices.toml:\d+: power_cycle is .*\nsuch as power_cycle = "):
        parse_inventory(text, Path("devices.toml"))
