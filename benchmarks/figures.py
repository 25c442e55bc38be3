"""What the commands share: their options, what they keep between runs, and the line that each ends with."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "results" / "benchmarks"
FIGURES = ROOT / "benchmarks" / "FIGURES.md"
TRAINED = ROOT / "benchmarks" / "trained"
HARNESS = str(Path(sys.executable).parent / "harness")
WARM_UP_SESSIONS = 5
Options = argparse.Namespace
MOST_PAUSED = timedelta(minutes=15)
_MOST_BUSY = 0.05
_OBSERVED_S = 3.0
_YIELDED_S = 0.2  # flock serves nobody in order: whoever waits must come before who asks again
_HELP = {
    "aa_pairs": "pairs of the A/A test that the rig is set up with",
    "against": "the model to compare with",
    "count": "how often each thing is done",
    "epochs": "epochs that each network is trained",
    "folder": "where the published files are",
    "images": "how many images there are to train with",
    "minutes": "over how many minutes",
    "model": "the model that is measured",
    "models": "how many models are measured",
    "space": "the search space whose candidates are taken",
    "networks": "how many networks predictions are held against",
    "precision": "float32 or int8",
    "seeds": "with how many seeds",
    "trials": "how many candidates a search tries",
    "processes": "processes that a comparison counts",
    "ways": "1: other ways of what is compared, too",
    "truths": "processes that the truth is the median of",
}


def arguments(description: str | None, **defaults: float | str) -> Options:
    """Return the options: those with `defaults`, and the ones of every command. Exits where others keep the machine busy."""
    parser = argparse.ArgumentParser(description=description)
    for name, default in defaults.items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(default), default=default, help=f"{_HELP[name]} (default {default})")
    parser.add_argument("--record", action="store_true", help="append the figure to FIGURES.md")
    parser.add_argument("--restart", action="store_true", help="forget what earlier runs measured")
    parser.add_argument("--anyway", action="store_true", help="run on a busy machine too")
    options = parser.parse_args()
    if not options.anyway:
        with turn():
            busy = busy_share(_OBSERVED_S)
        if busy > _MOST_BUSY:
            sys.exit(f"others keep this machine {busy:.0%} busy: wait for them to finish, or say --anyway")
    return options


class _Turn:
    depth = 0


@contextmanager
def turn() -> Iterator[None]:
    """Hold the machine: of commands that run side by side one measures at a time, in the pauses of the others. Turns may nest."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "turn.lock").open("w") as file:
        if _Turn.depth == 0:
            fcntl.flock(file, fcntl.LOCK_EX)
        _Turn.depth += 1
        try:
            yield
        finally:
            _Turn.depth -= 1
    if _Turn.depth == 0:
        time.sleep(_YIELDED_S)


def taken(call: Callable[[], object]) -> float:
    """Return how long a call takes, in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def soon() -> float:
    """Return a deadline that is far enough."""
    return time.monotonic() + 60


def busy_share(seconds: float) -> float:
    """Return the share of the machine's time that others take, looking on for `seconds`."""
    before = _cpu_ticks()
    time.sleep(seconds)
    spent = [after - early for early, after in zip(before, _cpu_ticks(), strict=True)]
    return 1 - (spent[3] + spent[4]) / sum(spent)


def _cpu_ticks() -> list[int]:
    """Return the kernel's counts: user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


class State:
    """What a command has measured so far, a JSON line each, and the results folder of its own.

    A command that is started again goes on after the last whole line. `settings` must be those that the lines were taken with.
    """

    def __init__(self, name: str, options: Options, **settings: str) -> None:
        self.folder = FOLDER / name
        self._path = self._rows_in() / f"{name}.jsonl"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if options.restart:
            self._path.unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._rows = self._load()
        known = self.rows("settings")
        if known and known[0]["settings"] != settings:
            sys.exit(f"{self._path} was measured with {known[0]['settings']}, not {settings}: say --restart to forget it")
        if not known:
            self.add("settings", settings=settings)

    def _rows_in(self) -> Path:
        return FOLDER

    def refuse_after_a_pause(self) -> None:
        """Exit where the last row is too old for more of the same stretch of time."""
        last = self._rows[-1]["at"]
        if datetime.now(UTC) - datetime.fromisoformat(last) > MOST_PAUSED:
            sys.exit(f"{self._path} ends at {last}, and what it holds is to be of one stretch of time: say --restart to begin anew")

    def span(self, *kinds: str) -> str:
        """Return over how many minutes the rows of these kinds were added."""
        times = [datetime.fromisoformat(row["at"]) for row in self._rows if row["kind"] in kinds]
        return f"{(times[-1] - times[0]).total_seconds() / 60:.0f} min"

    def _load(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        text = self._path.read_text()
        whole = text[: text.rfind("\n") + 1]  # a killed run may have left half a line
        if whole != text:
            os.truncate(self._path, len(whole.encode()))
        return [json.loads(line) for line in whole.splitlines()]

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Return what was added of a kind, oldest first."""
        return [row for row in self._rows if row["kind"] == kind]

    def column(self, kind: str, field: str) -> list[float]:
        """Return one field of what was added of a kind."""
        return [row[field] for row in self.rows(kind)]

    def add(self, kind: str, **fields: object) -> None:
        """Keep a row; when this returns, it is on the disk."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        row = {"kind": kind, "at": at, "commit": commit(), "machine": machine(), **fields}
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._rows.append(row)
        say(f"{kind} {len(self.rows(kind))}: " + ", ".join(f"{name} {_short(value)}" for name, value in fields.items()))

    def harness(
        self,
        command: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        accepted: Sequence[int] = (0,),
    ) -> Any:
        """Return what `harness COMMAND ... --json` prints; exits where its exit code is not one of `accepted`.

        It measures into `folder`, else into this state's.
        """
        argv = [HARNESS, command, *arguments, "--json", "--results", str(folder or self.folder)]
        with turn():
            return json.loads(output(argv, environment, accepted))

    def bench(self, model: str, folder: Path | None = None) -> dict[str, Any]:
        """Return the result of one fresh benchmark at default settings."""
        result: dict[str, Any] = self.harness("bench", model, "--fresh", folder=folder)[0]
        return result

    @contextmanager
    def store_as_set_up(self) -> Iterator[Path]:
        """Give a copy of the results folder as the set-up left it; what is measured into it is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix=f"{self.folder.name}-", dir=FOLDER) as made:
            yield Path(shutil.copytree(self.folder, made, dirs_exist_ok=True))

    def set_up(self, model: str, aa_pairs: int = 0) -> None:
        """Give the store what a rig in use has: a baseline of its references and, where asked, the spread between visits."""
        while len(self.rows("warm-up")) < WARM_UP_SESSIONS:
            self.add("warm-up", latency_ms=self.bench(model)["latency_ms"])
        if aa_pairs and not self.rows("aa"):
            found = self.harness("aa", model, "--pairs", str(aa_pairs))
            self.add("aa", spread=found["between_visit_spread"], false_positives=found["false_positives"], pairs=found["pairs"])

    def commits(self) -> str:
        """Return the commit that was measured, or all of them where it changed under way."""
        return " ".join(dict.fromkeys(row["commit"] for row in self._rows))

    def machines(self) -> str:
        """Return the machine that measured, or all of them."""
        return "; ".join(dict.fromkeys(row["machine"] for row in self._rows))


class TrainedState(State):
    """One whose rows hold wherever they are read, such as accuracies: to be committed, so that a study goes on wherever they are cloned."""

    def _rows_in(self) -> Path:
        return TRAINED


def paced(minutes: float, units: int, done: int) -> Iterator[int]:
    """Yield the numbers of the units that are not done, each no earlier than its share of the minutes; one has the machine meanwhile.

    Units that are late follow each other in one turn.
    """
    share_s = 60 * minutes / units
    start = time.monotonic() - done * share_s
    while done < units:
        time.sleep(max(0.0, start + done * share_s - time.monotonic()))
        with turn():
            while done < units and time.monotonic() >= start + done * share_s:
                yield done
                done += 1


def output(argv: Sequence[str], environment: Mapping[str, str] | None = None, accepted: Sequence[int] = (0,)) -> str:
    """Return what a command prints; exits with its last words where its exit code is not one of `accepted`."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})})
    if done.returncode not in accepted:
        sys.exit(f"{' '.join(argv)} ended with {done.returncode}; the same command goes on from here\n{done.stderr[-2000:]}")
    return done.stdout


def say(text: str) -> None:
    """Tell what is going on, on stderr."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def cv(values: Sequence[float]) -> float:
    """Return the standard deviation over the mean."""
    return statistics.stdev(values) / statistics.mean(values)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in columns: the first left-aligned, the others right-aligned."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        first, *rest = (
            cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join((first, *rest)))


def finish(
    options: Options, *, figure: str, compared: str, goal: str, met: bool, commits: str | None = None, machines: str | None = None
) -> None:
    """Print the closing line of a command and, with --record, append it to FIGURES.md."""
    given = [argument for argument in sys.argv[1:] if argument not in ("--record", "--restart")]
    command = " ".join((Path(sys.argv[0]).stem, *given))
    fields = (
        f"{datetime.now(UTC):%Y-%m-%d}",
        machines or machine(),
        commits or commit(),
        command,
        figure,
        compared,
        goal,
        "met" if met else "missed",
    )
    line = f"| {' | '.join(field.replace('|', '/') for field in fields)} |"
    print(line)
    if options.record:
        with FIGURES.open("a") as file:
            file.write(line + "\n")


def machine() -> str:
    """Return the CPU's name and how many cores there are."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else 'unknown CPU'}, {os.cpu_count()} cores"


def commit() -> str:
    """Return the commit, with a + where the code that measures differs from it."""
    head = output(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]).strip()
    changed = output(["git", "-C", str(ROOT), "status", "--porcelain", "--", "harness", "agent", "models"])
    return head + ("+" if changed else "")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
