"""`Runtime`: the front door. Composes everything, starts it, and ends it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pykka

from propolis.actors import (
    ActorLoop,
    AsyncioPlacement,
    EntryPoint,
    EventActor,
    HandlerSubscriber,
    Host,
    OpenedStream,
    QueueSubscriber,
    Ref,
    RefSubscriber,
    Reply,
    RuntimeActor,
    RuntimeConfig,
    Services,
    SessionActor,
    Store,
    StoreThreads,
    Subscriber,
    ThreadPlacement,
    open_store,
)
from propolis.messages import (
    DeleteSession,
    EventFilter,
    ExecutionContext,
    ExecutionResult,
    ExecutionStatus,
    Failure,
    ForkedRuntime,
    GetSession,
    GetTree,
    InvalidInput,
    ReplayExecution,
    RuntimeStats,
    RuntimeStopped,
    SessionNotFound,
    SessionRecord,
    SessionStatus,
    StreamEnded,
    StreamNotFound,
    SupervisionTree,
)

from .calls import Call, call, call_method
from .following import EventStream
from .stream import Stream

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Runtime"]

logger = logging.getLogger("propolis")


class Runtime:
    """Runs streams over one store.

    `store` is "memory:", or "sqlite:///file.db" (relative), "sqlite:////folder/file.db"; or a
    function that is called with the Host and opens a store, on the thread that commits. Use it as a context manager,
    `with` or `async with`; or call `start()` and `stop()`. Every call may be made from any thread and any event loop,
    and returns a `Call` that is awaited or `.get()`; none blocks by itself.

    Threads: one for all actors, one that commits, one that reads the store, one event loop for async executors, and
    one for each blocking executor that runs.
    """

    def __init__(
        self,
        store: str | Callable[[Host], Store] = "memory:",
        *,
        config: RuntimeConfig | None = None,
        host: Host | None = None,
    ) -> None:
        if not isinstance(store, str) and not callable(store):
            raise InvalidInput(what="store", reason=f"{store!r} is no URL", remedy='Pass "sqlite:///name.db".')
        self.store = store
        self.config = config if config is not None else RuntimeConfig()
        self._host = host if host is not None else Host()
        self._pid = os.getpid()
        self._changing = threading.Lock()
        self._engine: _Engine | None = None
        self._stopped: Call[tuple[str, ...]] | None = None
        self._reason = "not started"

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self) -> Call[Runtime]:
        """Open the store and start the actors. The reply comes when the runtime can be used.

        Raises (from the reply):
            InvalidInput: the store's URL.
            StoreCorrupt, StoreTooNew, StoreUnavailable: the store.
        """
        if self._engine is not None:
            self._check_process()
        with self._changing:
            if self._engine is not None and self._stopped is not None:
                return _then(_settled(self._stopped), lambda _: self.start())
            if self._engine is None:
                self._pid = os.getpid()
                self._engine = _Engine(self.store, self.config, self._host, self._failed)
                self._stopped = None
                self._reason = "stopping"
            engine = self._engine
        reply: Call[Runtime] = Call()

        def started() -> None:
            try:
                engine.ready.result()
            except Exception as error:  # noqa: BLE001 - whatever keeps it from starting is the caller's
                self._close(engine, cancel=False, grace=0.0, reason=f"not started: {error}")
                reply.offer_error(error)
            else:
                reply.set(self)

        engine.ready.on_done(started)
        return reply

    def stop(self, cancel: bool = False, *, grace: float | None = None) -> Call[tuple[str, ...]]:  # noqa: FBT001, FBT002 - the contract's
        """Admit nothing, interrupt, wait `grace` seconds, release everything; the reply names the stragglers.

        Nothing becomes cancelled by it: what was pending or running stays so in the store, and the next runtime on it
        goes on. Waiters get RuntimeStopped. With `cancel` it all ends as cancelled. A second call gets the same reply.
        """
        if self._engine is not None:
            self._check_process()
        with self._changing:
            engine = self._engine
            if engine is None:
                done: Call[tuple[str, ...]] = Call()
                done.set(())
                return done
        return self._close(engine, cancel=cancel, grace=self.config.grace_seconds if grace is None else grace)

    def drain(self, timeout: float | None = None) -> Call[tuple[str, ...]]:
        """Admit nothing new, finish what was admitted, for at most `timeout` seconds; the reply names what did not end."""
        return self._method("drain", timeout)

    def _failed(self, engine: _Engine, failure: Failure | None) -> None:
        reason = "stopped" if failure is None else f"stopped because it failed: {failure.kind}: {failure.message}"
        self._close(engine, cancel=False, grace=0.0, reason=reason)

    def _close(self, engine: _Engine, *, cancel: bool, grace: float, reason: str = "stopped") -> Call[tuple[str, ...]]:
        with self._changing:
            if self._engine is engine and self._stopped is not None:
                return self._stopped
            reply: Call[tuple[str, ...]] = Call()
            self._stopped = reply
            self._reason = reason

        def close() -> None:
            failure: BaseException | None = None
            stragglers: tuple[str, ...] = ()
            try:
                stragglers = engine.close(cancel=cancel, grace=grace)
            except BaseException as error:  # noqa: BLE001 - the caller of stop() hears of it; nobody else would
                failure = error
            with self._changing:
                if self._engine is engine:
                    self._engine = None
            if failure is not None:
                reply.set_error(failure)
            else:
                reply.set(stragglers)

        self._host.spawn_thread("propolis-closer", close)
        return reply

    def __enter__(self) -> Self:
        self.start().get()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop().get()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # -- streams -----------------------------------------------------------------------------------------------------

    def open_stream(self, entry_point: EntryPoint, executor: Any) -> Call[Stream]:
        """Open an entry point; the reply comes when it has taken over what was left unfinished and admits work.

        `executor`: a function `(ctx, input)`, `async def` or `def`, or a class with such a method `execute`.

        Raises (from the reply):
            InvalidInput: the executor, or its placement.
            DuplicateStream: one of that id is open.
        """
        try:  # here and not in the root: looking at an executor runs code of the user's, which may raise anything
            plan = self._running().services.plan_stream(entry_point, executor)
        except (RuntimeStopped, ForkedRuntime):
            raise
        except Exception as error:  # noqa: BLE001 - it is the caller's
            refused: Call[Stream] = Call()
            refused.set_error(error)
            return refused
        return self._method("open_stream", plan, convert=self._stream)

    def _stream(self, opened: OpenedStream) -> Stream:
        engine = self._running()
        known = engine.streams.get(opened.plan.entry_point.id)
        if known is None or known.ref != opened.ref:  # the one before it may have been stopped by its reference
            known = engine.streams[opened.plan.entry_point.id] = Stream(self, opened)
        return known

    def close_stream(self, stream_id: str, *, cancel: bool = False, grace: float | None = None) -> Call[StreamEnded]:
        """Stop a stream and forget it. Raises StreamNotFound."""
        engine = self._running()
        engine.streams.pop(stream_id, None)
        return self._method("close_stream", stream_id, cancel, self.config.grace_seconds if grace is None else grace)

    def stream(self, stream_id: str) -> Stream | None:
        """The stream of that id; None when none is open."""
        return self._running().stream(stream_id)

    def streams(self) -> tuple[Stream, ...]:
        """All open streams."""
        engine = self._running()
        return tuple(stream for stream in list(engine.streams.values()) if stream.ref.is_alive())

    def trigger(self, entry_point_id: str, input_data: Any = None, **options: Any) -> Call[str]:
        """`execute()` on the stream of that id. Raises StreamNotFound."""
        return self._named(entry_point_id).execute(input_data, **options)

    def trigger_and_wait(
        self, entry_point_id: str, input_data: Any = None, *, timeout: float | None = None, **options: Any
    ) -> Call[ExecutionResult | None]:
        """`run()` on the stream of that id; None when it has not ended within `timeout` seconds. Raises StreamNotFound."""
        stream = self._named(entry_point_id)
        if timeout is None:
            return stream.run(input_data, **options)
        return _then(stream.execute(input_data, **options), lambda id: stream.wait_for_completion(id, timeout))

    def _named(self, stream_id: str) -> Stream:
        stream = self.stream(stream_id)
        if stream is None:
            raise StreamNotFound(stream_id=stream_id, known=tuple(stream.id for stream in self.streams()))
        return stream

    # -- events ------------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        types: str | Iterable[str],
        handler_or_ref: Callable[[Any], Any] | pykka.ActorRef[Any],
        *,
        stream: str | None = None,
        node: str | None = None,
        execution: str | None = None,
        graph: str | None = None,
    ) -> Call[str]:
        """Get events of these types (none: all) from now on; the reply is the id of the subscription.

        An actor gets them as messages. A function is called with one event after the other, an `async def` on the
        event loop of executors, a `def` on a thread. Each subscriber has a queue of its own of
        `RuntimeConfig.subscriber_queue` events; when that overflows the oldest go, and it gets an `EventsMissed`.
        """
        engine = self._running()
        filter = _filter(types, stream, node, execution, graph)
        limit = self.config.subscriber_queue
        subscriber: Subscriber
        if isinstance(handler_or_ref, pykka.ActorRef):
            subscriber = RefSubscriber(filter, handler_or_ref, limit)
        elif callable(handler_or_ref):
            subscriber = HandlerSubscriber(filter, handler_or_ref, limit, engine.runner_for(handler_or_ref))
        else:
            reason = f"{handler_or_ref!r} is neither a function nor an actor's reference"
            raise InvalidInput(what="subscribe", reason=reason, remedy="Pass one of these.")
        return call_method(self.events_ref, "subscribe", subscriber, what="The runtime")

    def unsubscribe(self, subscription_id: str) -> Call[bool]:
        """End a subscription. False when there is none of that id."""
        return call_method(self.events_ref, "unsubscribe", subscription_id, what="The runtime")

    def events(
        self,
        after: int | None = None,
        *,
        types: str | Iterable[str] = (),
        stream: str | None = None,
        node: str | None = None,
        execution: str | None = None,
        graph: str | None = None,
    ) -> EventStream:
        """Iterate (`for` or `async for`) over the events of the whole store after `seq` number `after`, then follow.

        0 replays everything, None begins now. No gap, no repeat.
        """
        engine = self._running()
        if after is not None and (isinstance(after, bool) or not isinstance(after, int) or after < 0):
            raise InvalidInput(
                what="after", reason=f"{after!r} is no seq", remedy="Pass the seq of an event, 0, or None."
            )
        filter = _filter(types, stream, node, execution, graph)
        if after is None and engine.threads.store is not None:
            after = engine.threads.read(lambda store: store.last_seq()).get()
        queue = QueueSubscriber(filter, self.config.subscriber_queue)
        subscribed: Call[str] = call_method(self.events_ref, "subscribe", queue, what="The runtime")
        events_ref = self.events_ref
        return EventStream(
            engine.threads,
            filter,
            after,
            queue,
            subscribed,
            lambda id: call_method(events_ref, "unsubscribe", id, what="The runtime"),
        )

    # -- records -----------------------------------------------------------------------------------------------------

    def session(self, session_id: str) -> Call[SessionRecord | None]:
        """A session as the store has it; None when there is none."""
        return call(
            self.sessions_ref, GetSession(session_id=session_id), what="The runtime", timeout=self.config.ask_timeout
        )

    def sessions(
        self, *, status: SessionStatus | None = None, stream: str | None = None, limit: int = 100
    ) -> Call[tuple[SessionRecord, ...]]:
        """Sessions of the store, the last opened or resumed first."""
        return self._read(lambda store: store.list_sessions(status=status, stream=stream, limit=limit))

    def quarantined(self, *, limit: int = 100) -> Call[tuple[SessionRecord, ...]]:
        """Sessions whose execution failed until its restarts were used up."""
        return self._read(lambda store: store.list_sessions(quarantined=True, limit=limit))

    def executions(
        self,
        *,
        stream: str | None = None,
        status: ExecutionStatus | None = None,
        session: str | None = None,
        limit: int = 100,
    ) -> Call[tuple[ExecutionContext, ...]]:
        """Executions of the store, the last accepted first."""

        def read(store: Any) -> tuple[ExecutionContext, ...]:
            rows = store.list_executions(stream=stream, status=status, session=session, limit=limit)
            return tuple(ExecutionContext.of(spec, state) for spec, state in rows)

        return self._read(read)

    def delete_session(self, session_id: str) -> Call[bool]:
        """Delete a session with its executions and events. False when there is none.

        Raises SessionBusy while an execution of it has not ended.
        """
        return call(self.sessions_ref, DeleteSession(session_id=session_id), what="The runtime")

    def replay(self, session_id: str) -> Call[str]:
        """Give a failed (quarantined) session's execution a new budget of restarts and run it again; its id.

        Raises:
            SessionNotFound: no such session.
            SessionBusy: its execution has not failed.
            StreamNotFound: the stream that it belongs to is not open here.
        """

        def replay(record: SessionRecord | None) -> Call[str]:
            if record is None:
                raise SessionNotFound(session_id=session_id)
            stream = self._named(record.stream_id)
            request = ReplayExecution(session_id=session_id)
            return call(stream.ref, request, what="The runtime", convert=lambda accepted: str(accepted.execution_id))

        return _then(self.session(session_id), replay)

    # -- looking -----------------------------------------------------------------------------------------------------

    def stats(self) -> Call[RuntimeStats]:
        """The runtime and its streams at this moment."""
        return self._method("stats", timeout=self.config.ask_timeout)

    def supervision_tree(self, limit: int = 100) -> Call[SupervisionTree]:
        """The actors, parents before children, at most `limit` children of one parent."""
        return call(self.ref, GetTree(limit=limit), what="The runtime", timeout=self.config.ask_timeout)

    @property
    def ref(self) -> Ref[RuntimeActor]:
        """The root's reference."""
        return self._running().root

    @property
    def sessions_ref(self) -> Ref[SessionActor]:
        """The SessionActor's reference, for `StreamActor.start(...)`."""
        sessions = self._running().services.sessions
        assert sessions is not None
        return sessions

    @property
    def events_ref(self) -> Ref[EventActor]:
        """The EventActor's reference, for `StreamActor.start(...)`."""
        return self._running().services.events

    def __repr__(self) -> str:
        return f"<Runtime on {self.store}>"

    # -- inside ------------------------------------------------------------------------------------------------------

    def check_usable(self) -> None:
        """Raise RuntimeStopped or ForkedRuntime when it is not."""
        self._running()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedRuntime(parent_pid=self._pid)

    def _running(self) -> _Engine:
        self._check_process()
        engine = self._engine
        if engine is None or self._stopped is not None or not engine.ready.done():
            raise RuntimeStopped(reason=self._reason if engine is None or self._stopped is not None else "starting")
        return engine

    def _method(
        self, name: str, *args: Any, convert: Callable[[Any], Any] | None = None, timeout: float | None = None
    ) -> Call[Any]:
        return call_method(self.ref, name, *args, what="The runtime", convert=convert, timeout=timeout)

    def _read(self, job: Callable[[Any], Any]) -> Call[Any]:
        reply: Call[Any] = Call()
        _pass_on(self._running().threads.read(job), reply)
        return reply


class _Engine:
    """What lives from one start to the next stop."""

    def __init__(
        self,
        store: str | Callable[[Host], Store],
        config: RuntimeConfig,
        host: Host,
        failed: Callable[[_Engine, Failure | None], None],
    ) -> None:
        self.host = host
        self.ready: Reply[Services] = Reply()
        self.streams: dict[str, Stream] = {}
        self.loop = ActorLoop(host, mailbox_limit=config.mailbox_limit).start()
        self.threads = StoreThreads(
            host, lambda: open_store(store, host=host) if isinstance(store, str) else store(host)
        )
        self.asyncio_placement = AsyncioPlacement(host, config.max_payload_bytes)
        self.thread_placement = ThreadPlacement(host, config.max_payload_bytes)
        self.root = self.loop.spawn(
            RuntimeActor,
            config,
            self.threads,
            self.asyncio_placement,
            self.thread_placement,
            self.ready,
            name="runtime",
            register=True,
        )
        # on the loop, where a root that ends at once cannot slip through, and this thread's lock is not taken twice
        self.loop.post(self.root.actor_inbox.watch, lambda failure: failed(self, failure))

    @property
    def services(self) -> Services:
        return self.ready.result()

    def stream(self, stream_id: str) -> Stream | None:
        stream = self.streams.get(stream_id)
        return stream if stream is not None and stream.ref.is_alive() else None

    def runner_for(self, handler: Any) -> Any:
        import inspect  # noqa: PLC0415

        is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)
        )
        return self.asyncio_placement.run if is_async else self.thread_placement.run

    def close(self, *, cancel: bool, grace: float) -> tuple[str, ...]:
        """End everything, in order: streams, actors, user code, store, loop. Blocks; on a thread of its own."""
        stragglers: tuple[str, ...] = ()
        try:
            stragglers = call_method(self.root, "shutdown", cancel, grace, what="The runtime").get()
        except RuntimeStopped:
            pass  # the root is gone already: it failed, or somebody stopped it through pykka
        except Exception:
            logger.exception("The runtime could not stop in an orderly way; what it owned is released all the same")
        self.root.stop()
        owner = self.ready.result().owner if self._is_ready() else None
        if owner is not None:
            self._release(owner)
        self.asyncio_placement.close(timeout=1.0)
        self.thread_placement.close(timeout=0.2)
        self.threads.close()
        self.loop.stop()
        return stragglers

    def _is_ready(self) -> bool:
        try:
            self.ready.result()
        except (KeyError, Exception):  # noqa: BLE001
            return False
        return True

    def _release(self, owner: str) -> None:
        """Once more, for a root that had no time to: doing it twice changes nothing."""
        try:
            self.threads.write(lambda store: store.release(owner)).get()
        except Exception:  # noqa: BLE001 - the store is away; the next runtime sees that this process has ended
            return


def _filter(
    types: str | Iterable[str], stream: str | None, node: str | None, execution: str | None, graph: str | None
) -> EventFilter:
    names: Sequence[Any] = (types,) if isinstance(types, str) else tuple(types)
    for name in names:
        if not isinstance(name, str):
            raise InvalidInput(what="event types", reason=f"{name!r} is no str", remedy="Pass names of event types.")
    return EventFilter(types=tuple(names), stream=stream, node=node, execution=execution, graph=graph)


def _pass_on(source: Reply[Any], target: Reply[Any]) -> None:
    def arrived() -> None:
        try:
            value = source.result()
        except Exception as error:  # noqa: BLE001 - passed on, whatever it is
            target.offer_error(error)
        else:
            target.set(value)

    source.on_done(arrived)


def _settled(first: Reply[Any]) -> Reply[None]:
    """A reply that comes when `first` does, whatever that says."""
    reply: Reply[None] = Reply()
    first.on_done(lambda: reply.set(None))
    return reply


def _then(first: Reply[Any], go_on: Callable[[Any], Reply[Any]]) -> Call[Any]:
    """A call that goes on with another one when the first is answered."""
    reply: Call[Any] = Call()

    def arrived() -> None:
        try:
            second = go_on(first.result())
        except Exception as error:  # noqa: BLE001 - passed on, whatever it is
            reply.offer_error(error)
        else:
            _pass_on(second, reply)

    first.on_done(arrived)
    return reply
