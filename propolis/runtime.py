"""`Runtime`: the front door. Composes everything, starts it, and ends it."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

from propolis.actors import (
    EntryPoint,
    Goal,
    Host,
    OpenedStream,
    RuntimeConfig,
    Store,
)
from propolis.messages import (
    ExecutionResult,
    ExtraMissing,
    Failure,
    ForkedRuntime,
    InvalidInput,
    RuntimeStopped,
    StreamEnded,
    StreamNotFound,
)

from .calls import Call, settled, then
from .checks import flag, real_threads, seconds, text
from .engine import Engine
from .looking import Looking
from .otel import Tracing
from .sharing import Sharing
from .stream import Options, Stream

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Runtime"]


class Runtime(Looking, Sharing):
    """Runs streams over one store.

    `store` is "memory:", or "sqlite:///file.db" (relative), "sqlite:////folder/file.db"; or a
    function that is called with the Host and opens a store, on the thread that commits. Use it as a context manager,
    `with` or `async with`; or call `start()` and `stop()`. Every call may be made from any thread and any event loop,
    and returns a `Call` that is awaited or `.get()`; none blocks by itself.

    Threads: one for all actors, one that commits, one that reads the store, one event loop for async executors, and
    one for each blocking executor that runs; one for worker processes, when a stream asks for them; one that makes
    spans, with a `tracer_provider` of OpenTelemetry or `RuntimeConfig.tracing`.
    """

    def __init__(
        self,
        store: str | Callable[[Host], Store] = "memory:",
        *,
        config: RuntimeConfig | None = None,
        host: Host | None = None,
        tracer_provider: Any = None,
    ) -> None:
        if not isinstance(store, str) and not callable(store):
            raise InvalidInput(what="store", reason=f"{store!r} is no URL", remedy='Pass "sqlite:///name.db".')
        for what, given, kind in (("config", config, RuntimeConfig), ("host", host, Host)):
            if given is not None and not isinstance(given, kind):
                reason, remedy = f"{given!r:.200} is no {kind.__name__}", f"Pass {kind.__name__}(...)."
                raise InvalidInput(what=what, reason=reason, remedy=remedy)
        self.store = store
        self.config = config if config is not None else RuntimeConfig()
        if tracer_provider is not None and not self.config.tracing:
            self.config = self.config.model_copy(update={"tracing": True})
        self._tracer_provider = tracer_provider
        self._host = host if host is not None else Host()
        self._pid = os.getpid()
        self._changing = threading.RLock()  # a signal's handler may stop it, in the middle of whatever this thread does
        self._engine: Engine | None = None
        self._streams: dict[str, Stream] = {}
        self._lost: weakref.finalize[..., Runtime] | None = None
        self._stopped: Call[tuple[str, ...]] | None = None
        self._reason = "not started"

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self) -> Call[Runtime]:
        """Open the store and start the actors. The reply comes when the runtime can be used.

        Raises (from the reply):
            InvalidInput: the store's URL; or the process has no threads of the system's, but gevent's.
            StoreCorrupt, StoreTooNew, StoreUnavailable: the store.
            ExtraMissing: spans are asked for, and OpenTelemetry is not installed.
        """
        if self._engine is not None:
            self._check_process()
        with self._changing:
            if self._engine is not None and self._stopped is not None:
                return then(settled(self._stopped), lambda _: self.start())
            if self._engine is None:
                self._pid = os.getpid()
                try:
                    real_threads()
                    tracing = Tracing(self._tracer_provider, self._host) if self.config.tracing else None
                except (ExtraMissing, InvalidInput) as error:
                    refused: Call[Runtime] = Call()
                    refused.set_error(error)
                    return refused
                self._streams = {}
                self._engine = Engine(self.store, self.config, self._host, _when_failed(self), tracing)
                self._lost = self._host.when_lost(self, _tell_lost, repr(self), self._pid)
                self._stopped = None
                self._reason = "stopping"
            engine = self._engine
        reply: Call[Runtime] = Call()

        def started() -> None:
            try:
                engine.usable.result()
            except Exception as error:  # noqa: BLE001 - whatever keeps it from starting is the caller's
                self._close(engine, cancel=False, grace=0.0, reason=f"not started: {error}")
                reply.offer_error(error)
            else:
                reply.set(self)

        engine.usable.on_done(started)
        return reply

    def stop(self, cancel: bool = False, *, grace: float | None = None) -> Call[tuple[str, ...]]:
        """Admit nothing, interrupt, wait `grace` seconds, release everything; the reply names the stragglers.

        Nothing becomes cancelled by it: what was pending or running stays so in the store, and the next runtime on it
        goes on. Waiters get RuntimeStopped. With `cancel` it all ends as cancelled. A second call gets the same reply.
        A store that cannot be written to is waited for besides, for about 20 seconds: what ran has its end to commit.
        """
        flag("cancel", cancel)
        patience = self.config.grace_seconds if grace is None else seconds("grace", grace)
        if self._engine is not None:
            self._check_process()
        with self._changing:
            engine = self._engine
            if engine is None:
                done: Call[tuple[str, ...]] = Call()
                done.set(())
                return done
        return self._close(engine, cancel=cancel, grace=patience or 0.0)

    def drain(self, timeout: float | None = None) -> Call[tuple[str, ...]]:
        """Admit nothing new, finish what was admitted, for at most `timeout` seconds; names what did not end."""
        return self._method("drain", seconds("timeout", timeout))

    def _failed(self, engine: Engine, failure: Failure | None) -> None:
        reason = "stopped" if failure is None else f"stopped because it failed: {failure.kind}: {failure.message}"
        self._close(engine, cancel=False, grace=0.0, reason=reason)

    def _close(self, engine: Engine, *, cancel: bool, grace: float, reason: str = "stopped") -> Call[tuple[str, ...]]:
        with self._changing:
            if self._engine is engine and self._stopped is not None:
                return self._stopped
            if self._lost is not None:
                self._lost.detach()
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
        starting = self.start()
        try:
            starting.get()
        except BaseException:
            self.stop()  # interrupted, perhaps: nobody else would
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop().get()

    async def __aenter__(self) -> Self:
        starting = self.start()
        try:
            await starting
        except BaseException:
            self.stop()  # cancelled, perhaps: nobody else would
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # -- streams -----------------------------------------------------------------------------------------------------

    def open_stream(self, entry_point: EntryPoint, executor: Any, *, goal: Goal | None = None) -> Call[Stream]:
        """Open an entry point; the reply comes when it has taken over what was left unfinished and admits work.

        `executor`: a function `(ctx, input)`, `async def` or `def`, or a class with such a method `execute`. `goal`:
        what its executions are there to bring about, together with those of other streams that are given the same one.

        Raises (from the reply):
            InvalidInput: the executor, its placement, or the goal, which is open with another definition.
            DuplicateStream: one of that id is open.
        """
        try:  # here and not in the root: looking at an executor runs code of the user's, which may raise anything
            plan = self._running().services.plan_stream(entry_point, executor, goal)
        except (RuntimeStopped, ForkedRuntime):
            raise
        except Exception as error:  # noqa: BLE001 - it is the caller's
            refused: Call[Stream] = Call()
            refused.set_error(error)
            return refused
        return self._method("open_stream", plan, convert=self._stream)

    def _stream(self, opened: OpenedStream) -> Stream:
        known = self._streams.get(opened.plan.entry_point.id)
        if known is None or known.ref != opened.ref:  # the one before it may have been stopped by its reference
            known = self._streams[opened.plan.entry_point.id] = Stream(self, opened)
        return known

    def close_stream(self, stream_id: str, *, cancel: bool = False, grace: float | None = None) -> Call[StreamEnded]:
        """Stop a stream and forget it. Raises StreamNotFound."""
        patience = self.config.grace_seconds if grace is None else seconds("grace", grace)
        closing = self._method("close_stream", text("stream_id", stream_id), flag("cancel", cancel), patience)
        self._streams.pop(stream_id, None)
        return closing

    def stream(self, stream_id: str) -> Stream | None:
        """The stream of that id; None when none is open."""
        self._running()
        stream = self._streams.get(text("stream_id", stream_id))
        return stream if stream is not None and stream.ref.is_alive() else None

    def streams(self) -> tuple[Stream, ...]:
        """All open streams."""
        self._running()
        return tuple(stream for stream in list(self._streams.values()) if stream.ref.is_alive())

    def trigger(self, entry_point_id: str, input_data: Any = None, **options: Unpack[Options]) -> Call[str]:
        """`execute()` on the stream of that id. Raises StreamNotFound."""
        return self._named(entry_point_id).execute(input_data, **options)

    def trigger_and_wait(
        self, entry_point_id: str, input_data: Any = None, *, timeout: float | None = None, **options: Unpack[Options]
    ) -> Call[ExecutionResult | None]:
        """`run()` on the stream of that id; None when `timeout` seconds were not enough. Raises StreamNotFound."""
        stream = self._named(entry_point_id)
        patience = seconds("timeout", timeout)  # before anything is accepted
        return then(stream.execute(input_data, **options), lambda id: stream.wait_for_completion(id, patience))

    def _named(self, stream_id: str) -> Stream:
        stream = self.stream(stream_id)
        if stream is None:
            raise StreamNotFound(stream_id=stream_id, known=tuple(stream.id for stream in self.streams()))
        return stream

    def __repr__(self) -> str:
        return f"<Runtime on {self.store}>"

    # -- inside ------------------------------------------------------------------------------------------------------

    def check_usable(self) -> None:
        """Raise RuntimeStopped or ForkedRuntime when it is not."""
        self._running()

    def trace_here(self) -> str | None:
        """The traceparent of the caller's span, where spans are made and there is one."""
        engine = self._engine
        return None if engine is None or engine.tracing is None else engine.tracing.here()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedRuntime(parent_pid=self._pid)

    def _running(self) -> Engine:
        self._check_process()
        engine = self._engine
        if engine is None or self._stopped is not None or not engine.ready.done():
            raise RuntimeStopped(reason=self._reason if engine is None or self._stopped is not None else "starting")
        return engine


def _when_failed(runtime: Runtime) -> Callable[[Engine, Failure | None], None]:
    """What is called when the root has ended, and holds no Runtime: one that was lost is closed all the same."""
    known = weakref.ref(runtime)

    def failed(engine: Engine, failure: Failure | None) -> None:
        def close() -> None:
            engine.close(cancel=False, grace=0.0)

        runtime = known()
        if runtime is not None:
            runtime._failed(engine, failure)
        else:
            engine.host.spawn_thread("propolis-closer", close)

    return failed


def _tell_lost(runtime: str, pid: int) -> None:
    """A Runtime was lost, or its program ends, and nobody has stopped it. (A fork of the program did not start it.)"""
    if os.getpid() == pid:
        said = f"{runtime} was never stopped. Call its stop() and wait for the reply, or use it in a `with` block."
        warnings.warn(said, ResourceWarning, stacklevel=1)
