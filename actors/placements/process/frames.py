"""Frames on a stream socket: a length, a request's number, and one encoded message (nothing, for the answer None)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from propolis.messages import Message, MessageError, encode

__all__ = ["MAX_FRAME_BYTES", "Frames", "encoded", "frame"]

_HEADER: Final = struct.Struct(">IQ")
MAX_FRAME_BYTES: Final = 1 << 30
"""As much as a message may be. What claims to be longer is no frame of ours."""


def frame(body: bytes, number: int = 0) -> bytes:
    """One frame. `number`: of the request in it, or of the one that it answers; 0 for what wants no answer."""
    return _HEADER.pack(len(body), number) + body


def encoded(message: Message) -> bytes:
    """The frame of a message that wants no answer."""
    return frame(encode(message))


class Frames:
    """Cuts a stream of bytes into frames."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Every frame that is complete now: its number and its body. Raises MessageError for what is none."""
        held = self._held
        held += data
        while len(held) >= _HEADER.size:
            length, number = _HEADER.unpack_from(held)
            if length > MAX_FRAME_BYTES:
                raise MessageError(reason="too_large", detail=f"a frame of {length} bytes")
            end = _HEADER.size + length
            if len(held) < end:
                return
            body = bytes(held[_HEADER.size : end])
            del held[:end]
            yield number, body
