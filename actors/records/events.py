"""The EventActor: hands what was committed, and what is only live, to whoever subscribed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, ClassVar

from propolis.messages import ActorRestarted, Event, PublishEvents, WatchEvents

from ..core import LATER, AsyncioActor, Handlers, Owed, Ref

if TYPE_CHECKING:
    from types import TracebackType

    from .subscriptions import Subscriber

__all__ = ["EventActor"]


class EventActor(AsyncioActor):
    """Feeds subscribers. The history is in the store: a replay reads it from there.

    Subscribers hold live objects (functions, references), so they come in by method calls through the proxy, not as
    messages. They outlive a crash of this actor.
    """

    def __init__(self) -> None:
        super().__init__()
        self._subscribers: dict[str, Subscriber] = self.kept("subscribers", dict)
        self._numbers = self.kept("numbers", itertools.count)
        self._sessions: list[Ref[Any]] = self.kept("sessions", list)
        self._owed = Owed()

    def on_start(self) -> None:
        """A new instance, after a crash: whether the word that somebody listens got through, nobody knows."""
        if self._subscribers and self._sessions:
            self.request(self._sessions[0], WatchEvents(on=True), lambda _: None)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Who waits for this instance to go on is told."""
        self._owed.refuse(ActorRestarted(actor=self.actor_inbox.path, reason=repr(exception_value)))

    def on_end(self) -> None:
        """Tell the subscribers that there will be no more."""
        for subscriber in self._subscribers.values():
            subscriber.close()
        self._subscribers.clear()

    def publish(self, message: PublishEvents) -> None:
        """Hand each event to those whose filter it passes."""
        for event in message.events:
            self._hand_out(event)

    def _hand_out(self, event: Event) -> None:
        for subscription_id, subscriber in list(self._subscribers.items()):
            if subscriber.gone:
                self.unsubscribe(subscription_id)
            elif subscriber.filter.matches(event):
                subscriber.offer(event)

    # -- through the proxy -------------------------------------------------------------------------------------------

    def set_sessions(self, sessions: Ref[Any]) -> None:
        """The SessionActor that commits the events published here."""
        self._sessions[:] = [sessions]

    def subscribe(self, subscriber: Subscriber) -> Any:
        """Add a subscriber; the reply is its id, and comes when no later commit can pass it by."""
        subscription_id = f"sub_{next(self._numbers)}"
        self._subscribers[subscription_id] = subscriber
        reply = self.keep_reply()
        if not self._sessions or len(self._subscribers) > 1:
            return subscription_id

        if reply is not None:
            self._owed.keep(reply)

        def watched(_: None) -> None:
            if reply is not None:
                reply.set(subscription_id)

        self.request(self._sessions[0], WatchEvents(on=True), watched)
        return LATER

    def unsubscribe(self, subscription_id: str) -> bool:
        """Remove a subscriber. False when there is none of that id."""
        subscriber = self._subscribers.pop(subscription_id, None)
        if subscriber is None:
            return False
        subscriber.close()
        if not self._subscribers and self._sessions:
            self.request(self._sessions[0], WatchEvents(on=False), lambda _: None, lambda _: None)
        return True

    def count(self) -> int:
        """How many subscribers there are."""
        return len(self._subscribers)

    handlers: ClassVar[Handlers] = {PublishEvents: publish}
