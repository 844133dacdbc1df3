"""Frames on a stream socket: a mark, a length, a request's number, and one encoded message (nothing, for the answer
None).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from propolis.messages import Message, MessageError, encode

__all__ = ["MAX_FRAME_BYTES", "Frames", "encoded", "frame"]

_HEADER: Final = struct.Struct(">HIQ")
_MARK: Final = 0xA7C3
"""Begins each frame: if user code has read from the line, or written to it, that is seen, and nobody waits for a frame
that will never be whole.
"""
MAX_FRAME_BYTES: Final = 1 << 30
"""As much as a message may be. What claims to be longer is no frame of ours."""


def frame(body: bytes, number: int = 0) -> bytes:
    """One frame. `number`: of the request in it, or of the one that it answers; 0 for what wants no answer."""
    return _HEADER.pack(_MARK, len(body), number) + body


def encoded(message: Message) -> bytes:
    """The frame of a message that wants no answer."""
    return frame(encode(message))


class Frames:
    """Cuts a stream of bytes into frames."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held that is yet to become a frame."""
        return not self._held

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Every frame that is complete now: its number and its body. Raises MessageError for what is none."""
        held = self._held
        held += data
        while len(held) >= _HEADER.size:
            mark, length, number = _HEADER.unpack_from(held)
            if mark != _MARK:
                raise MessageError(reason="not_a_message", detail="bytes that begin no frame")
            if length > MAX_FRAME_BYTES:
                raise MessageError(reason="too_large", detail=f"a frame of {length} bytes")
            end = _HEADER.size + length
            if len(held) < end:
                return
            body = bytes(held[_HEADER.size : end])
            del held[:end]
            yield number, body
