"""The part of a Runtime that looks: events, records, statistics, the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args, overload

import pykka

from propolis.actors import (
    EventActor,
    Goal,
    HandlerSubscriber,
    QueueSubscriber,
    Ref,
    RefSubscriber,
    RuntimeActor,
    RuntimeConfig,
    SessionActor,
    StateActor,
    Subscriber,
    find_progress,
    list_progress,
)
from propolis.messages import (
    CheckpointRecord,
    Decision,
    DeleteSession,
    EventFilter,
    ExecutionContext,
    ExecutionStatus,
    GetSession,
    GetTree,
    GoalProgress,
    InvalidInput,
    LogLevel,
    Question,
    ReplayExecution,
    RuntimeStats,
    SessionNotFound,
    SessionRecord,
    SessionStatus,
    SupervisionTree,
    TriggerRow,
    WorkerInfo,
)

from .calls import Call, call, call_method, then
from .checks import flag, one_of, text, whole
from .engine import Engine
from .following import EventStream
from .logs import LogReader, LogStream, follow_log
from .reaching import answer_question, list_questions
from .stuck import find_why
from .why import Why

if TYPE_CHECKING:
    from .stream import Stream

__all__ = ["Looking"]


class Looking:
    """Reads and subscribes. Needs to know the engine; the Runtime does."""

    config: RuntimeConfig

    def _running(self) -> Engine:
        raise AssertionError("the Runtime knows its engine")

    def stream(self, stream_id: str) -> Stream | None:  # noqa: ARG002 - the Runtime does
        """The stream of that id; None when none is open."""
        raise AssertionError("the Runtime knows its streams")

    def _named(self, stream_id: str) -> Stream:  # noqa: ARG002 - the Runtime does
        raise AssertionError("the Runtime knows its streams")

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
        filter = event_filter(types, stream, node, execution, graph)
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
        return call_method(self.events_ref, "unsubscribe", text("subscription_id", subscription_id), what="The runtime")

    def events(
        self,
        after: int | None = None,
        *,
        types: str | Iterable[str] = (),
        stream: str | None = None,
        node: str | None = None,
        execution: str | None = None,
        graph: str | None = None,
        session: str | None = None,
    ) -> EventStream:
        """Iterate (`for` or `async for`) over the events of the whole store after `seq` number `after`, then follow.

        0 replays everything, None begins now. No gap, no repeat.
        """
        engine = self._running()
        if after is not None and (isinstance(after, bool) or not isinstance(after, int) or after < 0):
            raise InvalidInput(
                what="after", reason=f"{after!r} is no seq", remedy="Pass the seq of an event, 0, or None."
            )
        filter = event_filter(types, stream, node, execution, graph, session)
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

    def logs(self, id: str, *, level: LogLevel = 2, follow: bool = False, after: int = 0) -> LogStream:
        """Iterate (`for` or `async for`) over the log of a session, or of one execution: what came of its executions
        (level 1), of their nodes and steps (2), and all else that was told: tool calls, events, `ctx.log` (3).

        It is a view of the events that are kept, from behind the one of number `after` on, and goes with them. With
        `follow` it goes on until all executions of the session have ended. Nothing of an unknown id.
        """
        engine = self._running()
        text("id", id)
        if whole("level", level) not in (1, 2, 3):
            raise InvalidInput(what="level", reason=f"{level!r} is none", remedy="Pass 1, 2 or 3.")
        flag("follow", follow)
        whole("after", after, 0)
        return follow_log(engine, self.config.subscriber_queue, LogReader(id, level, after), follow=follow)

    # -- records -----------------------------------------------------------------------------------------------------

    def session(self, session_id: str) -> Call[SessionRecord | None]:
        """A session as the store has it; None when there is none."""
        return call(
            self.sessions_ref,
            GetSession(session_id=text("session_id", session_id)),
            what="The runtime",
            timeout=self.config.ask_timeout,
        )

    def sessions(
        self,
        *,
        status: SessionStatus | None = None,
        stream: str | None = None,
        goal: str | None = None,
        limit: int = 100,
    ) -> Call[tuple[SessionRecord, ...]]:
        """Sessions of the store, the last opened or resumed first. `goal`: of the streams that pursue it, since they
        do.
        """
        one_of("status", status, get_args(SessionStatus))
        _check_listing(limit, stream=stream, goal=goal)
        return self.read(lambda store: store.list_sessions(status=status, stream=stream, goal=goal, limit=limit))

    def quarantined(self, *, limit: int = 100) -> Call[tuple[SessionRecord, ...]]:
        """Sessions whose execution failed until its restarts were used up."""
        _check_listing(limit)
        return self.read(lambda store: store.list_sessions(quarantined=True, limit=limit))

    def checkpoints(self, session_id: str, *, limit: int = 100) -> Call[tuple[CheckpointRecord, ...]]:
        """The checkpoints of a session that are kept (`EntryPoint.checkpoint`), the last one first. None of an unknown
        session: an empty tuple.
        """
        _check_listing(limit, session_id=text("session_id", session_id))
        return self.read(lambda store: store.list_checkpoints(session_id, limit=limit))

    def executions(
        self,
        *,
        stream: str | None = None,
        status: ExecutionStatus | None = None,
        session: str | None = None,
        limit: int = 100,
    ) -> Call[tuple[ExecutionContext, ...]]:
        """Executions of the store, the last accepted first."""
        one_of("status", status, get_args(ExecutionStatus))
        _check_listing(limit, stream=stream, session=session)

        def read(store: Any) -> tuple[ExecutionContext, ...]:
            rows = store.list_executions(stream=stream, status=status, session=session, limit=limit)
            return tuple(ExecutionContext.of(spec, state) for spec, state in rows)

        return self.read(read)

    def triggers(self) -> Call[tuple[TriggerRow, ...]]:
        """The timers and event triggers of the store, by entry point: when each fires next, or what it has seen."""
        return self.read(lambda store: store.list_triggers())

    def decisions(self, session_id: str, *, limit: int = 100) -> Call[tuple[Decision, ...]]:
        """What the executions of a session have decided (`ctx.decide`), with the outcomes that they recorded, the first
        decision first. Of an unknown session: an empty tuple.
        """
        _check_listing(limit, session_id=text("session_id", session_id))
        return self.read(lambda store: store.list_decisions(session_id, limit=limit))

    @overload
    def goal_progress(self) -> Call[tuple[GoalProgress, ...]]: ...
    @overload
    def goal_progress(self, goal_id: str) -> Call[GoalProgress]: ...
    def goal_progress(self, goal_id: str | None = None) -> Call[Any]:
        """How far one goal is, or every goal of the store: by all that is committed, where a stream with it is open
        here; else by what was last counted.

        Raises GoalNotFound.
        """
        known: dict[str, Goal] = {goal.id: goal for goal in list(self._running().services.goals.values())}
        if goal_id is None:
            return self.read(lambda store: list_progress(store, known))
        id = text("goal_id", goal_id)
        return self.read(lambda store: find_progress(store, known, id))

    def delete_session(self, session_id: str) -> Call[bool]:
        """Delete a session with its executions and events. False when there is none.

        Raises SessionBusy while an execution of it has not ended.
        """
        return call(self.sessions_ref, DeleteSession(session_id=text("session_id", session_id)), what="The runtime")

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

        return then(self.session(session_id), replay)

    # -- looking -----------------------------------------------------------------------------------------------------

    def stats(self) -> Call[RuntimeStats]:
        """The runtime and its streams at this moment."""
        return self._method("stats", timeout=self.config.ask_timeout)

    def why_stuck(self, session_id: str) -> Call[Why | None]:
        """Why a session, or one execution, does not get on: a sentence (it is a str), with its `reason` and `evidence`.

        Of a session that this runtime has it knows queue, turn and circuit; of others what the store tells, and
        whether their owner lives. None for an unknown id.
        """
        text("session_id", session_id)
        return find_why(self._running(), self.stream, self.config.lease_seconds, session_id)

    def supervision_tree(self, limit: int = 100) -> Call[SupervisionTree]:
        """The actors, parents before children, at most `limit` children of one parent."""
        return call(
            self.ref, GetTree(limit=whole("limit", limit, 0)), what="The runtime", timeout=self.config.ask_timeout
        )

    def workers(self) -> tuple[WorkerInfo, ...]:
        """The worker processes of all process placements, as they stand at this moment. Does not block."""
        return self._running().process_placement.workers()

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
    def state_ref(self) -> Ref[StateActor]:
        """The StateActor's reference."""
        state = self._running().services.state
        assert state is not None
        return state

    @property
    def events_ref(self) -> Ref[EventActor]:
        """The EventActor's reference, for `StreamActor.start(...)`."""
        return self._running().services.events

    def open_questions(self, *, limit: int = 100) -> Call[tuple[Question, ...]]:
        """The questions of all executions in the store that wait for an answer, the oldest first."""
        return list_questions(self, None, limit)

    def answer(self, question_id: str, value: Any) -> Call[None]:
        """As `stream.answer`, whichever stream it is of."""
        return answer_question(self, question_id, value, None)

    # -- inside ------------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """By the clock of its Host."""
        return self._running().host.now()

    def _method(
        self, name: str, *args: Any, convert: Callable[[Any], Any] | None = None, timeout: float | None = None
    ) -> Call[Any]:
        return call_method(self.ref, name, *args, what="The runtime", convert=convert, timeout=timeout)

    def read(self, job: Callable[[Any], Any]) -> Call[Any]:
        """Have a job read the store, on its thread."""
        reply: Call[Any] = Call()
        self._running().threads.read(job).relay_to(reply)
        return reply


def event_filter(
    types: str | Iterable[str],
    stream: str | None,
    node: str | None,
    execution: str | None,
    graph: str | None,
    session: str | None = None,
) -> EventFilter:
    if not isinstance(types, Iterable) or isinstance(types, bytes):
        reason = f"{types!r:.200} is neither a name nor names"
        raise InvalidInput(what="event types", reason=reason, remedy="Pass names of event types.")
    names: Sequence[Any] = (types,) if isinstance(types, str) else tuple(types)
    for name in names:
        text("event types", name)
    wanted = {"stream": stream, "node": node, "execution": execution, "graph": graph, "session": session}
    for what, value in wanted.items():
        if value is not None:
            text(what, value)
    return EventFilter(types=tuple(names), **wanted)


def _check_listing(limit: int, **names: str | None) -> None:
    whole("limit", limit, 0)
    for what, value in names.items():
        if value is not None:
            text(what, value)
