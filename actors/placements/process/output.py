"""What a worker prints, cut into lines, and no more of it than an execution may have."""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["MAX_LINES", "Budget", "Lines"]

MAX_LINES: Final = 1_000
"""Lines of one attempt that are published; the rest is read and dropped."""

MAX_CHARS: Final = 1_000_000
"""The same in characters."""

_LONGEST: Final = 8_000


class Budget:
    """How much of one attempt's output is still published."""

    __slots__ = ("_chars", "_lines", "_said")

    def __init__(self) -> None:
        self._lines, self._chars, self._said = MAX_LINES, MAX_CHARS, False

    def take(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        """As many of them as there is room for; once, behind the last one, that there is no more."""
        taken = []
        for line in lines:
            if self._lines <= 0 or self._chars <= 0:
                if not self._said:
                    self._said = True
                    taken.append("... and more, which is not shown")
                break
            self._lines -= 1
            self._chars -= len(line)
            taken.append(line)
        return tuple(taken)


class Lines:
    """Bytes of one stream to lines."""

    __slots__ = ("_held", "stream")

    def __init__(self, stream: Literal["stdout", "stderr"]) -> None:
        self.stream: Literal["stdout", "stderr"] = stream
        self._held = b""

    def feed(self, data: bytes) -> tuple[str, ...]:
        """The lines that are complete now; one that is too long is cut."""
        *whole, rest = (self._held + data).split(b"\n")
        if len(rest) > _LONGEST:
            whole.append(rest)
            rest = b""
        self._held = rest
        return tuple(_text(line) for line in whole)

    def rest(self) -> tuple[str, ...]:
        """What stands behind the last end of a line."""
        held, self._held = self._held, b""
        return (_text(held),) if held else ()


def _text(line: bytes) -> str:
    return line[:_LONGEST].rstrip(b"\r").decode(errors="replace")
