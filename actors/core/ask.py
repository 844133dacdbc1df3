"""The typed `ask`: a reply of the right type, a timeout, and no cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import pykka
from pykka._envelope import Envelope as PykkaEnvelope

from propolis.messages import AskCycle, AskTimeout, Encoded, Request

from .cell import asking_chain
from .future import Reply
from .ref import Ref

if TYPE_CHECKING:
    from .mailbox import Asker

__all__ = ["DEFAULT_ASK_TIMEOUT", "ask", "send_to"]

R = TypeVar("R")

DEFAULT_ASK_TIMEOUT = 30.0


class _TimedReply(Reply[R]):
    """A reply that knows whom it waits for, to say so when it waited too long."""

    def __init__(self, ref: pykka.ActorRef[Any], message: object, timeout: float) -> None:
        super().__init__()
        self.default_timeout = timeout
        self._asked = ref
        self._tag = getattr(message, "tag", type(message).__name__)

    def _timed_out(self, timeout: float | None) -> None:
        seconds = cast(float, self.default_timeout if timeout is None else timeout)
        raise AskTimeout(actor=str(self._asked), message=self._tag, seconds=seconds)


def ask(
    ref: pykka.ActorRef[Any], message: Request[R] | Encoded, *, timeout: float | None = DEFAULT_ASK_TIMEOUT
) -> Reply[R]:
    """Send a request; the reply is of the type that the request names.

    Any thread. `await` it on any event loop, or `.get()` it in a thread. `timeout` is in seconds; None waits for as
    long as it takes.

    Raises (from the reply):
        AskTimeout: no answer in time.
        AskCycle: at once, when the actor asked is itself waiting, further up, for the one that asks.
        pykka.ActorDeadError: it has stopped.
    """
    reply: Reply[R] = Reply() if timeout is None else _TimedReply(ref, message, timeout)
    chain = asking_chain.get()
    for place, asker in enumerate(chain):
        if asker.urn == ref.actor_urn and not asker.over:
            reply.set_error(AskCycle(chain=(*(each.urn for each in chain[place:]), ref.actor_urn)))
            return reply
    send_to(ref, message, reply, chain)
    return reply


def send_to(ref: pykka.ActorRef[Any], message: object, reply: Reply[Any], chain: tuple[Asker, ...]) -> None:
    """Send to an actor of any kind; the answer, or what keeps it from being sent, goes to `reply`."""
    if isinstance(ref, Ref):
        ref.send_request(message, reply, chain)
    elif not ref.is_alive():
        reply.set_error(pykka.ActorDeadError(f"{ref} not found"))
    else:
        # a plain pykka actor answers by calling set() or set_exception() on whatever stands in the envelope
        ref.actor_inbox.put(PykkaEnvelope(message, reply_to=cast("pykka.Future[Any]", reply)))
