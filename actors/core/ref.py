"""`Ref`: pykka's ActorRef to an actor of ours. Encodes on the way in, and stays valid across restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pykka
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from propolis.messages import Encoded, ForkedRuntime, MailboxFull, Message, MessageError, WouldBlock, encode

from .future import Reply
from .mailbox import Envelope, Notice
from .waker import on_actor_loop

if TYPE_CHECKING:
    from .cell import Cell
    from .life import StopFlag
    from .mailbox import Asker

__all__ = ["Ref"]

A = TypeVar("A", bound=pykka.Actor)

_PYKKA_OWN = (ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop)


class Ref(pykka.ActorRef[A]):
    """Reference to an actor on an actor loop; safe to pass around, usable from any thread.

    Differs from pykka's in what `tell` and `ask` promise: a message is encoded before they return, so the receiver
    never shares an object with the sender; a full mailbox raises `MailboxFull` at once, from outside of the loop;
    blocking on an actor loop raises `WouldBlock`.
    """

    actor_inbox: Cell

    def __init__(self, cell: Cell) -> None:
        # not super().__init__(): that would tie the reference to one instance, and instances are replaced on a restart
        self.actor_inbox = cell  # pyright: ignore[reportIncompatibleVariableOverride]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and self.actor_inbox is other.actor_inbox

    def __hash__(self) -> int:
        return hash(self.actor_inbox)

    # What pykka keeps as fields is looked up where it is: most references are used once, for nothing of this.

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """The actor's unique name."""
        return self.actor_inbox.urn

    @property
    def actor_class(self) -> type[A]:  # type: ignore[override]
        """The class of the actor."""
        return self.actor_inbox.actor_class  # type: ignore[return-value] # A is it

    @property
    def actor_stopped(self) -> StopFlag:  # type: ignore[override]
        """Whether it has ended."""
        return self.actor_inbox.stopped

    def _actor_weakref(self) -> A | None:  # type: ignore[override] # it is only called
        return self.actor_inbox.actor  # type: ignore[return-value] # A is it

    def tell(self, message: Any) -> None:
        """Send without waiting for an answer.

        What is no message becomes a dead letter: `ActorRegistry.broadcast()` of anything is harmless.

        Raises:
            pykka.ActorDeadError: the actor has stopped for good.
            MailboxFull: called from outside of the actor loop, and the mailbox is at its limit.
            MessageError: a message of ours that cannot be encoded.
            ForkedRuntime: in a process that was forked from the actor's.
        """
        cell = self.actor_inbox
        if cell.stopped.on:
            raise pykka.ActorDeadError(f"{self} not found")
        if type(message) is Encoded:
            cell.send(Envelope(message.data, foreign=not message.ours), original=message)
        elif isinstance(message, Message):
            cell.send(Envelope(encode(message)), control=message.control, original=message)
        elif isinstance(message, _PYKKA_OWN):
            cell.send(Envelope(message), original=message)
        else:
            cell.dead_letter(message, "not_a_message")

    def deliver(self, message: Message | Encoded) -> None:
        """As `tell`, for the machinery's own messages: exempt from the mailbox's bound, dropped when the actor is gone.

        How an attempt's end reaches its actor, in order with what it told before. Any thread.
        """
        cell = self.actor_inbox
        if not cell.stopped.on:
            ahead = isinstance(message, Message) and message.control
            (cell.push_control if ahead else cell.push)(Notice(encode(message)))
            cell.wake()

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send, and get the answer: as pykka's `ask`, with `Reply` as the future.

        Raises (or, with `block=False`, the reply does):
            pykka.ActorDeadError: the actor has stopped, or stopped before it came to the message.
            MessageError: this is no message.
            WouldBlock: `block=True` on an actor loop.
        """
        if block and on_actor_loop():
            raise WouldBlock(call=f"{self.actor_class.__name__} ref.ask()")
        reply = self.send_request(message, Reply(), ())
        return reply.get(timeout=timeout) if block else reply

    def send_request(self, message: Any, reply: Reply[Any], chain: tuple[Asker, ...]) -> Reply[Any]:
        """Send a message whose answer goes to `reply`; every error goes there too."""
        cell = self.actor_inbox
        try:
            if cell.stopped.on:
                reply.set_error(pykka.ActorDeadError(f"{self} not found"))
            elif type(message) is Encoded:
                cell.send(Envelope(message.data, reply, chain, foreign=not message.ours), original=message)
            elif isinstance(message, Message):
                cell.send(Envelope(encode(message), reply, chain), control=message.control, original=message)
            elif isinstance(message, _PYKKA_OWN):
                cell.send(Envelope(message, reply, chain), original=message)
            else:
                reply.set_error(MessageError(reason="not_a_message", detail=f"{type(message)} was asked of {self}"))
        except (MessageError, MailboxFull, ForkedRuntime) as error:
            reply.offer_error(error)
        return reply

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """As pykka: the stop keeps its place behind the messages sent before it. True unless it was dead already."""
        if block and on_actor_loop():
            raise WouldBlock(call=f"{self.actor_class.__name__} ref.stop()")
        reply: Reply[bool] = Reply()
        cell = self.actor_inbox
        if cell.stopped.on:
            reply.set(False)
        elif cell.loop.parent_pid is not None:
            reply.set_error(ForkedRuntime(parent_pid=cell.loop.parent_pid))
        else:
            cell.send_stop(reply)
        return reply.get(timeout=timeout) if block else reply
