"""What a phone over ADB costs: bundles in bytes, setup, pushing against `adb push`, a request over the open session.

The phone is a stand-in on this machine (root is needed): a real adb server and adbd, in a file system without Python. It is as quick as
this machine, so that setup says what the harness does with its time, and not how long a phone takes to unpack.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import adbutils

from benchmarks import figures
from harness.convert.cache import hash_path
from harness.convert.model import Model
from harness.convert.reference import reference_models
from harness.devices.adb import AdbTransport
from harness.devices.bundle import bundle_for
from harness.devices.inventory import RUNTIMES, Device
from harness.devices.session import Session
from harness.devices.setup import remove, set_up
from tests.phone.adb_server import AdbServer
from tests.phone.phone import Phone

SIZE_BYTES = 15 << 20
LEAST_RATIO = 0.5
REQUEST_MS = 0.3
SETUP_S = 10.0
LINK_BYTES_PER_S = 20e6
MOST_BYTES = dict(zip(RUNTIMES, (25e6, 15e6), strict=True))
PER_ROUND = 50
FOLDER = "/data/local/tmp"


def main() -> None:
    """Take the rounds, in each of which everything is done in turn, then report."""
    options = figures.arguments(__doc__, count=5)
    if os.geteuid() != 0:
        sys.exit("a phone's namespaces take root: run this as root")
    state = figures.State("adb_speed", options)
    with figures.turn():
        sizes = {runtime: bundle_for("arm64", runtime).stat().st_size for runtime in RUNTIMES}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        server = AdbServer(folder / "server")
        os.environ.update(server.environment)
        phone = Phone(folder / "phone", server, figures.ROOT / ".phone")
        try:
            measure(options, state, phone, folder)
        finally:
            phone.stop()
            server.stop()
    report(options, state, sizes)


def measure(options: figures.Options, state: figures.State, phone: Phone, folder: Path) -> None:
    """Add the rounds that are missing."""
    device = Device("phone", transport="adb", serial=phone.serial)
    transport = AdbTransport(device)
    for _ in range(len(state.rows("round")), options.count):
        with figures.turn():
            remove(device)
            setup_s = figures.taken(lambda: set_up(device))
            with Session.open(device) as session:
                request_s = statistics.median(figures.taken(lambda: session.request("hello")) for _ in range(PER_ROUND))
                model = payload_of(folder)
                by_adb = [adbutils.adb_path(), "-s", phone.serial, "push", str(model.path), f"{FOLDER}/by_adb"]
                push_s = figures.taken(partial(session.push, model))
            adb_s = figures.taken(partial(subprocess.run, by_adb, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            state.add(
                "round",
                setup_s=setup_s,
                request_s=request_s,
                push_s=push_s,
                adb_s=adb_s,
                command_s=statistics.median(figures.taken(lambda: transport.run(["true"], figures.soon())) for _ in range(PER_ROUND)),
            )
    transport.close()


def payload_of(folder: Path) -> Model:
    """Return what is pushed as a model is, and never run: bytes that the phone has not seen."""
    path = folder / "payload.tflite"
    path.write_bytes(os.urandom(SIZE_BYTES))
    return replace(reference_models()[0], path=path, sha256=hash_path(path), size_bytes=SIZE_BYTES)


def report(options: figures.Options, state: figures.State, sizes: dict[str, int]) -> None:
    """Print the closing lines."""
    median_s = {name: statistics.median(state.column("round", f"{name}_s")) for name in ("setup", "push", "adb", "request", "command")}
    for runtime, size_bytes in sizes.items():
        link_s = size_bytes / LINK_BYTES_PER_S
        figures.finish(
            options,
            figure=f"bundle of {runtime} for arm64: {size_bytes / 1e6:.1f} MB, {link_s:.1f} s of a link of 20 MB/s",
            compared=f"setup of the stand-in, of this machine's architecture, {median_s['setup']:.1f} s by loopback",
            goal=f"{MOST_BYTES[runtime] / 1e6:.0f} MB; setup under {SETUP_S:.0f} s by such a link",
            met=size_bytes <= MOST_BYTES[runtime] and median_s["setup"] + link_s < SETUP_S,
            commits=state.commits(),
        )
    ratio = median_s["adb"] / median_s["push"]
    figures.finish(
        options,
        figure=f"push of 15 MiB, its hash compared there, at {SIZE_BYTES / median_s['push'] / 1e6:.0f} MB/s, {ratio:.2f} times adb's",
        compared=f"`adb push` {SIZE_BYTES / median_s['adb'] / 1e6:.0f} MB/s",
        goal=f"{LEAST_RATIO} times or more",
        met=ratio >= LEAST_RATIO,
        commits=state.commits(),
    )
    request_ms = 1000 * median_s["request"]
    figures.finish(
        options,
        figure=f"a request over the open session {request_ms:.3f} ms",
        compared=f"a fresh command {1000 * median_s['command']:.1f} ms",
        goal=f"{REQUEST_MS} ms or less",
        met=request_ms <= REQUEST_MS,
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
