"""What stays of an actor when its instance is replaced: mailbox, name, stopped flag, family, and its turn on the loop."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import pykka
from pykka.messages import _ActorStop

from propolis.messages import (
    ActorRestarted,
    Encoded,
    Failure,
    MailboxFull,
    Message,
    MessageError,
    PropolisError,
    decode,
    encode,
    is_scalar,
    rebuild,
)

from .mailbox import Continuation, Envelope, Mailbox
from .ref import Ref

if TYPE_CHECKING:
    from .actor import AsyncioActor
    from .loop import ActorLoop

__all__ = ["LATER", "Cell", "asking_chain"]

logger = logging.getLogger("propolis.actors")

LATER: Final = object()
"""What a handler returns when it has kept the reply and answers later (`self.keep_reply()`)."""

asking_chain: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("propolis_asking_chain", default=())
"""The actors that wait in the task at hand; an ask to one of them could never be answered."""

TURN: Final = 64
"""Messages that one actor handles before another one has its turn."""


class StopFlag:
    """`threading.Event` as far as pykka uses it, for a tenth of the memory."""

    __slots__ = ("_event", "_set")

    def __init__(self) -> None:
        self._set = False
        self._event: threading.Event | None = None

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        if self._event is not None:
            self._event.set()

    def wait(self, timeout: float | None = None) -> bool:
        if self._event is None:
            self._event = threading.Event()
        if self._set:
            self._event.set()
        return self._event.wait(timeout)


class Cell(Mailbox):
    """The lasting part of an actor. Everything but `send*` and `put` runs on the actor loop."""

    __slots__ = (
        "__weakref__",
        "actor",
        "actor_class",
        "busy",
        "children",
        "current",
        "kept",
        "loop",
        "make",
        "name",
        "parent",
        "ref",
        "restarts",
        "scheduled",
        "stopped",
        "suspended",
        "task",
        "urn",
        "watchers",
    )

    def __init__(
        self,
        loop: ActorLoop,
        actor_class: type[AsyncioActor],
        make: Callable[[Cell], AsyncioActor],
        *,
        parent: Cell | None,
        name: str,
        limit: int | None,
    ) -> None:
        super().__init__(limit)
        self.loop = loop
        self.actor_class = actor_class
        self.make = make
        self.parent = parent
        self.name = name
        self.urn = loop.host.new_urn()
        self.stopped = StopFlag()
        self.actor: AsyncioActor | None = None
        self.children: dict[str, Cell] | None = None
        self.watchers: list[Callable[[Failure | None], None]] | None = None
        self.kept: dict[str, Any] | None = None
        self.current: Envelope | None = None
        self.task: asyncio.Task[None] | None = None
        self.busy = self.scheduled = self.suspended = False
        self.restarts = 0
        self.ref: Ref[Any] = Ref(self)

    @property
    def path(self) -> str:
        """The name from the root of the tree: "runtime/stream:webhook"."""
        return self.name if self.parent is None else f"{self.parent.path}/{self.name}"

    def instance(self) -> AsyncioActor | None:
        """The living instance; what pykka's proxy looks at."""
        return self.actor

    # -- sending, any thread -----------------------------------------------------------------------------------------

    def send(self, envelope: Envelope, *, control: bool = False, original: Any = None) -> None:
        """Queue a message and wake the actor. Raises MailboxFull, from outside of the loop only."""
        if control:
            self.push_control(envelope)
        else:
            if self.limit is not None and self.depth() >= self.limit and not self.loop.is_here():
                raise MailboxFull(actor=self.path, limit=self.limit, message=original)
            self.push(envelope)
        self.wake()

    def wake(self) -> None:
        """Have what was pushed looked at."""
        if not self.scheduled:
            self.loop.schedule(self)
        if self.stopped.is_set():  # stopped between the sender's look and the push: nobody else will answer it
            self.loop.post(self.fail_waiting)

    def put(self, envelope: Any, /) -> None:
        """pykka's inbox protocol, for code that knows no `Ref`."""
        message = envelope.message
        if isinstance(message, Message):
            message = encode(message)
        self.send(Envelope(message, envelope.reply_to), original=envelope.message)

    def send_stop(self, reply: Any = None) -> None:
        """Queue pykka's stop, behind what is queued already."""
        self.push(Envelope(_ActorStop(), reply))
        self.wake()

    def send_continuation(self, continuation: Continuation) -> None:
        self.push_control(Envelope(continuation))
        self.wake()

    # -- a turn on the loop ------------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Handle up to TURN messages. True when more are waiting and can be handled."""
        for _ in range(TURN):
            if self.busy or self.suspended or self.stopped.is_set():
                return False
            envelope = self.pop()
            if envelope is None:
                return False
            self._handle(envelope)
        return not self.empty() and not self.busy

    def _handle(self, envelope: Envelope) -> None:
        message = envelope.message
        self.current = envelope
        try:
            if type(message) is bytes:
                message = decode(message) if envelope.foreign else rebuild(message)
                result = self.actor.on_receive(message)  # type: ignore[union-attr]
            elif type(message) is Continuation:
                self._go_on(message)
                return
            elif type(message) is _ActorStop:
                self.stop()
                _answer(envelope, True)
                return
            else:
                result = self.actor.handle_other(message)  # type: ignore[union-attr]
            if inspect.iscoroutine(result):
                self._start_task(result, envelope)
            elif result is not LATER:
                self._reply(envelope, result)
        except PropolisError as error:
            self._refuse(envelope, error)
        except BaseException as error:  # noqa: BLE001 - fact 3: nothing a handler raises may reach another actor
            self.crash(error, envelope)
        finally:
            self.current = None

    def _go_on(self, continuation: Continuation) -> None:
        try:
            value = continuation.reply.result()
        except Exception as error:  # noqa: BLE001 - the answer was an error: it goes where the asker wants it
            if continuation.failed is None:
                raise RuntimeError(f"{self.path}: a request failed that was expected to succeed: {error}") from error
            continuation.failed(error)
        else:
            continuation.then(value)

    def _start_task(self, coroutine: Coroutine[Any, Any, Any], envelope: Envelope) -> None:
        self.busy = True
        context = contextvars.copy_context()
        context.run(asking_chain.set, (*envelope.chain, self.urn))
        self.task = asyncio.get_running_loop().create_task(self._run_task(coroutine, envelope), context=context)

    async def _run_task(self, coroutine: Coroutine[Any, Any, Any], envelope: Envelope) -> None:
        self.current = envelope
        try:
            result = await coroutine
            if result is not LATER:
                self._reply(envelope, result)
        except PropolisError as error:
            self._refuse(envelope, error)
        except BaseException as error:  # noqa: BLE001 - as in _handle
            if not self.stopped.is_set():
                self.crash(error, envelope)
        finally:
            self.current = None
            self.task = None
            self.busy = False
            self.loop.schedule(self)

    # -- answers -----------------------------------------------------------------------------------------------------

    def _reply(self, envelope: Envelope, result: Any) -> None:
        reply_to = envelope.reply_to
        if reply_to is None:
            return
        try:
            send_reply(reply_to, result, encoded=type(envelope.message) is bytes)
        except MessageError as error:
            reply_to.set_exception((type(error), error, None))

    def _refuse(self, envelope: Envelope, error: PropolisError) -> None:
        # bad input is a reply; told, not asked, it has nobody to go to
        if envelope.reply_to is not None:
            _answer_error(envelope, error)
        else:
            self.dead_letter(envelope.message, error.code, str(error))

    def dead_letter(self, message: Any, reason: str, detail: str = "") -> None:
        """A message that nobody handles."""
        self.loop.dead_letter(self.path, message, reason, detail)

    def fail_waiting(self) -> None:
        """Answer everything that still waits in a stopped actor (fact 7), or make it a dead letter."""
        while self.stopped.is_set() and (envelope := self.pop()) is not None:
            message = envelope.message
            if type(message) is Continuation:
                continue
            if type(message) is _ActorStop:
                _answer(envelope, False)
            elif envelope.reply_to is not None:
                _answer_error(envelope, pykka.ActorDeadError(f"{self.ref} stopped before handling the message"))
            else:
                self.dead_letter(message, "stopped")

    # -- life and death ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Make the first instance's start hook run, on the loop. A failure there is a crash like any other (fact 2)."""
        try:
            self.actor.on_start()  # type: ignore[union-attr]
        except BaseException as error:  # noqa: BLE001
            self.crash(error, None)
        else:
            if not self.scheduled:
                self.loop.schedule(self)

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
            except BaseException:  # noqa: BLE001
                logger.exception("%s: on_failure() raised as well", self.path)
        if self.parent is None or self.parent.stopped.is_set():
            self.terminate(failure)
        else:
            self.parent.child_crashed(self, failure)

    def _give_up(self, envelope: Envelope, error: BaseException) -> None:
        if type(envelope.message) is not Continuation:
            self.dead_letter(envelope.message, "crashed", repr(error))
        if envelope.reply_to is not None:
            told = error if isinstance(error, Exception) else ActorRestarted(actor=self.path, reason=repr(error))
            _answer_error(envelope, told)

    def watch(self, told: Callable[[Failure | None], None]) -> None:
        """Have `told(reason)` called, on the loop, at the end of this actor; None is the reason of an orderly one."""
        if self.stopped.is_set():
            told(None)
        elif self.watchers is None:
            self.watchers = [told]
        else:
            self.watchers.append(told)

    def child_crashed(self, child: Cell, failure: Failure) -> None:
        """Ask this actor, the parent, what is to become of a crashed child; by its own message, in its own turn."""

        def decide() -> None:
            if self.actor is not None and not child.stopped.is_set():
                self.actor.on_child_failure(child.ref, failure)

        self.send_call(decide)

    def send_call(self, call: Callable[[], None]) -> None:
        """Run a function as this actor's next turn, in the control lane."""
        from .future import Reply  # noqa: PLC0415 - future imports nothing of ours but the waker; kept flat

        done: Reply[None] = Reply()
        done.set(None)
        self.send_continuation(Continuation(done, lambda _: call(), None))

    def restart(self) -> None:
        """Put a new instance behind the unchanged mailbox and references."""
        if self.stopped.is_set():
            return
        self.restarts += 1
        try:
            self.actor = self.make(self)
        except BaseException as error:  # noqa: BLE001
            self.crash(error, None)
            return
        self.suspended = False
        self.begin()

    def stop(self) -> None:
        """Orderly: the stop hook runs, the children end first, then this actor."""
        if self.stopped.is_set():
            return
        for child in list((self.children or {}).values()):
            child.stop()
        try:
            if self.actor is not None and not self.suspended:
                self.actor.on_stop()
        except BaseException as error:  # noqa: BLE001
            logger.exception("%s: on_stop() raised", self.path)
            self.terminate(Failure.of(error))
        else:
            self.terminate(None)

    def terminate(self, failure: Failure | None) -> None:
        """The end, told once to the parent and to every watcher."""
        if self.stopped.is_set():
            return
        for child in list((self.children or {}).values()):
            child.stop()
        self.stopped.set()
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()
        pykka.ActorRegistry.unregister(self.ref) if self.loop.is_registered(self) else None
        self.fail_waiting()
        self.actor = None
        parent = self.parent
        if parent is not None and parent.children is not None:
            parent.children.pop(self.name, None)
            if parent.actor is not None and not parent.stopped.is_set():
                actor = parent.actor
                parent.send_call(lambda: actor.on_child_ended(self.ref, failure))
        for watcher in self.watchers or ():
            watcher(failure)


def send_reply(reply_to: Any, result: Any, *, encoded: bool) -> None:
    """Answer with a handler's result; encoded if it answers an encoded message. Raises MessageError."""
    if not encoded or is_scalar(result):
        reply_to.set(result)
        return
    foreign = isinstance(result, Encoded)
    if isinstance(result, Encoded):
        data = result.data
    elif isinstance(result, Message):
        data = encode(result)
    elif isinstance(result, tuple) and all(map(is_scalar, result)):
        reply_to.set(result)
        return
    else:
        raise MessageError(reason="not_a_message", detail=f"a handler replied with {type(result)}")
    if hasattr(reply_to, "set_bytes"):
        reply_to.set_bytes(data, foreign=foreign)
    else:
        reply_to.set(decode(data))


def _answer(envelope: Envelope, value: Any) -> None:
    if envelope.reply_to is not None:
        envelope.reply_to.set(value)


def _answer_error(envelope: Envelope, error: BaseException) -> None:
    reply_to = envelope.reply_to
    if reply_to is None:
        return
    if hasattr(reply_to, "offer_error"):
        reply_to.offer_error(error)
    else:
        reply_to.set_exception((type(error), error, None))


def _exc_info(error: BaseException) -> tuple[type[BaseException], BaseException, Any]:
    return type(error), error, error.__traceback__ or sys.exc_info()[2]
