"""What stays of an actor when its instance is replaced: sending to it, and its turn on the loop. See also `life`."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from types import CoroutineType
from typing import Any, Final

from pykka.messages import _ActorStop

from propolis.messages import (
    Encoded,
    ForkedRuntime,
    MailboxFull,
    Message,
    MessageError,
    PropolisError,
    decode,
    encode,
    rebuild,
)

from .answers import answer, answer_error, send_reply
from .life import Life
from .mailbox import Asked, Asker, Continuation, Envelope

__all__ = ["LATER", "Cell", "asking_chain"]

LATER: Final = object()
"""What a handler returns when it has kept the reply and answers later (`self.keep_reply()`)."""

asking_chain: contextvars.ContextVar[tuple[Asker, ...]] = contextvars.ContextVar("propolis_asking_chain", default=())
"""The handlers that wait in the task at hand; an ask to an actor of theirs could never be answered."""


class Cell(Life):
    """The lasting part of an actor. Everything but `send*` and `put` runs on the actor loop."""

    __slots__ = ()

    # -- sending, any thread -----------------------------------------------------------------------------------------

    def send(self, envelope: Envelope, *, control: bool = False, original: Any = None) -> None:
        """Queue a message and wake the actor. Raises MailboxFull, from outside of the loop only, and ForkedRuntime."""
        if self.loop.parent_pid is not None:
            raise ForkedRuntime(parent_pid=self.loop.parent_pid)
        if control:
            self.push_control(envelope)
        else:
            if self.limit is not None and self.depth() >= self.limit and not self.loop.is_here():
                message = decode(original.data) if type(original) is Encoded else original
                raise MailboxFull(actor=self.path, limit=self.limit, message=message)
            self.push(envelope)
        self.wake()

    def wake(self) -> None:
        """Have what was pushed looked at."""
        if not self.scheduled:
            self.loop.schedule(self)
        if self.stopped.on:  # stopped between the sender's look and the push: nobody else will answer it
            self.fail_waiting()

    def put(self, envelope: Any, /) -> None:
        """The inbox protocol of pykka, for code that knows no `Ref`."""
        message = envelope.message
        if isinstance(message, Message):
            message = encode(message)
        self.send(Envelope(message, envelope.reply_to), original=envelope.message)

    def send_stop(self, reply: Any = None) -> None:
        """Queue pykka's stop, behind what is queued already."""
        self.push(Envelope(_ActorStop(), reply))
        self.wake()

    def get(self) -> Any:
        """The inbox protocol of pykka again; a mailbox of ours is drained by its loop alone."""
        raise AssertionError(f"{self.path} is drained by its actor loop")

    # -- a turn on the loop ------------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Handle some messages. True when more are waiting and can be handled."""
        for _ in range(self.loop.messages_per_turn):
            if self.busy or self.suspended or self.stopped.on:
                return False
            envelope = self.pop()
            if envelope is None:
                return False
            if isinstance(envelope, Envelope):
                self._handle(envelope)
            else:
                self._go_on(envelope)
        return not self.empty() and not self.busy

    def _handle(self, envelope: Envelope) -> None:
        message = envelope.message
        self.current = envelope
        try:
            if type(message) is bytes:
                message = decode(message) if envelope.foreign else rebuild(message)
                result = self.actor.on_receive(message)  # type: ignore[union-attr]
            elif type(message) is _ActorStop:
                self.stop()
                answer(envelope.reply_to, True)
                return
            else:
                result = self.actor.handle_other(message)  # type: ignore[union-attr]
            if type(result) is CoroutineType:
                self._start_task(result, envelope)
            elif result is not LATER and envelope.reply_to is not None:
                self._reply(envelope, result)
        except PropolisError as error:
            self._refuse(envelope, error)
        except BaseException as error:  # noqa: BLE001 - fact 3: nothing a handler raises may reach another actor
            self.crash(error, envelope)
        finally:
            self.current = None

    def _go_on(self, continuation: Continuation | Asked[Any]) -> None:
        if continuation.owner is not None and continuation.owner is not self.actor:
            return  # the instance that wanted to go on has crashed meanwhile
        try:
            try:
                value = continuation.reply.result()
            except BaseException as error:
                if continuation.failed is None:
                    problem = f"{self.path}: a request failed that was expected to succeed: {error}"
                    raise RuntimeError(problem) from error
                continuation.failed(error)
            else:
                continuation.then(value)
        except BaseException as error:  # noqa: BLE001 - fact 3: nothing a handler raises may reach another actor
            self.crash(error, None)

    def _start_task(self, coroutine: Coroutine[Any, Any, Any], envelope: Envelope) -> None:
        self.busy = True
        asker = Asker(self.urn)
        context = contextvars.copy_context()
        context.run(asking_chain.set, (*envelope.chain, asker))
        run = self._run_task(coroutine, envelope, asker)
        self.task = asyncio.get_running_loop().create_task(run, context=context)

    async def _run_task(self, coroutine: Coroutine[Any, Any, Any], envelope: Envelope, asker: Asker) -> None:
        self.current = envelope
        if self.stopped.on:  # between the message and this first step
            coroutine.close()
            answer_error(envelope.reply_to, self.gone())
            return
        try:
            result = await coroutine
            if result is not LATER and envelope.reply_to is not None:
                self._reply(envelope, result)
        except PropolisError as error:
            self._refuse(envelope, error)
        except BaseException as error:  # noqa: BLE001 - fact 3: nothing a handler raises may reach another actor
            if not self.stopped.on:
                self.crash(error, envelope)
            else:
                cancelled = isinstance(error, asyncio.CancelledError)
                answer_error(envelope.reply_to, self.gone() if cancelled else self.told(error))
        finally:
            asker.over = True
            self.current = None
            self.task = None
            self.busy = False
            self.loop.schedule(self)

    # -- answers -----------------------------------------------------------------------------------------------------

    def _reply(self, envelope: Envelope, result: Any) -> None:
        try:
            send_reply(envelope.reply_to, result, encoded=type(envelope.message) is bytes)
        except MessageError as error:
            envelope.reply_to.set_exception((type(error), error, None))

    def _refuse(self, envelope: Envelope, error: PropolisError) -> None:
        # bad input is a reply; told, not asked, it has nobody to go to
        if envelope.reply_to is not None:
            answer_error(envelope.reply_to, error)
        else:
            self.dead_letter(envelope.message, error.code, str(error))
