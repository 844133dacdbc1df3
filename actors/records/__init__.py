"""What is written down and told: the SessionActor, the EventActor, and the threads that touch the store."""

from .committer import StoreThread, StoreThreads
from .events import EventActor
from .session import SessionActor
from .state import StateActor
from .subscriptions import HandlerSubscriber, QueueSubscriber, RefSubscriber, Subscriber

__all__ = [
    "EventActor",
    "HandlerSubscriber",
    "QueueSubscriber",
    "RefSubscriber",
    "SessionActor",
    "StateActor",
    "StoreThread",
    "StoreThreads",
    "Subscriber",
]
