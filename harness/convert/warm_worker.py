"""One conversion process as its owner sees it: started on the first job, replaced when it dies."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import IO, Any

from harness.convert.children import environment, module, pinned
from harness.convert.worker import Job
from harness.errors import ConfigError, ConversionError

TIMEOUT_S = 600.0
"""How long one conversion may take, TensorFlow's start included: the largest named networks take a minute."""

_ERRORS = {"ConfigError": ConfigError, "ConversionError": ConversionError}


class WarmWorker:
    """Runs jobs one after the other. Not multiprocessing: its children run the user's main script again, which may have no guard.

    The process ends with the thread that ran the first job, see `end_with_parent`: all jobs should come from one thread.
    """

    def __init__(self, cores: Sequence[int]) -> None:
        self._cores = tuple(cores)
        self._process: subprocess.Popen[str] | None = None
        self._stderr: IO[bytes] | None = None
        self._closed = False
        self._busy = threading.Lock()

    def run(self, job: Job) -> dict[str, Any]:
        """Return the worker's answer; raises what it raised, and ConversionError, naming the model, where it died or took too long."""
        with self._busy:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(asdict(job)) + "\n")
                process.stdin.flush()
                if not _readable(process.stdout, TIMEOUT_S):
                    self._end()
                    raise ConversionError(
                        f"{job.name}: the conversion took more than {TIMEOUT_S:.0f} s and was ended",
                        "Convert it to a .tflite file yourself and pass that.",
                    )
                line = process.stdout.readline()
            except BrokenPipeError:
                line = ""
            if not line:
                raise self._death(job, process)
        answer = json.loads(line)
        if "error" in answer:
            error = answer["error"]
            raise _ERRORS[error["kind"]](error["message"], error["hint"])
        converted: dict[str, Any] = answer["converted"]
        return converted

    def close(self) -> None:
        """End the process, in the middle of a job if need be, and start no other."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()  # a job that runs hears its end, and lets go of the lock
        with self._busy:
            self._end()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
            self._process = subprocess.Popen(
                pinned(module("harness.convert.worker"), self._cores),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=environment(),
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the harness, which ends its workers
            )
        if self._closed:  # by another thread, that may have seen no process to end
            self._end()
            raise ConversionError("the converter was closed before the model was converted")
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(BrokenPipeError), process:  # leaving it closes its pipes and waits for it
                pass
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def _death(self, job: Job, process: subprocess.Popen[str]) -> ConversionError:
        code = process.wait()
        tail = self._last_line()
        self._end()
        if self._closed:
            return ConversionError(f"{job.name}: the converter was closed before the model was converted")
        if code == -signal.SIGKILL:
            hint = "The machine may have run out of memory: free some, or convert elsewhere."
            return ConversionError(f"{job.name}: the conversion process was killed", hint)
        how = f"died of signal {-code}" if code < 0 else f"ended with {code}"
        message = f"{job.name}: the conversion process {how}" + (f": {tail}" if tail else "")
        return ConversionError(message, "Convert it to a .tflite file yourself and pass that.")

    def _last_line(self) -> str:
        assert self._stderr is not None
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - 4096))
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip()[-300:] if lines else ""


def _readable(stream: IO[str], timeout_s: float) -> bool:
    """Return whether there is something to read, or the end, within the time."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(timeout_s))
