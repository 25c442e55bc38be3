"""The supervisor: answers requests, keeps the lease, starts one worker process per repetition."""

from __future__ import annotations

import json
import os
import platform
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from queue import Queue
from typing import Any, Callable, Dict, List, Optional, Tuple

from latency_agent import android, cache, conditions, cores, runtime, settings
from latency_agent.android_settings import PhoneError
from latency_agent.cpufreq import GovernorError
from latency_agent.lease import Busy, Lease
from latency_agent.protocol import HEARTBEAT_INTERVAL_S, HEARTBEAT_TIMEOUT_S, VERSION, Hello, encode
from latency_agent.timing import clock_step_ns
from latency_agent.worker import file_sha256

_STDERR_TAIL_BYTES = 4000
_QUICK = ("hello", "facts", "conditions")


class Refused(Exception):
    """A request that cannot be carried out: the kind and message of the answer, and what the worker printed last."""

    def __init__(self, kind: str, message: str, stderr_tail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.stderr_tail = stderr_tail


class Server:
    """One session's agent. It reads requests from `in_fd`, answers on `out_fd`, and ends on EOF or a missed heartbeat."""

    def __init__(self, runtime_name: str, root: Path, archive: str, in_fd: int, out_fd: int) -> None:
        self._runtime = runtime_name
        self._root = root
        self._archive = archive
        self._in_fd = in_fd
        self._out_fd = out_fd
        # Read once: placing a benchmark takes this process itself off the chosen cores.
        self._allowed = os.sched_getaffinity(0)
        self._clock_step_ns = clock_step_ns()
        self._requests: Queue[Dict[str, Any]] = Queue()
        self._lease: Optional[Lease] = None
        self._lease_lost = False
        self._lock = threading.Lock()
        self._guard: Optional[subprocess.Popen[bytes]] = None
        self._become: List[str] = []
        self._journal: Optional[Path] = None
        self._held: Tuple[str, ...] = ()
        self._worker: Optional[subprocess.Popen[bytes]] = None
        self._operations: Dict[str, Callable[[Dict[str, Any]], Any]] = {
            "hello": self._hello,
            "facts": lambda _: encode(conditions.facts(self._allowed)),
            "conditions": lambda args: self._said(encode(conditions.conditions(int(args["core"]), self._root))),
            "has": self._has,
            "adopt": self._adopt,
            "make_room": self._make_room,
            "place": self._place,
            "hold": self._hold,
            "acquire": self._acquire,
            "solo": lambda args: self._repetition("solo", args),
            "timed": lambda args: self._repetition("timed", args),
        }

    def serve(self) -> None:
        """Answer requests until stdin ends or falls silent; does not return."""
        threading.Thread(target=self._until_end, args=(self._listen,), daemon=True).start()
        self._until_end(self._work)

    def _until_end(self, part: Callable[[], None]) -> None:
        """Run one of the two threads; whichever ends first ends the agent, with exit status 1 and a traceback where it failed."""
        try:
            part()
        finally:
            failed = sys.exc_info()[0] is not None
            if failed:
                traceback.print_exc()
            self._end(status=int(failed))

    def _work(self) -> None:
        """Answer what may take long, one request after the other."""
        while True:
            self._answer(self._requests.get())
            self._requests.task_done()

    def _answer(self, request: Dict[str, Any]) -> None:
        answer: Dict[str, Any] = {"id": request["id"]}
        try:
            operation = self._operations.get(request["op"])
            if operation is None:
                raise Refused("UnknownOperation", f"the agent knows no operation {request['op']!r}")
            answer["result"] = operation(request.get("args", {}))
        except Refused as refused:
            answer["error"] = {"kind": refused.kind, "message": refused.message, "stderr_tail": refused.stderr_tail}
        except (Busy, cores.CoreError, GovernorError, PhoneError, ImportError, OSError) as error:
            answer["error"] = {"kind": type(error).__name__, "message": str(error), "stderr_tail": ""}
        data = json.dumps(answer, separators=(",", ":")).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._out_fd, data) :]
        except BrokenPipeError:
            self._end(status=0)

    def _listen(self) -> None:
        """Split stdin into requests, note signs of life, renew the lease; return on EOF or silence.

        Quick requests are answered here, unless a slow one is before them: handing one to the other thread takes longer than its answer.
        """
        pending = b""
        heard = refreshed = time.monotonic()
        while True:
            ready, _, _ = select.select([self._in_fd], [], [], 0.5)
            now = time.monotonic()
            if ready:
                data = os.read(self._in_fd, 1 << 16)
                if not data:
                    return
                heard = now
                *lines, pending = (pending + data).split(b"\n")
                for request in map(json.loads, lines):
                    if request["op"] in _QUICK and not self._requests.unfinished_tasks:
                        self._answer(request)
                    elif request["op"] != "ping":
                        self._requests.put(request)
            elif now - heard > HEARTBEAT_TIMEOUT_S:
                return
            if self._lease is not None and now - refreshed > HEARTBEAT_INTERVAL_S:
                self._lease_lost = not self._lease.refresh()
                if self._lease_lost and self._worker is not None:
                    _kill_group(self._worker)
                refreshed = now

    def _end(self, status: int) -> None:
        """End the agent and its worker, and give the lease back."""
        with self._lock:
            try:
                if self._worker is not None:
                    _kill_group(self._worker)
                if self._journal is not None:
                    self._restore(self._journal)
                if self._lease is not None:
                    self._lease.release()
            finally:
                os._exit(status)

    def _restore(self, journal: Path) -> None:
        try:
            settings.restore(journal, self._become)
        except (GovernorError, PhoneError) as error:
            sys.stderr.write(f"{error}\n")  # the journal stays for the next session

    def _hello(self, _: Dict[str, Any]) -> Any:
        return encode(
            Hello(
                protocol=VERSION,
                python=platform.python_version(),
                machine=platform.machine(),
                runtime=self._runtime,
                runtime_version=runtime.version(self._runtime),
                clock_step_ns=self._clock_step_ns,
                pid=os.getpid(),
            )
        )

    def _has(self, args: Dict[str, Any]) -> Any:
        path = self._root / args["name"]
        present = path.is_file() and file_sha256(path) == args["sha256"]
        if present:
            cache.touch(path)
        return {"path": str(path), "present": present, "fits": present or cache.fits(path.parent, int(args["bytes"]))}

    def _adopt(self, args: Dict[str, Any]) -> Any:
        part, path = Path(args["part"]), self._root / args["name"]
        # One that was sent ahead an hour ago may have been cleared away.
        present = part.is_file() and file_sha256(part) == args["sha256"]
        if present:
            part.replace(path)
        elif part.is_file():
            part.unlink()
        return {"path": str(path), "present": present}

    def _make_room(self, args: Dict[str, Any]) -> Any:
        self._check_lease()  # another session may be measuring what would go
        folder, size_bytes = self._root / args["folder"], int(args["bytes"])
        freed_bytes = cache.make_room(folder, size_bytes, args["kept"])
        if not cache.fits(folder, size_bytes):
            raise Refused("DiskFull", f"{size_bytes >> 20} MiB do not fit on its disk: {cache.available_bytes(folder) >> 20} MiB are free")
        return {"freed_bytes": freed_bytes}

    def _place(self, args: Dict[str, Any]) -> Any:
        placement = cores.place(cores.read_cores(self._allowed), int(args["threads"]), args["core"])
        others = self._allowed - set(placement.cores)
        for thread in Path("/proc/self/task").iterdir() if others else ():
            os.sched_setaffinity(int(thread.name), others)
        return encode(placement)

    def _hold(self, args: Dict[str, Any]) -> Any:
        self._check_lease()
        with self._lock:  # an end in between would put back what is set a moment later
            assert self._lease is not None
            self._become = args["become"]
            self._journal = settings.journal_of(self._root, self._lease.holder)
            if self._guard is None:
                self._guard = settings.start_guard(self._archive, self._journal, self._become)
            settings.restore_left(self._root, self._journal, self._become)
            settings.restore(self._journal, self._become)
            held = settings.hold(
                self._journal,
                cores=args["cores"],
                frequency_khz=args["frequency_khz"],
                become=self._become,
                phone=android.is_phone(),
            )
        self._held = held.held
        return encode(held)

    def _said(self, now: Dict[str, Any]) -> Dict[str, Any]:
        """Return conditions with what was set, which a worker does not know."""
        return {**now, "settings": self._held}

    def _acquire(self, args: Dict[str, Any]) -> Any:
        lease = Lease(Path(args["path"]), args["owner"], args["token"])
        lease.acquire(args.get("replaces"))
        self._lease, self._lease_lost = lease, False
        cache.touch(Path(self._archive))
        cache.keep_latest_agents(self._root)
        return {"holder": lease.holder}

    def _check_lease(self) -> None:
        if self._lease is None or self._lease_lost:
            raise Refused(
                "NoLease", "the session holds no lease on this device" if self._lease is None else "the lease was lost to another session"
            )

    def _repetition(self, operation: str, args: Dict[str, Any]) -> Any:
        self._check_lease()
        command: List[str] = [sys.executable, "-I", self._archive, "worker", "--runtime", self._runtime]
        task = json.dumps({"op": operation, "args": args}).encode()
        with self._lock:
            worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
            self._worker = worker
        try:
            out, err = worker.communicate(task, timeout=args["timeout_s"])
        except subprocess.TimeoutExpired:
            _kill_group(worker)
            _, err = worker.communicate()
            raise Refused("WorkerHung", f"the worker did not end within {args['timeout_s']:.0f} s and was killed", _tail(err)) from None
        finally:
            with self._lock:
                self._worker = None
        if self._lease_lost:
            raise Refused("NoLease", "the lease was lost to another session while the worker ran")
        if worker.returncode != 0:
            raise Refused("WorkerDied", f"the worker ended with {_describe_exit(worker.returncode)}", _tail(err))
        answer = json.loads(out)
        if "error" in answer:
            raise Refused(answer["error"]["kind"], answer["error"]["message"], _tail(err))
        result = answer["result"]
        return {name: self._said(value) if name in ("before", "after") else value for name, value in result.items()}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _tail(data: bytes) -> str:
    return data[-_STDERR_TAIL_BYTES:].decode(errors="replace").strip()


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
