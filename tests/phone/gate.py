"""A gate between an adb server and an adbd: it demands RSA authorisation as a phone does, and breaks the link where a test says so."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1

from tests.phone.adb_server import free_port

_CNXN, _AUTH = 0x4E584E43, 0x48545541
_TOKEN, _SIGNATURE, _RSAPUBLICKEY = 1, 2, 3
_HEADER = struct.Struct("<6I")
_TOKEN_BYTES, _CHUNK_BYTES = 20, 1 << 18


class Gate:
    """A gate on 127.0.0.1 before the adbd at `target`; adb knows the phone behind it by `serial`.

    Who holds one of the keys in `known` gets through. Anyone else is unauthorized until `accept`.
    """

    def __init__(self, target: tuple[str, int], known: Collection[RSAPublicKey] = ()) -> None:
        self._target, self._known = target, list(known)
        self._asking: RSAPublicKey | None = None
        self._asked, self._flowing = threading.Condition(), threading.Event()
        self._flowing.set()
        self._left: int | None = None
        self._closed = False
        self._links: set[socket.socket] = set()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = free_port()
        self._listener.bind(("127.0.0.1", port))
        self.serial = f"127.0.0.1:{port}"
        self._refusing = True
        self.refuse(refuse=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def accept(self) -> None:
        """Tap Allow: let in whoever asks, and know their key from now on."""
        with self._asked:
            assert self._asking is not None, "nobody asks for permission"
            self._known.append(self._asking)
            self._asked.notify_all()

    def cut(self) -> None:
        """End the connections there are."""
        for link in list(self._links):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Let no more bytes through; the connections stay."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let the bytes through again, those held back first."""
        self._flowing.set()

    def drop_after(self, byte_count: int) -> None:
        """End the connections once so many more bytes went to the phone."""
        self._left = byte_count

    def refuse(self, *, refuse: bool) -> None:
        """Refuse new connections, as where the phone is gone, or take them again. Those that exist stay."""
        if refuse and not self._refusing:
            self._listener.shutdown(socket.SHUT_RDWR)  # A port that was bound by its number stays bound.
        elif self._refusing and not refuse:
            self._listener.listen()
            threading.Thread(target=self._serve, daemon=True).start()
        self._refusing = refuse

    def close(self) -> None:
        """End it and every connection."""
        self.refuse(refuse=True)
        self._listener.close()
        self.cut()
        self._flowing.set()
        with self._asked:
            self._closed = True
            self._asked.notify_all()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                host, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(host,), daemon=True).start()

    def _pass(self, host: socket.socket) -> None:
        """Let one connection through, from its first byte to its last."""
        with host, contextlib.suppress(OSError, EOFError), socket.create_connection(self._target) as phone:
            ends = {host, phone}
            for end in ends:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._links |= ends
            try:
                greeting = _Message.read(host)
                self._authorise(host)
                self._flowing.wait()
                phone.sendall(greeting.packed)
                back = threading.Thread(target=self._pump, args=(phone, host), daemon=True)
                back.start()
                self._pump(host, phone, counted=True)
                back.join()
            finally:
                self._links -= ends

    def _authorise(self, host: socket.socket) -> None:
        """Come back when the host proved to hold a known key, or the user let it in."""
        while True:
            token = os.urandom(_TOKEN_BYTES)
            host.sendall(_Message(_AUTH, _TOKEN, 0, token).packed)
            answer = _Message.read(host)
            if answer.command == _AUTH and answer.arg0 == _SIGNATURE and any(_signed(token, answer.payload, key) for key in self._known):
                return
            if answer.command == _AUTH and answer.arg0 == _RSAPUBLICKEY:
                break
        with self._asked:
            self._asking = key = _public_key(answer.payload)
            self._asked.wait_for(lambda: self._closed or key in self._known)

    def _pump(self, source: socket.socket, to: socket.socket, *, counted: bool = False) -> None:
        """Hand on what comes from one end, until either end is gone; then both are."""
        try:
            while data := source.recv(_CHUNK_BYTES):
                self._flowing.wait()
                if counted and self._left is not None:
                    data, self._left = data[: self._left], max(0, self._left - len(data))
                to.sendall(data)
                if counted and self._left == 0:
                    self._left = None
                    break
        except OSError:
            pass
        finally:
            for end in (source, to):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class _Message:
    command: int
    arg0: int
    arg1: int
    payload: bytes

    @classmethod
    def read(cls, end: socket.socket) -> Self:
        command, arg0, arg1, byte_count, _, _ = _HEADER.unpack(_exactly(end, _HEADER.size))
        return cls(command, arg0, arg1, _exactly(end, byte_count))

    @property
    def packed(self) -> bytes:
        header = (self.command, self.arg0, self.arg1, len(self.payload), sum(self.payload), self.command ^ 0xFFFF_FFFF)
        return _HEADER.pack(*header) + self.payload


def _exactly(end: socket.socket, byte_count: int) -> bytes:
    data = b""
    while len(data) < byte_count:
        more = end.recv(byte_count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _signed(token: bytes, signature: bytes, key: RSAPublicKey) -> bool:
    """Return whether the key signed the token, which stands for a SHA-1 digest."""
    try:
        key.verify(signature, token, PKCS1v15(), Prehashed(SHA1()))
    except InvalidSignature:
        return False
    return True


def _public_key(payload: bytes) -> RSAPublicKey:
    """Return the key of an RSAPUBLICKEY message: base64 of Android's struct, a space, the name of its holder."""
    data = base64.b64decode(payload.split(b" ")[0].rstrip(b"\0"))
    words = struct.unpack_from("<I", data)[0]
    modulus = int.from_bytes(data[8 : 8 + 4 * words], "little")
    exponent = struct.unpack_from("<I", data, 8 + 8 * words)[0]
    return RSAPublicNumbers(exponent, modulus).public_key()
