"""When an event loop of user code counts as blocked, what is done then, and whose code it is. Pure."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from propolis.messages import Event, Payload

__all__ = [
    "GIVEN_UP_MAX",
    "LOOK_SECONDS",
    "Fine",
    "Frame",
    "Place",
    "Replace",
    "Report",
    "Verdict",
    "blocked_event",
    "look",
    "place_of",
]

LOOK_SECONDS: Final = 0.04
"""Between two looks at a loop. Four of them are 160 ms, which leaves 90 to threads that have to wait for their turn."""

NOTICE_SECONDS: Final = 3 * LOOK_SECONDS
"""A loop that one piece of code has held for so long is blocked."""

GIVEN_UP_MAX: Final = 32
"""Threads that have not come back, beyond which no loop is replaced: each holds a stack, and may hold a processor."""

STACK_MAX: Final = 20
"""Frames of a stack that an event carries, the innermost ones."""

_PATHS = sysconfig.get_paths()
_STANDARD: Final = (_PATHS["stdlib"], _PATHS["platstdlib"], "<frozen ")
_LIBRARIES: Final = (_PATHS["purelib"], _PATHS["platlib"])  # often in a folder of the standard library's
_RUN_BY: Final = ("propolis.actors.", "asyncio.")
_OURS: Final = (*_RUN_BY, "propolis.messages.")


@dataclass(frozen=True, slots=True)
class Fine:
    """There is nothing to do: it gets on, or what there is to say has been said."""


@dataclass(frozen=True, slots=True)
class Report:
    """Say who blocks it, and give it no new work."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Give it up, and everything on it."""


Verdict: TypeAlias = Fine | Report | Replace


def look(age: float, *, reported: bool, limit: float | None, given_up: int) -> Verdict:
    """What to do about a loop that one piece of code has held for `age` seconds.

    `reported`: this has been said. `limit`: seconds until the loop is replaced; None is never. `given_up`: threads of
    loops given up before that have not come back yet.
    """
    if age < NOTICE_SECONDS:
        return Fine()
    if limit is not None and age >= limit and given_up < GIVEN_UP_MAX:
        return Replace()
    return Fine() if reported else Report()


class Frame(NamedTuple):
    """One line of a stack."""

    function: str
    file: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


class Place(NamedTuple):
    """Where code is held up: the innermost function of the user's own, and how it got there and further."""

    function: str
    file: str
    line: int
    stack: tuple[str, ...]
    """Outermost first, as in a traceback."""

    def data(self, seconds: float, *, replaced: bool) -> dict[str, Any]:
        """What the event says."""
        fields: dict[str, Any] = {"seconds": round(seconds, 3), "replaced": replaced}
        return fields | {
            "function": self.function,
            "file": self.file,
            "line": self.line,
            "stack": self.stack,
        }


def blocked_event(at: datetime, place: Place, seconds: float, *, replaced: bool) -> Event:
    """The event about a loop that code of no execution blocks."""
    data = Payload.of(place.data(seconds, replaced=replaced))
    return Event(type="executor_blocked", timestamp=at, data_payload=data)


def place_of(frames: Sequence[Frame], main: str) -> Place | None:
    """Name the culprit. `frames` of the loop's thread, innermost first; `main` is the module that runs the loop.

    The function is the innermost one that is neither of the standard library nor of an installed package; where there
    is none, the innermost outside of the standard library; or just the innermost. None when no code of a user's runs.
    """
    own = list(frames)
    for depth, frame in enumerate(own):
        if frame.module == main:
            del own[depth:]
            break
    while own and own[-1].module.startswith(_RUN_BY):
        own.pop()
    if not own:
        return None
    outside = [frame for frame in own if _is_installed(frame) or not frame.file.startswith(_STANDARD)]
    users = [frame for frame in outside if not _is_installed(frame)]
    culprit = (users or outside or own)[0]
    stack = tuple(_text(str(frame)) for frame in reversed(own[:STACK_MAX]))
    return Place(_text(culprit.function), _text(culprit.file), culprit.line, stack)


def _is_installed(frame: Frame) -> bool:
    return frame.file.startswith(_LIBRARIES) or frame.module.startswith(_OURS)


def _text(text: str) -> str:
    """A path may have bytes in it that are no text."""
    return text.encode(errors="backslashreplace").decode()
