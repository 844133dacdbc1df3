"""The machinery under everything: actors on one event loop, their mailboxes, replies and references."""

from .actor import AsyncioActor, Handlers
from .ask import ask
from .blocking import wait_by, wait_for
from .cell import LATER, Cell
from .defaults import default_loop
from .future import Reply
from .loop import ActorLoop
from .mailbox import Envelope
from .owed import Owed
from .ref import Ref
from .waker import Waker, mark_actor_loop, on_actor_loop, waker_of, waking_together

__all__ = [
    "ActorLoop",
    "AsyncioActor",
    "Cell",
    "Envelope",
    "Handlers",
    "LATER",
    "Owed",
    "Ref",
    "Reply",
    "Waker",
    "ask",
    "default_loop",
    "mark_actor_loop",
    "on_actor_loop",
    "wait_by",
    "wait_for",
    "waker_of",
    "waking_together",
]
