"""`Call`: the reply of a front-door call, which says what the caller wants to know in the caller's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pykka
from pykka.messages import ProxyCall

from propolis.actors import Ref, Reply
from propolis.messages import AskTimeout, Encoded, Message, RuntimeStopped

__all__ = ["Call", "call", "call_method", "settled", "then"]

R = TypeVar("R")


class Call(Reply[R]):
    """`await` it on any event loop, or `.get(timeout=seconds)` it in a thread.

    An actor that is gone reads as `RuntimeStopped`: for a caller that is what it means.
    """

    _convert: Callable[[Any], R] | None = None
    _asked = ""

    def result(self) -> R:
        """The answer, which must be there, or the exception."""
        try:
            value = super().result()
        except pykka.ActorDeadError:
            raise RuntimeStopped(what=self._asked or "The runtime") from None
        return value if self._convert is None else self._convert(value)

    def _timed_out(self, timeout: float | None) -> None:
        if timeout is not None and timeout != self.default_timeout:
            super()._timed_out(timeout)
        raise AskTimeout(actor=self._asked, message="this call", seconds=self.default_timeout or 0.0)


def call(
    ref: Ref[Any],
    message: Message | Encoded,
    *,
    what: str,
    convert: Callable[[Any], R] | None = None,
    timeout: float | None = None,
) -> Call[R]:
    """Send a request to an actor for a caller of the front door."""
    reply: Call[R] = Call()
    reply._convert = convert
    reply._asked = what
    reply.default_timeout = timeout
    ref.send_request(message, reply, ())
    return reply


def call_method(
    ref: Ref[Any],
    method: str,
    *args: Any,
    what: str,
    convert: Callable[[Any], R] | None = None,
    timeout: float | None = None,
) -> Call[R]:
    """Call a method of an actor, with live objects as arguments."""
    return call(ref, ProxyCall((method,), args, {}), what=what, convert=convert, timeout=timeout)  # type: ignore[arg-type]


def settled(first: Reply[Any]) -> Reply[None]:
    """A reply that comes when `first` does, whatever that says."""
    reply: Reply[None] = Reply()
    first.on_done(lambda: reply.set(None))
    return reply


def then(first: Reply[Any], go_on: Callable[[Any], Reply[Any]]) -> Call[Any]:
    """A call that goes on with another one when the first is answered."""
    reply: Call[Any] = Call()
    reply.on_abandoned = first.abandon

    def arrived() -> None:
        try:
            second = go_on(first.result())
        except Exception as error:  # noqa: BLE001 - it is the caller's
            reply.offer_error(error)
        else:
            second.relay_to(reply)

    first.on_done(arrived)
    return reply
