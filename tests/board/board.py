"""An arm64 board that a test boots: four cores of two kinds, frequencies, and a temperature that the test sets."""

from __future__ import annotations

import mmap
import re
import socket
import struct
import subprocess
import time
from pathlib import Path

from harness.devices.inventory import Device
from tests.board.image import build, pack, run
from tests.devices.sshd import Sshd

_MEMORY_BYTES = 2 << 30
_RAM_START = 0x4000_0000
_PAGE = _MEMORY_BYTES - 4096
_BOOT_TIMEOUT_S = 120.0
LITTLE_MHZ, BIG_MHZ = (600, 1200, 1800), (700, 1400, 2400)
LITTLE, BIG = (0, 1), (2, 3)
_TREE = """
/ {{
    little_opps: opp-table-little {{ compatible = "operating-points-v2"; opp-shared; {little_opps} }};
    big_opps: opp-table-big {{ compatible = "operating-points-v2"; opp-shared; {big_opps} }};
    little_clock: clock-little {{ compatible = "fixed-clock"; #clock-cells = <0>; clock-frequency = <1800000000>; }};
    big_clock: clock-big {{ compatible = "fixed-clock"; #clock-cells = <0>; clock-frequency = <2400000000>; }};
    cpus {{ {cpus} }};
    reserved-memory {{
        #address-cells = <2>; #size-cells = <2>; ranges;
        sensor@{page:x} {{ reg = <0x0 0x{page:x} 0x0 0x1000>; no-map; }};
    }};
    sensor: thermal@{page:x} {{
        compatible = "brcm,bcm2837-thermal"; reg = <0x0 0x{page:x} 0x0 0x8>; clocks = <&little_clock>; #thermal-sensor-cells = <0>;
    }};
    thermal-zones {{
        cpu-thermal {{
            polling-delay-passive = <100>; polling-delay = <200>; coefficients = <(-538) 412000>; thermal-sensors = <&sensor>;
            trips {{
                hot: hot {{ temperature = <80000>; hysteresis = <2000>; type = "passive"; }};
                critical {{ temperature = <110000>; hysteresis = <0>; type = "critical"; }};
            }};
            cooling-maps {{
                little {{ trip = <&hot>; cooling-device = <&core0 0xffffffff 0xffffffff>; }};
                big {{ trip = <&hot>; cooling-device = <&core2 0xffffffff 0xffffffff>; }};
            }};
        }};
    }};
}};
"""


class Board:
    """A running board. `device` reaches it as the user `board`; `temperature_c` is what its sensor shows."""

    def __init__(self, folder: Path, images: Path) -> None:
        kernel, root = build(images)
        folder.mkdir()
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._memory = folder / "memory"
        with self._memory.open("wb") as file:
            file.truncate(_MEMORY_BYTES)
        self._write_keys(root)
        self._machine = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "4", "-m", f"{_MEMORY_BYTES >> 20}M"]
        self._machine += ["-object", f"memory-backend-file,id=ram,size={_MEMORY_BYTES},mem-path={self._memory},share=on"]
        self._machine += ["-machine", "memory-backend=ram", "-accel", "tcg,thread=multi", "-no-reboot"]
        self._machine += ["-display", "none", "-serial", "stdio"]
        network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"
        self._machine += ["-netdev", network, "-device", "virtio-net-device,netdev=net"]
        self._monitor = folder / "monitor"
        self._kernel = ["-kernel", str(kernel), "-initrd", str(folder / "initrd"), "-append", "console=ttyAMA0 rdinit=/init panic=-1"]
        self._write_tree()
        self.temperature_c = 45.0
        self.start()

    @property
    def device(self) -> Device:
        return Device("board", transport="ssh", host="board", ssh_config=str(self.folder / "config"))

    @property
    def temperature_c(self) -> float:
        return self._temperature_c

    @temperature_c.setter
    def temperature_c(self, value: float) -> None:
        self._temperature_c = value
        with self._memory.open("r+b") as file, mmap.mmap(file.fileno(), 4096, offset=_PAGE) as page:
            page[:8] = struct.pack("<II", 1, round((412_000 - 1000 * value) / 538) | 1 << 10)

    def start(self) -> None:
        """Boot it, and come back when its SSH server answers."""
        with (self.folder / "console").open("ab") as console:
            self._monitor.unlink(missing_ok=True)
            monitor = ["-monitor", f"unix:{self._monitor},server,nowait"]
            command = [*self._machine, *monitor, "-dtb", str(self.folder / "board.dtb"), *self._kernel]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        deadline = time.monotonic() + _BOOT_TIMEOUT_S
        while not self._answers():
            running = self._process.poll() is None and time.monotonic() < deadline
            assert running, (self.folder / "console").read_text(errors="replace")[-4000:]
            time.sleep(0.1)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def link(self, *, up: bool) -> None:
        """Plug its network in, or pull it out."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self._monitor))
            monitor.recv(4096)
            monitor.sendall(f"set_link net {'on' if up else 'off'}\n".encode())
            time.sleep(0.2)

    def stop(self) -> None:
        """Cut its power."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        with socket.socket() as trial:
            trial.settimeout(1.0)
            try:
                trial.connect(("127.0.0.1", self.port))
                return trial.recv(4) == b"SSH-"
            except OSError:
                return False

    def _write_keys(self, root: Path) -> None:
        """Add this board's keys, and leave its governors to the user, in an archive of its own behind the image."""
        own = self.folder / "own"
        ssh = own / "etc/ssh"
        ssh.mkdir(parents=True)
        Sshd.make_key(self.folder / "id")
        Sshd.make_key(ssh / "host_key")
        (ssh / "authorized_keys").write_text((self.folder / "id.pub").read_text())
        (own / "setup").write_text("#!/bin/sh\nchmod 666 /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor\n")
        (own / "setup").chmod(0o755)
        pack(own, self.folder / "own.cpio.gz")
        (self.folder / "initrd").write_bytes(root.read_bytes() + (self.folder / "own.cpio.gz").read_bytes())
        kind, key, *_ = (ssh / "host_key.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        (self.folder / "config").write_text(f"""\
Host board
  HostName 127.0.0.1
  Port {self.port}
  User board
  IdentityFile {self.folder}/id
  IdentitiesOnly yes
  UserKnownHostsFile {self.folder}/known_hosts
  GlobalKnownHostsFile /dev/null
""")

    def _write_tree(self) -> None:
        """Write the machine's own device tree with two kinds of cores, their frequencies, and a thermal zone."""
        blob, source = self.folder / "virt.dtb", self.folder / "board.dts"
        run(*self._machine, "-machine", f"dumpdtb={blob}")
        text = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", str(blob)], check=True, capture_output=True, text=True).stdout
        kinds = {**dict.fromkeys(LITTLE, (485, "little")), **dict.fromkeys(BIG, (1024, "big"))}
        cpus = " ".join(
            f"core{core}: cpu@{core} {{ capacity-dmips-mhz = <{capacity}>; #cooling-cells = <2>; "
            f"operating-points-v2 = <&{kind}_opps>; clocks = <&{kind}_clock>; }};"
            for core, (capacity, kind) in kinds.items()
        )
        added = _TREE.format(little_opps=_opps(LITTLE_MHZ), big_opps=_opps(BIG_MHZ), cpus=cpus, page=_RAM_START + _PAGE)
        source.write_text(re.sub(r"(?s)\A(/dts-v1/;.*)\Z", lambda whole: whole[1] + added, text))
        run("dtc", "-q", "-I", "dts", "-O", "dtb", "-o", str(self.folder / "board.dtb"), str(source))


def _opps(frequencies_mhz: tuple[int, ...]) -> str:
    return " ".join(f"opp-{mhz}000000 {{ opp-hz = /bits/ 64 <{mhz}000000>; }};" for mhz in frequencies_mhz)
