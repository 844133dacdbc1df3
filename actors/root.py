"""The RuntimeActor: the root supervisor. Opens the store, starts the others, watches the peers, and ends it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from propolis.messages import (
    AppendEvents,
    CloseStream,
    DrainStream,
    DuplicateStream,
    Event,
    Failure,
    GetStats,
    GetTree,
    LeaseWasLost,
    Payload,
    ReadInbox,
    RuntimeStats,
    RuntimeStopped,
    StartStream,
    StreamEnded,
    StreamNotFound,
    StreamStats,
    WakeMe,
)

from .alarms import wake
from .backlog import Backlog
from .config import RuntimeConfig
from .core import LATER, Handlers, Owed, Ref, Reply
from .goals import check_goal, pursue, pursue_no_more
from .lease import Lease
from .membership import Membership, OpenedStream
from .placements import AsyncioPlacement, ProcessPlacement, ThreadPlacement
from .records import EventActor, SessionActor, StateActor, StoreThreads
from .retention import RetentionActor, has_retention
from .services import Services
from .stores import Store
from .streams import StreamActor, StreamPlan
from .supervision import Supervisor
from .triggers import TRIGGERS
from .wakeup import WakeupActor

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["OpenedStream", "RuntimeActor"]

FLUSH_SECONDS = 6.0
"""How long an orderly stop waits for the last commits of a store that does not take them (its own retries: 5 s)."""


class RuntimeActor(Membership):
    """The root. Its methods are called through the proxy, by the front door; they carry live objects.

    When it fails, or a child of it fails too often, the runtime stops with that as the reason: everything that was
    accepted is in the store.
    """

    def __init__(
        self,
        config: RuntimeConfig,
        threads: StoreThreads,
        asyncio_placement: AsyncioPlacement,
        thread_placement: ThreadPlacement,
        process_placement: ProcessPlacement,
        ready: Reply[Services],
    ) -> None:
        super().__init__(config, threads)
        self.intensity = config.system_intensity
        self._placements = (asyncio_placement, thread_placement, process_placement)
        self._ready = ready
        self._owed = Owed()

    # -- beginning ---------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Open the store, on its thread; the rest follows when it is open."""
        self.actor_inbox.loop.on_dead_letter = self._on_dead_letter
        self.follow(self._threads.open(), self._opened, self._not_ready)

    def _opened(self, _: Store) -> None:
        self.join(self._registered, self._not_ready)

    def _registered(self, runtime_id: str) -> None:
        wakeups = self.spawn(WakeupActor, name="wakeups")
        events = self.spawn(EventActor, name="events")
        asyncio_placement, thread_placement, process_placement = self._placements
        store = self._threads.store
        services = Services(
            lease=Lease(runtime_id, self._config.lease_seconds, self.host),
            backlog=Backlog(store.name if store is not None else "", self._config.max_waiting_for_store),
            config=self._config,
            threads=self._threads,
            asyncio_placement=asyncio_placement,
            thread_placement=thread_placement,
            process_placement=process_placement,
            wakeups=wakeups,
            events=events,
        )
        services.sessions = sessions = self.spawn(SessionActor, services, name="sessions")
        services.state = self.spawn(StateActor, sessions, wakeups, self._threads, name="state")
        events.proxy().set_sessions(services.sessions)
        if has_retention(self._config):
            self.spawn(RetentionActor, self._config, self._threads, wakeups, name="retention")
        asyncio_placement.announce_by(self._append)
        self._services = services
        self.begin_looking()
        self._ready.set(services)

    def _not_ready(self, error: BaseException) -> None:
        if not isinstance(error, Exception):  # a SystemExit of the user's own: whoever waits is not to be ended by it
            error = RuntimeError(f"the store could not be opened: {error!r}")
        self._ready.offer_error(error)
        self.stop_now()

    # -- streams -----------------------------------------------------------------------------------------------------

    def open_stream(self, plan: StreamPlan, kind: type[StreamActor] = StreamActor) -> object:
        """Start a stream; the reply comes when it has recovered what was left and admits work."""
        services = self._running()
        entry_point = plan.entry_point
        if entry_point.id in self._streams:
            raise DuplicateStream(stream_id=entry_point.id)
        check_goal(services, plan)
        reply = self.keep_reply()
        ref = self.spawn(kind, plan, name=f"stream:{entry_point.id}", register=True)
        actor = ref.actor_inbox.instance()
        assert isinstance(actor, StreamActor)
        opened = OpenedStream(ref, actor.books, plan)
        self._streams[entry_point.id] = opened
        services.streams[entry_point.id] = ref
        plan.launcher.stream_opened()

        def failed(error: BaseException) -> None:
            if reply is not None:
                reply.offer_error(error)

        def ready(_: None) -> None:
            if reply is not None:
                reply.set(opened)

        def start() -> None:
            self.request(ref, StartStream(), lambda _: self._start_trigger(opened, ready, failed), failed)

        pursue(self, services, plan, start, failed)
        return LATER

    def _start_trigger(
        self, opened: OpenedStream, then: Callable[[None], object], failed: Callable[[BaseException], object]
    ) -> None:
        """What starts executions by itself stands beside its stream: it lives as long, and outlives its crashes."""
        point = opened.plan.entry_point
        trigger = TRIGGERS.get(point.trigger_type)
        if trigger is None or not opened.ref.is_alive():
            then(None)
            return
        ready: Reply[None] = Reply()
        self.spawn(trigger, opened.plan, opened.ref, self._threads, ready, name=f"trigger:{point.id}")
        self.follow(ready, then, failed)

    def close_stream(self, stream_id: str, cancel: bool, grace: float) -> object:
        """Stop a stream and forget it."""
        opened = self._streams.get(stream_id)
        if opened is None:
            raise StreamNotFound(stream_id=stream_id, known=tuple(self._streams))
        reply = self.keep_reply()

        def closed(ended: StreamEnded) -> None:
            self._forget(stream_id)
            if reply is not None:
                reply.set(ended)

        failed: Callable[[BaseException], None] = reply.offer_error if reply is not None else (lambda _: None)
        self.request(opened.ref, CloseStream(cancel=cancel, grace=grace), closed, failed)
        return LATER

    def on_child_ended(self, child: Ref[Any], failure: Failure | None) -> None:
        """Somebody stopped a stream by its reference: it is no longer open."""
        super().on_child_ended(child, failure)
        for stream_id, opened in list(self._streams.items()):
            if opened.ref == child:
                self._forget(stream_id)

    def _forget(self, stream_id: str) -> None:
        opened = self._streams.pop(stream_id, None)
        if self._services is not None:
            self._services.streams.pop(stream_id, None)
        if opened is not None:
            opened.plan.launcher.stream_closed()
            pursue_no_more(self, self._services, opened.plan)
            trigger = self.children().get(f"trigger:{stream_id}")
            if trigger is not None:
                trigger.stop(block=False)

    def _running(self) -> Services:
        if self._services is None or self._stopping:
            raise RuntimeStopped(reason="stopping" if self._stopping else "not started")
        return self._services

    # -- looking -----------------------------------------------------------------------------------------------------

    def stats(self) -> object:
        """Ask every stream and the SessionActor; reply with it all."""
        services = self._running()
        reply = self.keep_reply()
        if reply is None:
            return None
        assert services.sessions is not None
        parts: list[Reply[Any]] = [opened.ref.ask(GetStats(), block=False) for opened in self._streams.values()]
        ledger: Reply[Any] = services.sessions.proxy().ledger()
        subscribers: Reply[Any] = services.events.proxy().count()

        def done(values: list[Any]) -> None:
            *streams, (commits, rows, waiting, available), count = values
            reply.set(
                RuntimeStats(
                    runtime_id=services.owner,
                    store=self._threads.store.name if self._threads.store is not None else "",
                    running=not self._stopping,
                    streams=tuple(stats for stats in streams if isinstance(stats, StreamStats)),
                    commits=commits,
                    rows_written=rows,
                    writes_waiting=waiting,
                    store_available=available,
                    dead_letters=self.actor_inbox.loop.dead_letters,
                    subscribers=count,
                )
            )

        self.gather([*parts, ledger, subscribers], done)
        return LATER

    # -- ending ------------------------------------------------------------------------------------------------------

    def shutdown(self, cancel: bool, grace: float) -> object:
        """Stop the streams, let the last writes land, release what this runtime owns; the reply names stragglers."""
        reply = self.keep_reply()
        self._stopping = True
        request = CloseStream(cancel=cancel, grace=grace)
        closing: list[Reply[Any]] = [
            opened.ref.ask(request, block=False) for opened in self._streams.values() if opened.ref.is_alive()
        ]

        def closed(values: list[Any]) -> None:
            stragglers = tuple(name for ended in values if ended is not None for name in ended.stragglers)
            self._flush(lambda: self._release(stragglers, reply))

        self.gather(closing, closed)
        return LATER

    def drain(self, timeout: float | None) -> object:
        """Let every stream finish what it has admitted; the reply names what did not end in time."""
        self._running()
        reply = self.keep_reply()
        draining: list[Reply[Any]] = [
            opened.ref.ask(DrainStream(timeout=timeout), block=False) for opened in self._streams.values()
        ]

        def drained(values: list[Any]) -> None:
            if reply is not None:
                reply.set(tuple(name for ended in values if ended is not None for name in ended.stragglers))

        self.gather(draining, drained)
        return LATER

    def _flush(self, then: Callable[[], None]) -> None:
        """Go on when everything written before is committed, or the store has had its time."""
        services = self._services
        if services is None or services.sessions is None:
            then()
            return
        once = [then]

        def go_on(_: Any) -> None:
            if once:
                once.pop()()

        self.request(services.sessions, AppendEvents(events=()), go_on, go_on)
        wake(self, services.wakeups, WakeMe(after=FLUSH_SECONDS), lambda: go_on(None), go_on)

    def _release(self, stragglers: tuple[str, ...], reply: Reply[Any] | None) -> None:
        def ended(_: Any) -> None:
            if reply is not None:
                reply.set(stragglers)
            self.stop_now()

        owner = self._services.owner if self._services is not None else ""
        self.follow(self._threads.write(lambda store: store.release(owner)), ended, ended)

    def on_stop(self) -> None:
        """Nobody hears dead letters any more, and nobody is left waiting."""
        self._let_go(RuntimeStopped())

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nobody is above the root to restart it: this is the end, and whoever waits for it hears why."""
        failure = Failure.of(exception_value) if exception_value is not None else None
        why = "" if failure is None else f" because it failed: {failure.kind}: {failure.message}"
        self._let_go(RuntimeStopped(reason=f"stopped{why}"))

    def _let_go(self, error: RuntimeStopped) -> None:
        self.actor_inbox.loop.on_dead_letter = None
        self._ready.offer_error(error)
        self._owed.refuse(error)

    def keep_reply(self) -> Reply[Any] | None:
        """As every actor's; what is not answered when this one ends is answered then."""
        reply = super().keep_reply()
        if reply is not None:
            self._owed.keep(reply)
        return reply

    def _on_dead_letter(self, path: str, message: Any, reason: str, detail: str) -> None:
        services = self._services
        if services is None or services.sessions is None or not services.sessions.is_alive() or "sessions" in path:
            return
        what = getattr(message, "tag", type(message).__name__)
        data = {"actor": path, "message": what, "reason": reason, "detail": detail[:500]}
        self.announce("dead_letter", data)

    def announce(self, type: str, data: dict[str, Any]) -> None:
        """Commit and publish an event of the runtime's own."""
        self._append(Event(type=type, timestamp=self.host.now(), data_payload=Payload.of(data)))

    def _append(self, event: Event) -> None:
        services = self._services
        if services is not None and services.sessions is not None and services.sessions.is_alive():
            services.sessions.deliver(AppendEvents(events=(event,)))

    handlers: ClassVar[Handlers] = {
        GetTree: Supervisor.get_tree,
        LeaseWasLost: Membership.lease_was_lost,
        ReadInbox: Membership.look,
    }
