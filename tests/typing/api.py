"""What type checkers make of the public names. Read by mypy and pyright, never run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar, assert_type

import pykka

from propolis import Context, Goal, GraphSpec, NodeSpec, Runtime, Stream, SuccessCriterion, SyncContext, measure
from propolis.actors import AsyncioActor, Ref, Reply, ask
from propolis.messages import (
    Accepted,
    CancelExecution,
    CancelOutcome,
    ClearInbox,
    Decision,
    DeleteSession,
    Event,
    ExecutionResult,
    Failure,
    GetActive,
    GetResult,
    GetStats,
    GoalProgress,
    Message,
    Pairs,
    Payload,
    PropolisError,
    Request,
    StartExecution,
    StreamStats,
    WaitForCompletion,
    decode,
    encode,
)

R = TypeVar("R")
MOMENT = datetime(2024, 2, 29, tzinfo=UTC)


def reply_to(request: Request[R]) -> R:
    """Stands for every ask: a request says what it is answered with."""
    raise NotImplementedError


def requests(start: StartExecution) -> None:
    """The reply type is a parameter of the request's base class."""
    assert_type(reply_to(start), Accepted)
    assert_type(reply_to(GetStats()), StreamStats)
    assert_type(reply_to(CancelExecution(execution_id="e")), CancelOutcome)
    assert_type(reply_to(GetActive()), tuple[str, ...])
    assert_type(reply_to(GetResult(execution_id="e")), ExecutionResult | None)
    assert_type(reply_to(WaitForCompletion(execution_id="e", timeout=1.5)), ExecutionResult | None)
    assert_type(reply_to(DeleteSession(session_id="s")), bool)
    assert_type(reply_to(ClearInbox(ids=(1,))), None)
    reply_to(Event(type="custom", timestamp=MOMENT))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def asks(ref: Ref[AsyncioActor], theirs: pykka.ActorRef[pykka.ThreadingActor], start: StartExecution) -> None:
    """An ask is answered with what its request names, of our actors and of pykka's own."""
    assert_type(ask(ref, start), Reply[Accepted])
    assert_type(await ask(ref, start), Accepted)
    assert_type(ask(theirs, GetStats(), timeout=None).get(timeout=1.0), StreamStats)
    assert_type(ask(ref, GetStats()).map(str), Reply[str])
    assert_type(await ask(ref, GetResult(execution_id="e")), ExecutionResult | None)
    ask(ref, Event(type="custom", timestamp=MOMENT))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def goals(runtime: Runtime, goal: Goal, events: tuple[Event, ...]) -> None:
    """One goal by its id, or all of them; the same from events."""
    assert_type(await runtime.goal_progress(), tuple[GoalProgress, ...])
    assert_type(await runtime.goal_progress("g"), GoalProgress)
    assert_type(measure(goal, events), GoalProgress)
    assert_type(await runtime.decisions("s"), tuple[Decision, ...])


async def decides(ctx: Context, plain: SyncContext) -> None:
    """A decision's id is text, in both contexts."""
    assert_type(await ctx.decide(intent="i", chosen=1), str)
    assert_type(plain.decide(intent="i", chosen=1), str)
    assert_type(await ctx.report_problem("minor", "d"), str)
    await ctx.report_problem("bad", "d")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def wire(data: bytes, message: Message) -> None:
    """Bytes hold some message; which one, isinstance tells."""
    assert_type(encode(message), bytes)
    decoded = decode(data)
    assert_type(decoded, Message)
    if isinstance(decoded, Event):
        assert_type(decoded, Event)
        assert_type(decoded.seq, int | None)
        assert_type(decoded.data, dict[str, Any])


def values(stats: StreamStats, failure: Failure, result: ExecutionResult) -> None:
    """Fields, mappings and user data."""
    assert_type(stats.status_counts, Pairs[int])
    assert_type(stats.status_counts["completed"], int)
    assert_type(stats.latency_ms.get("p50"), float | None)
    assert_type(Payload.of({"a": 1}, "input_data", limit=10), Payload)
    assert_type(Payload.of(1).value(), Any)
    assert_type(failure.to_error(), PropolisError)
    assert_type(result.output, Any)


def refused(payload: Payload) -> None:
    """Keyword-only, strict: a checker says so before pydantic does."""
    Event("custom")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Event(type=1, timestamp=MOMENT)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Event(type="custom", timestamp=MOMENT, unknown=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    encode(payload)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def named(runtime: Runtime, stream: Stream) -> None:
    """What is passed on by name is known by name; specs take lists, and no field that there is not."""
    assert_type(await runtime.trigger("e", {}, priority=1, session_id="s"), str)
    assert_type(await runtime.trigger_and_wait("e", {}, timeout=1.0), ExecutionResult | None)
    runtime.trigger("e", prio=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    stream.events(0, streem="e")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Goal(id="g", success_criteria=[SuccessCriterion(id="c", kind="success_rate")])
    GraphSpec(id="g", entry_node="n", nodes=[NodeSpec(id="n")])
    GraphSpec(id="g", entry="n", nodes=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
