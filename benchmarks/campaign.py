"""A campaign of models on four phones, killed again and again at random moments and gone on with by the same command.

The phones are stand-ins on this machine (root is needed), behind one adb server. `harness bench` and all that it started on this machine
are killed at once, with signal 9; the phones and the adb server live on. What was on the disk before a kill must be there afterwards, and
in the end each model must have one finished benchmark on each phone, no more.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import figures, phones, rigs, stored
from harness.devices.inventory import Device
from tests.devices.sshd import inventory
from tests.phone.adb_server import AdbServer
from tests.phone.phone import Phone

PHONES = 4
MODELS = 15
KILLS = 5
"""So often a campaign is killed; the next kills are another campaign's."""
ALIVE_S = (1.0, 60.0)
"""A call may be killed before it measures, or when much is measured."""
LONGEST_S = 600.0
ORPHANS_S = 40.0
MAX_TIME_S = 10.0
GOALS = ("lost", "twice", "hung", "orphans", "changed")


def main() -> None:
    """Take the campaigns that are missing, until there were enough kills, then report."""
    options = figures.arguments(__doc__, count=20)
    phones.check_root()
    state = figures.State("campaign", options)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with figures.turn():
            content = phones.made_by_setup(folder)
        models = rigs.block_files(folder, MODELS)
        while (killed := int(sum(state.column("campaign", "kills")))) < options.count:
            number = len(state.rows("campaign"))
            own = folder / f"campaign{number}"
            with figures.turn(), four(own, content) as (server, there):
                state.add("campaign", **campaign(own, server, there, models, min(KILLS, options.count - killed), random.Random(number)))
    report(options, state)


@contextmanager
def four(folder: Path, content: Path) -> Iterator[tuple[AdbServer, list[Phone]]]:
    """Give phones that were set up, which `devices.toml` in the folder lists, and their server."""
    server = AdbServer(folder / "server")
    there = []
    try:
        there += [phones.started(folder / f"phone{number}", server, content) for number in range(PHONES)]
        cores = os.cpu_count() or 1
        devices = [
            Device(f"phone{number}", transport="adb", serial=phone.serial, core=number % cores, tags=("farm",))
            for number, phone in enumerate(there)
        ]
        (folder / "devices.toml").write_text(inventory(*devices))
        yield server, there
    finally:
        for phone in there:
            phones.stop(phone)
        server.stop()


def campaign(
    folder: Path, server: AdbServer, there: Sequence[Phone], models: Sequence[Path], kills: int, dice: random.Random
) -> dict[str, object]:
    """Return what became of one campaign that was killed so often, or less often where it came to its end before."""
    results = folder / "results"
    command = [figures.HARNESS, "bench", *map(str, models), "--device", "tag:farm", "--json", "--interval", "90%"]
    command += ["--max-time", str(MAX_TIME_S), "--inventory", str(folder / "devices.toml"), "--results", str(results)]
    before = [phones.settings(phone.root) for phone in there]
    began = time.monotonic()
    killed = lost = 0
    while True:
        with (folder / "told.json").open("wb") as told, (folder / "log").open("ab") as log:
            environment = {**os.environ, **phones.environment(server)}
            process = subprocess.Popen(command, stdout=told, stderr=log, env=environment, start_new_session=True)
        try:
            status = process.wait(dice.uniform(*ALIVE_S) if killed < kills else LONGEST_S)
        except subprocess.TimeoutExpired:
            had = stored.repetitions(results)
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
            lost += len(set(had) - set(stored.repetitions(results)))
            killed += 1
            if killed <= kills:
                continue
        break
    figures.say(f"the campaign ended with {status}")
    hung = killed > kills
    finished = Counter((row.provenance.model, row.provenance.device) for row in stored.rows(results) if row.outcome == "measured")
    kept = stored.repetitions(results)
    told_of = {(row["model"], row["device"]) for row in json.loads((folder / "told.json").read_text() or "[]") if "error" not in row}
    deadline = time.monotonic() + ORPHANS_S
    while time.monotonic() < deadline and (any(phone.processes() for phone in there) or changed(there, before)):
        time.sleep(0.2)
    return {
        "kills": killed - hung,
        "took_s": time.monotonic() - began,
        "benchmarks": len(finished),
        "repetitions": len(kept),
        "lost": lost + len(models) * len(there) - len(told_of & finished.keys()),
        "twice": sum(count - 1 for count in finished.values()) + len(kept) - len({taken_at for _, taken_at in kept}),
        "hung": hung,
        "orphans": sum(len(phone.processes()) for phone in there),
        "changed": changed(there, before),
    }


def changed(there: Sequence[Phone], before: Sequence[frozenset[tuple[str, str]]]) -> int:
    """Return how many settings of the phones are not what they were before."""
    return sum(len(dict(was ^ phones.settings(phone.root))) for phone, was in zip(there, before, strict=True))


def report(options: figures.Options, state: figures.State) -> None:
    """Print a line per campaign, and the closing line."""
    campaigns = state.rows("campaign")
    shown = ("kills", "benchmarks", "repetitions", *GOALS)
    rows = [(number, *(int(one[what]) for what in shown), f"{one['took_s']:.0f}") for number, one in enumerate(campaigns, 1)]
    figures.table(("campaign", *shown, "took s"), rows)
    totals = {what: sum(int(one[what]) for one in campaigns) for what in ("kills", "benchmarks", *GOALS)}
    figures.finish(
        options,
        figure=f"{totals['kills']} kills: " + ", ".join(f"{totals[what]} {what}" for what in GOALS),
        compared=f"{len(campaigns)} campaigns of {MODELS} models on {PHONES} phones, {totals['benchmarks']} benchmarks in the end",
        goal="0 lost, 0 duplicated, 0 hung, 0 orphans, 0 settings changed",
        met=not any(totals[what] for what in GOALS),
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
