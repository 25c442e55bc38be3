"""The models on a session's device: there when they are needed, and sent ahead while others are measured."""

from __future__ import annotations

import posixpath
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from harness.convert.model import Model
from harness.devices.transport import Transport
from harness.errors import DeviceError, RemoteFailure
from latency_agent.protocol import ModelFile

_TIMEOUT_S = 300.0
_FOLDER = "models"
_KEPT = 16
"""So many models that were used last stay on the device when it needs room: those that take turns, and the references."""


class PushedModels:
    """Knows which models are on the device. `request` asks its agent, which checks their bytes."""

    def __init__(self, device: str, transport: Transport, request: Callable[[str, dict[str, Any], float], dict[str, Any]]) -> None:
        self._device = device
        self._transport = transport
        self._request = request
        self._paths: dict[str, str] = {}  # by SHA-256, those used last at the end
        self._ahead: dict[str, Future[str | None]] = {}
        self._pusher = ThreadPoolExecutor(1, thread_name_prefix=f"{device} push")
        self._closing = threading.Event()

    def place(self, model: Model) -> ModelFile:
        """Return where the model lies on the device, pushed there unless its bytes already were."""
        path = self._paths.pop(model.sha256, None)
        self._paths[model.sha256] = path or self._push(model)
        return ModelFile(model.sha256, self._paths[model.sha256], model.shapes)

    def send_ahead(self, model: Model) -> None:
        """Begin to push a model in another thread, where it is missing and fits; `place` has the last word on it."""
        if model.sha256 in self._paths or model.sha256 in self._ahead:
            return
        answer = self._has(model)
        if not answer["present"] and answer["fits"] and not self._closing.is_set():
            self._ahead[model.sha256] = self._pusher.submit(self._send_beside, model, _part_of(answer["path"]))

    def stop(self) -> None:
        """Drop what has not begun to be pushed; the end of the transport ends the rest."""
        self._closing.set()
        self._pusher.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Wait for the thread, once the transport is closed."""
        self._pusher.shutdown()

    def _send_beside(self, model: Model, part: str) -> str | None:
        """Send a model and return where it is; None where that failed: `place` tries again and tells."""
        if self._closing.is_set():
            return None
        try:
            self._transport.send(model.path, part, time.monotonic() + _TIMEOUT_S)
        except DeviceError:
            return None
        return part

    def _push(self, model: Model) -> str:
        part = self._sent_ahead(model)
        if part is not None:
            adopted = self._adopt(model, part)
            if adopted["present"]:
                return str(adopted["path"])
        answer = self._has(model)
        if not answer["present"]:
            if not answer["fits"]:
                self._make_room(model)
            part = _part_of(answer["path"])
            self._transport.send(model.path, part, time.monotonic() + _TIMEOUT_S)
            if not self._adopt(model, part)["present"]:
                raise RemoteFailure(self._device, f"{model.name} did not arrive as it was sent", "is its disk sound?")
        return str(answer["path"])

    def _sent_ahead(self, model: Model) -> str | None:
        """Return where a model was sent ahead to, waiting for one that is under way; one that has not begun is called back."""
        ahead = self._ahead.pop(model.sha256, None)
        if ahead is None or ahead.cancel():
            return None
        with suppress(CancelledError):
            return ahead.result()
        return None

    def _make_room(self, model: Model) -> None:
        for sha256 in tuple(self._paths)[:-_KEPT]:
            del self._paths[sha256]
        kept = [f"{sha256}.tflite" for sha256 in self._paths]
        self._request("make_room", {"folder": _FOLDER, "bytes": model.size_bytes, "kept": kept}, _TIMEOUT_S)

    def _has(self, model: Model) -> dict[str, Any]:
        return self._request("has", _file(model), _TIMEOUT_S)

    def _adopt(self, model: Model, part: str) -> dict[str, Any]:
        """Have the agent compare what was sent with the model's hash, and put it in its place."""
        return self._request("adopt", _file(model) | {"part": part}, _TIMEOUT_S)


def _file(model: Model) -> dict[str, Any]:
    return {"name": f"{_FOLDER}/{model.sha256}.tflite", "sha256": model.sha256, "bytes": model.size_bytes}


def _part_of(path: str) -> str:
    """Return a name beside `path` that nobody uses; what is left half sent under it goes when its hour is over."""
    folder, name = posixpath.split(path)
    return f"{folder}/.{name}.{secrets.token_hex(8)}"
