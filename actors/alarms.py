"""How an actor has itself called at a time, though the WakeupActor crash at the very message that asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pykka

from propolis.messages import ActorRestarted, PropolisError, WakeAt, WakeMe

from .core import AsyncioActor, Ref, Reply

__all__ = ["has_crashed", "wake"]


def has_crashed(error: BaseException) -> bool:
    """Whether an error answer says that whoever was asked crashed over the message, which is not run again.

    Any other is what that actor had to say, or says that nobody is there any more.
    """
    if isinstance(error, ActorRestarted):
        return True
    return not isinstance(error, (PropolisError, pykka.ActorDeadError, asyncio.CancelledError))


def _nobody(_: BaseException) -> None:
    """The runtime ends, and nothing is due in it any more."""


def wake(
    actor: AsyncioActor,
    wakeups: Ref[Any],
    alarm: WakeMe | WakeAt,
    then: Callable[[], object],
    gone: Callable[[BaseException], object] = _nobody,
) -> Reply[Any]:
    """Have `then()` run as a turn of the actor's own when it is time. `gone(error)`: there is no WakeupActor any more.

    An alarm that is lost is a stop that never ends, or a store that nobody looks into again. Whoever does not want the
    call any more abandons the reply; one that had to be asked for twice may come nevertheless.
    """

    def failed(error: BaseException) -> None:
        if not has_crashed(error):
            gone(error)
        elif not asked.abandoned:
            wake(actor, wakeups, alarm, then, gone)

    asked: Reply[Any] = actor.request(wakeups, alarm, lambda _: then(), failed)
    return asked
