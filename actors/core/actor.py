"""`AsyncioActor`: an actor on the shared actor loop. An idle one costs a few kilobytes and no thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, cast

import pykka
from pykka._introspection import get_attr_directly
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from propolis.messages import Encoded, Failure, Message, Request

from .ask import send_to
from .cell import Cell
from .defaults import default_loop
from .future import Reply
from .mailbox import Asked, Continuation, Mailbox
from .ref import Ref

if TYPE_CHECKING:
    from typing import Self

    from ..host import Host

__all__ = ["AsyncioActor", "Handlers"]

R = TypeVar("R")
A = TypeVar("A", bound="AsyncioActor")

Handlers: TypeAlias = dict[type[Message], Callable[[Any, Any], Any]]


class AsyncioActor(pykka.Actor):
    """A pykka actor whose inbox is drained on an asyncio event loop shared by many.

    `handlers` is a table from message class to method; a class that wants something else overrides `on_receive`.
    A handler runs on the actor loop, one message at a time, and must not block. It returns the reply (a message or a
    scalar), `LATER` when it keeps the reply for later, or is an `async def`, during which the actor handles nothing
    else. A `PropolisError` that it raises is a reply: the asker gets it. Anything else is a crash: the asker gets
    that too, and the supervisor decides about the actor. Without a supervisor a crashed actor ends.

    `on_start` runs on the loop before the first message; when it raises, that is a crash. `on_stop` runs at an
    orderly end, and only then; `on_failure` at every crash, before the supervisor hears of it. `on_end` runs last of
    all, however the actor ends.
    """

    handlers: ClassVar[Handlers] = {}

    announces_end: ClassVar[bool] = True
    """Whether its supervisor's `on_child_ended` hears of an orderly end, too. Of any other end it always does."""

    actor_inbox: Cell

    host: Host
    """Clock, ids, randomness, threads."""

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> Ref[Self]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Start on the process's default actor loop, registered with pykka, without a supervisor.

        Any thread. `__init__` runs in the calling thread and its errors are the caller's.
        """
        return default_loop().spawn(cls, *args, register=True, **kwargs)

    def bind(self, cell: Cell) -> None:
        """Take a place behind a mailbox; before `__init__`, so that it may use the reference."""
        self.actor_inbox = cell  # pyright: ignore[reportIncompatibleVariableOverride]
        self.actor_stopped = cell.stopped  # type: ignore[assignment]
        self.host = cell.loop.host

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """The name of the actor, unique in the world and the same through restarts."""
        return self.actor_inbox.urn

    @property
    def _actor_ref(self) -> Ref[Any]:  # type: ignore[override] # pykka keeps it as a field; kept, it would be a cycle
        return self.actor_inbox.ref

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:  # not super().__init__(): bind() has done its work
        if "actor_inbox" not in self.__dict__:
            raise TypeError(f"{type(self).__name__} is started by start() or spawn(), not by calling the class")

    @property
    def called_by(self) -> str | None:
        """Of an execution that another one has called: the id of that. The supervision tree shows it."""
        return None

    @staticmethod
    def _create_actor_inbox() -> Mailbox:  # type: ignore[override]
        raise AssertionError("an AsyncioActor gets its mailbox from the loop that spawns it")

    @staticmethod
    def _create_future() -> Reply[Any]:
        return Reply()

    def _start_actor_loop(self) -> None:
        raise AssertionError("an AsyncioActor is run by the loop that spawns it")

    # -- receiving ---------------------------------------------------------------------------------------------------

    def on_receive(self, message: Any) -> Any:
        """Handle a message by the table; what is not in it becomes a dead letter."""
        handler = self.handlers.get(type(message))
        if handler is None:
            return self.on_unknown(message)
        return handler(self, message)

    def on_unknown(self, message: Any) -> Any:
        """A message that the table does not know. An asker is told by name."""
        current = self.actor_inbox.current
        if current is not None and current.reply_to is not None:
            from propolis.messages import MessageError  # noqa: PLC0415 - the rare path

            raise MessageError(
                reason="unknown_tag",
                tag=getattr(message, "tag", type(message).__name__),
                detail=f"{type(self).__name__} does not handle it",
            )
        self.actor_inbox.dead_letter(message, "unhandled")
        return None

    def handle_other(self, message: Any) -> Any:
        """The messages of pykka itself, which carry live objects and pass as they are."""
        if type(message) is ProxyCall:
            return get_attr_directly(self, message.attr_path)(*message.args, **message.kwargs)
        if type(message) is ProxyGetAttr:
            return get_attr_directly(self, message.attr_path)
        if type(message) is ProxySetAttr:
            parent = get_attr_directly(self, message.attr_path[:-1]) if len(message.attr_path) > 1 else self
            name = message.attr_path[-1]  # pyright: ignore[reportGeneralTypeIssues] # it is never empty
            return setattr(parent, name, message.value)
        return self.on_receive(message)

    def keep_reply(self) -> Reply[Any] | None:
        """The reply slot of the message at hand, to be set later by a handler that returns `LATER`."""
        current = self.actor_inbox.current
        return None if current is None else current.reply_to

    def on_end(self) -> None:
        """The actor ends for good. The place to answer whoever hangs on what is `kept`.

        This instance may have crashed, and wait for a restart that will not come: what else it holds may be in
        disorder.
        """

    # -- sending -----------------------------------------------------------------------------------------------------

    def request(
        self,
        ref: pykka.ActorRef[Any],
        message: Request[R] | Encoded,
        then: Callable[[R], object],
        failed: Callable[[BaseException], object] | None = None,
    ) -> Reply[R]:
        """Ask without waiting: `then(answer)` runs as a turn of this actor's own, ahead of its user messages.

        `failed(error)` gets an error answer; without it an error answer crashes this actor. Neither runs when this
        actor has crashed or stopped in the meantime.
        """
        asked = Asked(then, failed, self)
        send_to(ref, message, asked, ())  # nobody waits: no part of a chain of asks
        return asked

    def follow(
        self, reply: Reply[R], then: Callable[[R], object], failed: Callable[[BaseException], object] | None = None
    ) -> None:
        """As `request`, for a reply that somebody else has made."""
        reply.on_done(Continuation(reply, then, failed, self))

    def later(self, call: Callable[[], None]) -> None:
        """Run a function as a turn of this actor's own, soon; not when it has crashed or stopped in the meantime."""
        self.actor_inbox.send_call(call, self)

    # -- family ------------------------------------------------------------------------------------------------------

    def spawn(self, actor_class: type[A], *args: Any, name: str, register: bool = False, **kwargs: Any) -> Ref[A]:
        """Start a child. This actor is its supervisor."""
        cell = self.actor_inbox
        return cell.loop.spawn(actor_class, *args, parent=cell, name=name, register=register, **kwargs)

    def children(self) -> dict[str, Ref[Any]]:
        """The living children by name. They survive a restart of this actor."""
        return {name: child.ref for name, child in (self.actor_inbox.children or {}).items()}

    def kept(self, key: str, make: Callable[[], R]) -> R:
        """Something that outlives this instance: made once, found again after a restart."""
        cell = self.actor_inbox
        if cell.kept is None:
            cell.kept = {}
        if key not in cell.kept:
            cell.kept[key] = make()
        return cast(R, cell.kept[key])

    def watch(self, ref: Ref[Any], on_death: Callable[[Failure | None], None]) -> None:
        """Death watch: `on_death(reason)` runs once as a turn of this actor's when that one ends for good.

        None is the reason of an orderly stop.
        """
        cell = self.actor_inbox

        def heard(reason: Failure | None) -> None:
            if cell.actor is self:
                cell.send_call(lambda: on_death(reason), self)

        ref.actor_inbox.watch(heard)

    def on_child_failure(self, child: Ref[Any], failure: Failure) -> None:
        """A child crashed and waits for what this actor decides. The default stops it; see `Supervisor`."""
        child.actor_inbox.terminate(failure)

    def on_child_ended(self, child: Ref[Any], failure: Failure | None) -> None:
        """A child has ended for good; None after an orderly stop. Heard once."""

    def stop_now(self) -> None:
        """End in this turn; what waits in the mailbox is refused."""
        self.actor_inbox.stop()
