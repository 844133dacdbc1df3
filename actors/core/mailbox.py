"""The mailbox: two lanes of envelopes, the control lane ahead of the user lane, both in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from .future import Reply

if TYPE_CHECKING:
    from .actor import AsyncioActor

__all__ = ["Asked", "Asker", "Continuation", "Envelope", "Mailbox", "Notice", "Turn"]

R = TypeVar("R")


class Asker:
    """An async handler at work: the actor it belongs to handles nothing else until it is over."""

    __slots__ = ("over", "urn")

    def __init__(self, urn: str) -> None:
        self.urn = urn
        self.over = False


class Envelope:
    """A message on its way: `message` is bytes (ours) or one of pykka's own, which pass as they are.

    `foreign` bytes were not encoded by this process, or not just now; the receiver validates what they hold.
    """

    __slots__ = ("chain", "foreign", "message", "reply_to")

    def __init__(
        self, message: Any, reply_to: Any = None, chain: tuple[Asker, ...] = (), *, foreign: bool = False
    ) -> None:
        self.foreign = foreign
        self.message = message
        self.reply_to = reply_to
        self.chain = chain
        """The handlers that wait for the reply, the first asker first: how a cycle is seen."""


class Notice(Envelope):
    """One of the machinery's own: it means nothing any more to an actor that has ended, and is no dead letter then."""

    __slots__ = ()


class Continuation:
    """An actor's note to itself: the reply of a request is there, go on with `then`, if `owner` is still there.

    It stands in the control lane as it is, without an envelope. Called, it puts itself there: it is the callback too.
    For a reply that somebody else has made; of one that the actor itself asked for see `Asked`.
    """

    __slots__ = ("failed", "owner", "reply", "then")

    def __init__(
        self,
        reply: Reply[Any],
        then: Callable[[Any], object],
        failed: Callable[[BaseException], object] | None,
        owner: AsyncioActor | None,
    ) -> None:
        self.reply = reply
        self.then = then
        self.failed = failed
        self.owner = owner

    def __call__(self) -> None:
        if self.owner is not None and (cell := self.owner.actor_inbox).actor is self.owner:
            cell.send_continuation(self)


class Asked(Reply[R]):
    """The reply to a request of an actor's own, and the note to go on with it: answered, it is that actor's next turn.

    One object where a reply, its callbacks and a continuation in them would be three.
    """

    def __init__(
        self, then: Callable[[R], object], failed: Callable[[BaseException], object] | None, owner: AsyncioActor
    ) -> None:
        self.then = then
        self.failed = failed
        self.owner = owner

    @property
    def reply(self) -> Reply[R]:
        """What a continuation has there."""
        return self

    def _settled(self) -> None:
        owner = self.owner
        if (cell := owner.actor_inbox).actor is owner:
            cell.push_control(self)
            cell.wake()
        if self._callbacks:
            self._run_callbacks()


Turn: TypeAlias = Envelope | Continuation | Asked[Any]
"""What stands in a mailbox."""

_making_lanes: Final = threading.Lock()


class Mailbox:
    """Unread messages of one actor. `push` works from any thread, `pop` on the actor loop alone.

    Lanes are made when first used: an empty deque takes 600 bytes, and most of 100,000 idle actors need none.
    """

    __slots__ = ("_control", "_user", "limit")

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._user: deque[Turn] | None = None
        self._control: deque[Turn] | None = None

    def push(self, envelope: Envelope) -> None:
        """Append to the user lane."""
        (self._user if self._user is not None else self._make_user_lane()).append(envelope)

    def push_control(self, envelope: Turn) -> None:
        """Append to the control lane: handled before every message of the user lane."""
        (self._control if self._control is not None else self._make_control_lane()).append(envelope)

    def pop(self) -> Turn | None:
        """The next message, or None."""
        if self._control:
            return self._control.popleft()
        if self._user:
            return self._user.popleft()
        return None

    def depth(self) -> int:
        """How many messages wait in the user lane: what `limit` bounds."""
        return len(self._user) if self._user is not None else 0

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._user and not self._control

    def _make_user_lane(self) -> deque[Turn]:
        with _making_lanes:
            if self._user is None:
                self._user = deque()
            return self._user

    def _make_control_lane(self) -> deque[Turn]:
        with _making_lanes:
            if self._control is None:
                self._control = deque()
            return self._control
