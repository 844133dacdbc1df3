"""`Probe`: an actor that collects what it is told, for a test to look at."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar, overload

import pykka
from pykka.messages import _ActorStop

from propolis.actors import Reply
from propolis.messages import Event

__all__ = ["Probe"]

M = TypeVar("M")


class Probe:
    """Collects messages and events, from any thread, and lets the test wait for them.

    It has a reference (`probe.ref`) for `tell`, `ask` and `subscribe`, and can be called with one item like a handler.
    The actor behind the reference has no thread: what it was told is there when `tell` returns.

        def refuse(ctx, input):
            raise NonRetryable("not today")

        probe = Probe()
        with Runtime() as runtime:
            runtime.subscribe("execution_failed", probe.ref).get()
            stream = runtime.open_stream(EntryPoint(id="refusing"), refuse).get()
            execution_id = stream.execute({"n": 1}).get()
            event = probe.expect("execution_failed", timeout=5)
            assert execution_id == event.execution_id

    An asker gets `answer(message)`, by default None. Nothing has to be closed.
    """

    def __init__(self, answer: Callable[[Any], Any] = lambda _: None) -> None:
        self._answer = answer
        self._received: list[Any] = []
        self._waiting: list[Any] = []
        self._changed = threading.Condition()
        self._actor = _Collector(self)

    @property
    def ref(self) -> pykka.ActorRef[Any]:
        """The reference to send to. Not in pykka's registry."""
        return self._actor.actor_ref

    @property
    def received(self) -> tuple[Any, ...]:
        """Everything so far, in order, expected or not."""
        with self._changed:
            return tuple(self._received)

    def __call__(self, item: Any) -> None:
        """Take an item."""
        with self._changed:
            self._received.append(item)
            self._waiting.append(item)
            self._changed.notify_all()

    @overload
    def expect(self, wanted: type[M], *, where: Callable[[M], bool] | None = None, timeout: float = 5.0) -> M: ...
    @overload
    def expect(self, wanted: str, *, where: Callable[[Event], bool] | None = None, timeout: float = 5.0) -> Event: ...

    def expect(self, wanted: Any, *, where: Callable[[Any], bool] | None = None, timeout: float = 5.0) -> Any:
        """Take out the first item of a class, or event of a type; waits up to `timeout` seconds for it.

        `where` says more about it. What does not match stays for later calls.

        Raises:
            AssertionError: no such item in time; says what there was instead.
        """
        found: list[int] = []

        def look() -> bool:
            found[:] = [i for i, item in enumerate(self._waiting) if _fits(item, wanted, where)][:1]
            return bool(found)

        with self._changed:
            if not self._changed.wait_for(look, timeout):
                raise AssertionError(f"no {_name(wanted)} within {timeout:g} s, but {_listed(self._waiting)}")
            return self._waiting.pop(found[0])

    def expect_none(
        self,
        wanted: type | str = object,
        *,
        where: Callable[[Any], bool] | None = None,
        within: float = 0.0,
    ) -> None:
        """Nothing of that class or event type is there, and none comes `within` seconds. By default: nothing at all.

        Raises:
            AssertionError: there is one.
        """
        with self._changed:
            unwanted = self._changed.wait_for(lambda: any(_fits(item, wanted, where) for item in self._waiting), within)
            if unwanted:
                raise AssertionError(f"no {_name(wanted)} was expected, but there is {_listed(self._waiting)}")


class _Inbox:
    """Where pykka puts envelopes: handled at once, in the thread that puts them."""

    def __init__(self, probe: Probe, collector: _Collector) -> None:
        self._probe = probe
        self._collector = collector

    def put(self, envelope: Any, /) -> None:
        message, reply = envelope.message, envelope.reply_to
        if isinstance(message, _ActorStop):
            self._collector.actor_stopped.set()
            answer = None
        else:
            self._probe(message)
            try:
                answer = self._probe._answer(message)
            except Exception:  # noqa: BLE001 - the asker's, as with any actor
                if reply is not None:
                    reply.set_exception()
                return
        if reply is not None:
            reply.set(answer)

    def get(self) -> Any:
        raise queue.Empty

    def empty(self) -> bool:
        return True


class _Collector(pykka.Actor):
    """The actor behind a probe's reference."""

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self.actor_inbox = _Inbox(probe, self)
        self._actor_ref = pykka.ActorRef(self)  # again: the first one holds the inbox made by pykka

    @staticmethod
    def _create_actor_inbox() -> Any:
        return queue.SimpleQueue()

    @staticmethod
    def _create_future() -> Reply[Any]:
        return Reply()

    def _start_actor_loop(self) -> None:
        raise AssertionError("a probe's actor has nothing to run")


def _fits(item: Any, wanted: Any, where: Callable[[Any], bool] | None) -> bool:
    right = isinstance(item, Event) and item.type == wanted if isinstance(wanted, str) else isinstance(item, wanted)
    return right and (where is None or where(item))


def _name(wanted: Any) -> str:
    return f"event {wanted!r}" if isinstance(wanted, str) else str(getattr(wanted, "__name__", wanted))


def _listed(items: list[Any]) -> str:
    return "; ".join(f"{item!r:.200}" for item in items) or "nothing"
