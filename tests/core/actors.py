"""Actors that do what a test hands them, and the messages for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pykka

from propolis.actors import ActorLoop, AsyncioActor, Handlers, Intensity, Supervisor
from propolis.messages import Failure, Message, Request

__all__ = ["Boss", "Do", "Echo", "Letters", "Note", "Numbers", "Scripted", "Unknown", "Urgent", "until"]


class Note(Message, tag="test.core.note.v1"):
    """Something told."""

    n: int
    sender: int = 0


class Urgent(Message, tag="test.core.urgent.v1"):
    """Something told in the control lane."""

    control: ClassVar[bool] = True
    n: int


class Unknown(Request[int], tag="test.core.unknown.v1"):
    """Something that no actor here has a handler for."""


class Numbers(Message, tag="test.core.numbers.v1"):
    """An answer that is a message."""

    values: tuple[int, ...]


class Do(Request[Any], tag="test.core.do.v1"):
    """Have an actor do one of the things that it was made with."""

    what: str = "do"
    n: int = 0


Action = Callable[[Any, Do], Any]


def _stay(actor: Any) -> None:
    """The default of the hooks."""


class Scripted(AsyncioActor):
    """Notes what it is told (`seen` outlives a crash), does what `Do` names, calls hooks of the test's."""

    def __init__(
        self,
        *,
        on_start: Callable[[Any], None] = _stay,
        on_stop: Callable[[Any], None] = _stay,
        **actions: Action,
    ) -> None:
        super().__init__()
        self.actions = actions
        self.hooks = on_start, on_stop
        self.seen: list[int] = self.kept("seen", list)
        self.ends: list[tuple[str, Failure | None]] = self.kept("ends", list)
        self.failed_with: list[BaseException] = self.kept("failed_with", list)

    def on_start(self) -> None:
        self.hooks[0](self)

    def on_stop(self) -> None:
        self.hooks[1](self)

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self.failed_with.append(exception_value)

    def on_child_ended(self, child: Any, failure: Failure | None) -> None:
        super().on_child_ended(child, failure)
        self.ends.append((child.actor_inbox.name, failure))

    def note(self, message: Note | Urgent) -> None:
        """Note it."""
        self.seen.append(message.n)

    def do(self, message: Do) -> Any:
        """Do it."""
        return self.actions[message.what](self, message)

    handlers: ClassVar[Handlers] = {Note: note, Urgent: note, Do: do}


class Boss(Scripted, Supervisor):
    """A Scripted that supervises, within an intensity."""

    def __init__(self, intensity: Intensity = Intensity(), **actions: Any) -> None:  # noqa: B008 - it is frozen
        super().__init__(**actions)
        self.intensity = intensity

    handlers: ClassVar[Handlers] = Scripted.handlers


class Echo(pykka.ThreadingActor):
    """A plain actor of pykka's: answers with what it is sent, or as it is made to."""

    def __init__(self, answer: Callable[[Any], Any] = lambda message: message) -> None:
        super().__init__()
        self._answer = answer

    def on_receive(self, message: Any) -> Any:
        return self._answer(message)


class Letters:
    """The dead letters of a loop: (actor's path, what, reason)."""

    def __init__(self, loop: ActorLoop) -> None:
        self.seen: list[tuple[str, Any, str]] = []
        loop.on_dead_letter = lambda path, message, reason, _: self.seen.append((path, message, reason))


def until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Wait for what other threads bring about."""
    pause = threading.Event()
    for _ in range(int(timeout / 0.002)):
        if condition():
            return
        pause.wait(0.002)
    raise TimeoutError(f"not so within {timeout:g} s")
