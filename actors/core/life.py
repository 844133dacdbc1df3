"""Life and death of an actor: its place in the family, its beginning, crashes, restarts and its end."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pykka
from pykka.messages import _ActorStop

from propolis.messages import ActorRestarted, Failure

from .answers import answer, answer_error
from .future import Reply
from .mailbox import Asked, Continuation, Envelope, Mailbox, Notice
from .ref import Ref

if TYPE_CHECKING:
    from .actor import AsyncioActor
    from .cell import Cell
    from .loop import ActorLoop

__all__ = ["Life", "StopFlag"]

logger = logging.getLogger("propolis.actors")

_making_events: Final = threading.Lock()
_making_names: Final = threading.Lock()
_NO_KWARGS: Final[dict[str, Any]] = {}

_DONE: Final[Reply[None]] = Reply()
"""What a call that waits for nothing follows."""
_DONE.set(None)


class StopFlag:
    """`threading.Event` as far as pykka uses it, for a tenth of the memory. `on` is the same without a call."""

    __slots__ = ("_event", "on")

    def __init__(self) -> None:
        self.on = False
        self._event: threading.Event | None = None

    def is_set(self) -> bool:
        return self.on

    def set(self) -> None:
        self.on = True
        if self._event is not None:
            self._event.set()

    def wait(self, timeout: float | None = None) -> bool:
        with _making_events:
            if self._event is None:
                self._event = threading.Event()
        if self.on:
            self._event.set()
        return self._event.wait(timeout)


class Life(Mailbox):
    """What stays of an actor while instances come and go. Everything but `watch` runs on the actor loop."""

    __slots__ = (
        "__weakref__",
        "actor",
        "actor_class",
        "args",
        "busy",
        "children",
        "current",
        "failure",
        "kept",
        "kwargs",
        "loop",
        "name",
        "parent",
        "registered",
        "restarts",
        "scheduled",
        "stopped",
        "suspended",
        "task",
        "urn_",
        "watchers",
    )

    def __init__(
        self,
        loop: ActorLoop,
        actor_class: type[AsyncioActor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        parent: Cell | None,
        name: str,
        limit: int | None,
    ) -> None:
        super().__init__(limit)
        self.loop = loop
        self.actor_class = actor_class
        self.args = args
        self.kwargs = kwargs or _NO_KWARGS
        self.parent = parent
        self.name = name
        self.urn_: str | None = None
        self.registered = False
        self.stopped = StopFlag()
        self.actor: AsyncioActor | None = None
        self.children: dict[str, Cell] | None = None
        self.watchers: list[Callable[[Failure | None], None]] | None = None
        self.kept: dict[str, Any] | None = None
        self.current: Envelope | None = None
        self.task: asyncio.Task[None] | None = None
        self.suspended = True  # until begin(): no message before on_start
        self.failure: Failure | None = None
        """Why it ended for good; None while it lives, and after an orderly stop."""
        self.restarts = 0
        self.busy = False
        self.scheduled = False

    @property
    def path(self) -> str:
        """The name from the root of the tree: "runtime/stream:webhook"."""
        return self.name if self.parent is None else f"{self.parent.path}/{self.name}"

    @property
    def urn(self) -> str:
        """A name that is unique in the world; drawn when first asked for, which of most actors it never is."""
        if self.urn_ is None:
            with _making_names:  # two threads must not see two names
                if self.urn_ is None:
                    self.urn_ = self.loop.host.new_urn()
        return self.urn_

    @property
    def ref(self) -> Ref[Any]:
        """A reference. Made anew each time, since keeping it would make every actor garbage for the cycle collector."""
        return Ref(self)  # type: ignore[arg-type] # it is a Cell

    def instance(self) -> AsyncioActor | None:
        """The living instance; what pykka's proxy looks at."""
        return self.actor

    def wake(self) -> None:
        """Have what was pushed looked at."""
        raise AssertionError("a Cell knows how")

    def make(self) -> AsyncioActor:
        """A new instance, with the arguments of the first one."""
        actor = self.actor_class.__new__(self.actor_class)
        actor.bind(self)  # type: ignore[arg-type] # it is a Cell
        actor.__init__(*self.args, **self.kwargs)  # type: ignore[misc] # bind() first: __init__ may use the reference
        return actor

    # -- beginning ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Make the instance's start hook run, on the loop. A failure there is a crash like any other (fact 2)."""
        if self.stopped.on:
            return  # its parent ended first
        self.suspended = False
        try:
            self.actor.on_start()  # type: ignore[union-attr]
        except BaseException as error:  # noqa: BLE001
            self.crash(error, None)
        else:
            self.wake()

    def restart(self) -> None:
        """Put a new instance behind the unchanged mailbox and references."""
        if self.stopped.on:
            return
        self.restarts += 1
        try:
            self.actor = self.make()
        except BaseException as error:  # noqa: BLE001
            self.crash(error, None)
            return
        self.begin()

    # -- crashing ----------------------------------------------------------------------------------------------------

    def crash(self, error: BaseException, envelope: Envelope | None) -> None:
        """The instance is gone; the mailbox, and everybody's references, wait for what the parent decides."""
        logger.error("%s crashed: %r", self.path, error, exc_info=error)
        self.suspended = True
        failure = Failure.of(error)
        if envelope is not None:
            self._give_up(envelope, error)
        actor = self.actor
        if actor is not None:
            try:
                actor.on_failure(*_exc_info(error))
            except BaseException:
                logger.exception("%s: on_failure() raised as well", self.path)
        if self.parent is None or self.parent.stopped.on:
            self.terminate(failure)
        else:
            self.parent.child_crashed(self, failure)

    def _give_up(self, envelope: Envelope, error: BaseException) -> None:
        self.dead_letter(envelope.message, "crashed", repr(error))
        answer_error(envelope.reply_to, self.told(error))

    def told(self, error: BaseException) -> Exception:
        """What an asker gets of an exception: never one that would end the asker."""
        return error if isinstance(error, Exception) else ActorRestarted(actor=self.path, reason=repr(error))

    def child_crashed(self, child: Life, failure: Failure) -> None:
        """Ask this actor, the parent, what is to become of a crashed child; by its own message, in its own turn."""

        def decide() -> None:
            if self.actor is None or child.stopped.on:
                return
            try:
                self.actor.on_child_failure(child.ref, failure)
            except BaseException:
                child.terminate(failure)  # nobody will decide again
                raise

        self.send_call(decide)

    def send_call(self, call: Callable[[], None], owner: AsyncioActor | None = None) -> None:
        """Run a function as this actor's next turn, in the control lane; an `owner`'s only while that lives."""
        self.send_continuation(Continuation(_DONE, lambda _: call(), None, owner))

    def send_continuation(self, continuation: Continuation | Asked[Any]) -> None:
        """Queue a note of the actor's to itself."""
        self.push_control(continuation)
        self.wake()

    # -- ending ------------------------------------------------------------------------------------------------------

    def watch(self, told: Callable[[Failure | None], None]) -> None:
        """Have `told(reason)` called once, on the loop, at the end of this actor; None says that it was orderly.

        Any thread. After the end it is called at once.
        """
        if self.stopped.on:
            told(self.failure)
        elif not self.loop.is_here():
            self.loop.post(self.watch, told)
        elif self.watchers is None:
            self.watchers = [told]
        else:
            self.watchers.append(told)

    def stop(self) -> None:
        """Orderly: the children end first, then the stop hook runs, then this actor ends."""
        if self.stopped.on:
            return
        for child in list((self.children or {}).values()):
            child.stop()
        try:
            if self.actor is not None and not self.suspended:
                self.actor.on_stop()
        except BaseException as error:
            logger.exception("%s: on_stop() raised", self.path)
            self.terminate(Failure.of(error))
        else:
            self.terminate(None)

    def terminate(self, failure: Failure | None) -> None:
        """The end, told once to the parent and to every watcher."""
        if self.stopped.on:
            return
        if self.children:
            for child in list(self.children.values()):
                child.stop()
        self.failure = failure
        self.stopped.set()
        if self.task is not None and self.task is not asyncio.current_task():
            self.loop.call_soon(self.task.cancel)  # behind its first step, which closes a coroutine not begun
        if self.registered:
            pykka.ActorRegistry.unregister(self.ref)
        self.fail_waiting()
        self._end_instance()
        parent = self.parent
        if parent is not None and parent.children is not None:
            parent.children.pop(self.name, None)
            if failure is not None or self.actor_class.announces_end:
                parent.child_ended(self, failure)
        for watcher in self.watchers or ():
            try:
                watcher(failure)
            except BaseException:
                logger.exception("%s: a watcher of its end raised", self.path)
        self.watchers = None

    def _end_instance(self) -> None:
        actor, self.actor = self.actor, None
        try:
            if actor is not None:
                actor.on_end()
        except BaseException:
            logger.exception("%s: on_end() raised", self.path)

    def child_ended(self, child: Life, failure: Failure | None) -> None:
        """Tell this actor, the parent: whichever instance is there when its turn comes."""
        if not self.stopped.on:
            self.send_call(lambda: self.actor.on_child_ended(child.ref, failure) if self.actor is not None else None)

    def fail_waiting(self) -> None:
        """Answer everything that still waits in a stopped actor (fact 7), or make it a dead letter. Any thread."""
        while self.stopped.on and not self.empty():
            try:
                envelope = self.pop()
            except IndexError:
                continue  # another sender's thread took it
            if envelope is None:
                return
            if not isinstance(envelope, Envelope):
                continue
            message = envelope.message
            if type(message) is _ActorStop:
                answer(envelope.reply_to, False)
            elif envelope.reply_to is not None:
                answer_error(envelope.reply_to, self.gone())
            elif type(envelope) is not Notice:
                self.dead_letter(message, "stopped")

    def gone(self) -> pykka.ActorDeadError:
        """What an asker gets whose message was not handled to its end."""
        return pykka.ActorDeadError(f"{self.ref} stopped before handling the message")

    def dead_letter(self, message: Any, reason: str, detail: str = "") -> None:
        """A message that nobody handles."""
        self.loop.dead_letter(self.path, message, reason, detail)


def _exc_info(error: BaseException) -> tuple[type[BaseException], BaseException, Any]:
    return type(error), error, error.__traceback__ or sys.exc_info()[2]
