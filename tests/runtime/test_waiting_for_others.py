"""Signals, and questions to people: they reach what waits for them, in order, once, wherever it is."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from propolis import NonRetryable, Question, Runtime, Stream
from propolis.messages import (
    ExecutionNotFound,
    InvalidInput,
    Payload,
    PostToInbox,
    QuestionAnswered,
    QuestionNotFound,
)
from propolis.testing import ManualHost

from .support import PATIENCE, Gate, Recorder, executor_for, pass_time, pass_time_until, point, until
from .test_parking import until_parked


def open_with(runtime: Runtime, placement: str, body: Any, **fields: Any) -> Stream:
    """A stream with a body."""
    return runtime.open_stream(point(placement, **fields), executor_for(placement, body)).get(timeout=PATIENCE)


def output(stream: Stream, execution_id: str) -> Any:
    """What an execution gives that completes."""
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert "completed" == result.status, result.error
    return result.output


# -- signals -----------------------------------------------------------------------------------------------------------


async def collects(ctx: Any, data: int) -> list[Any]:
    return [await ctx.receive("news") for _ in range(data)]


def test_signals_come_in_order_and_each_once(any_runtime: Runtime, placement: str) -> None:
    """Those that were sent before anybody waited, and those after."""
    stream = open_with(any_runtime, placement, collects)
    execution_id = stream.execute(6).get(timeout=PATIENCE)
    for n in range(3):
        stream.send(execution_id, "news", {"n": n}).get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    stream.send(execution_id, "other", "not this")
    for n in range(3, 6):
        stream.send(execution_id, "news", {"n": n}).get(timeout=PATIENCE)
    assert [{"n": n} for n in range(6)] == output(stream, execution_id)


def test_a_signal_reaches_what_is_queued_and_what_has_no_process(file_store: str, placement: str) -> None:
    """It waits in the table, and is there when the execution asks for it."""
    gate = Gate()

    async def work(ctx: Any, data: Any) -> Any:
        await gate.passed(ctx)
        return await ctx.receive("news")

    with Runtime(file_store) as runtime:
        stream = open_with(runtime, placement, work, max_concurrent=1)
        ids = [stream.execute().get(timeout=PATIENCE) for _ in range(2)]
        gate.wait_for()
        for id in ids:
            stream.send(id, "news", id).get(timeout=PATIENCE)
    gate.open()
    with Runtime(file_store) as runtime:
        stream = open_with(runtime, placement, work, max_concurrent=1)
        assert ids == [output(stream, id) for id in ids]


def test_what_was_received_is_not_received_again_after_a_crash(any_runtime: Runtime, placement: str) -> None:
    """It is recorded like a step, in the commit that takes it out of the inbox."""

    async def work(ctx: Any, data: Any) -> Any:
        first = await ctx.receive("news")
        if ctx.attempt < 3:
            raise OSError("again")
        return [first, await ctx.receive("news")]

    stream = open_with(any_runtime, placement, work)
    execution_id = stream.execute().get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    stream.send(execution_id, "news", "one").get(timeout=PATIENCE)
    stream.send(execution_id, "news", "two").get(timeout=PATIENCE)
    assert ["one", "two"] == output(stream, execution_id)


def test_actors_may_crash_between_a_signal_and_its_receipt(any_runtime: Runtime, placement: str) -> None:
    """None is lost, none comes twice."""
    stream = open_with(any_runtime, placement, collects)
    execution_id = stream.execute(8).get(timeout=PATIENCE)
    for n in range(8):
        until_parked(stream, execution_id)
        child = stream.ref.proxy().children().get(timeout=PATIENCE)[execution_id]
        child.tell({"nonsense": n})
        stream.send(execution_id, "news", n).get(timeout=PATIENCE)
        if n in (1, 4):  # and not at the last one, with which it ends
            with pytest.raises(AttributeError):
                child.proxy().there_is_no_such_method().get(timeout=PATIENCE)
        until(lambda: len(_received(any_runtime, execution_id)) == n + 1)  # noqa: B023 - called at once
    assert list(range(8)) == output(stream, execution_id)


def _received(runtime: Runtime, execution_id: str) -> list[Any]:
    store = runtime._running().threads.store
    assert store is not None
    return [step for step in store.history(execution_id).steps if step.kind == "receive" and step.status == "done"]


def test_a_receive_with_a_timeout_ends_without_a_signal(
    timed_runtime: Runtime, clock: ManualHost, placement: str
) -> None:
    """As TimeoutError, also in a re-run."""

    async def work(ctx: Any, data: Any) -> Any:
        try:
            await ctx.receive("news", timeout=60.0)
        except TimeoutError as error:
            if ctx.attempt < 3:
                raise OSError("again") from None
            return str(error)

    stream = open_with(timed_runtime, placement, work)
    execution_id = stream.execute().get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    pass_time_until(clock, lambda: not stream.active_execution_ids, step=10.0)
    assert "'news'" in output(stream, execution_id)


def test_several_wait_side_by_side(any_runtime: Runtime) -> None:
    """Each for its own topic, two for the same one in their order."""

    async def work(ctx: Any, data: Any) -> Any:
        return await asyncio.gather(ctx.receive("a"), ctx.receive("b"), ctx.receive("a"))

    stream = open_with(any_runtime, "asyncio", work)
    execution_id = stream.execute().get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    for topic, value in (("b", 1), ("a", 2), ("a", 3)):
        stream.send(execution_id, topic, value).get(timeout=PATIENCE)
    assert [2, 1, 3] == output(stream, execution_id)


def test_one_that_goes_on_with_one_wait_gives_its_slot_back_when_it_is_quiet(
    timed_runtime: Runtime, clock: ManualHost
) -> None:
    """With one slot, whoever would send the other signal could not run otherwise."""

    async def work(ctx: Any, data: Any) -> Any:
        if data is not None:
            return data
        return await asyncio.gather(ctx.receive("a"), ctx.receive("b"))

    stream = open_with(timed_runtime, "asyncio", work, max_concurrent=1)
    execution_id = stream.execute().get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    stream.send(execution_id, "a", 1).get(timeout=PATIENCE)
    until(lambda: stream.get_active_count().get(timeout=PATIENCE) == 1)
    other = stream.run("other")
    pass_time_until(clock, other.done, step=0.5)
    stream.send(execution_id, "b", 2).get(timeout=PATIENCE)
    assert [1, 2] == output(stream, execution_id)


def test_a_signal_to_nobody_is_refused(any_runtime: Runtime, placement: str) -> None:
    """By name: unknown, or ended."""
    stream = open_with(any_runtime, placement, collects)
    done = stream.run(0).get(timeout=PATIENCE)
    for id in ("exec_nowhere", done.execution_id):
        with pytest.raises(ExecutionNotFound, match=id):
            stream.send(id, "news").get(timeout=PATIENCE)
    with pytest.raises(InvalidInput, match="topic"):
        stream.send(done.execution_id, "")
    with pytest.raises(InvalidInput, match="value"):
        stream.send(done.execution_id, "news", object())


@pytest.mark.parametrize("arguments", [("",), (5,), ("news", {"timeout": 0}), ("news", {"timeout": "soon"})])
def test_a_bad_receive_is_refused(runtime: Runtime, placement: str, arguments: Any) -> None:
    """In the executor."""

    async def work(ctx: Any, data: Any) -> Any:
        options = arguments[1] if len(arguments) > 1 else {}
        with pytest.raises(InvalidInput):
            await ctx.receive(arguments[0], **options)

    assert "completed" == open_with(runtime, placement, work).run().get(timeout=PATIENCE).status


def test_rows_that_are_nothing_of_ours_are_not_believed(any_runtime: Runtime, placement: str) -> None:
    """Anybody may write into the inbox."""
    stream = open_with(any_runtime, placement, collects)
    execution_id = stream.execute(1).get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    for body in (None, Payload.of(7), Payload.of({"topic": "news"}), Payload(b"\xc1"), Payload.of({"topic": ["x"]})):
        for kind in ("signal", "answer", "unheard of"):
            post = PostToInbox(execution_id=execution_id, kind=kind, body=body, created_at=any_runtime._host.now())
            any_runtime.sessions_ref.ask(post)
    stream.send(execution_id, "news", "good").get(timeout=PATIENCE)
    assert ["good"] == output(stream, execution_id)


# -- questions ---------------------------------------------------------------------------------------------------------


class Verdict(BaseModel):
    """What a clerk says."""

    verdict: Literal["refund", "refuse"]
    cents: int = 0


async def asks(ctx: Any, data: Any) -> Any:
    answer = await ctx.ask_human(f"Refund {data}?", node_id="clerk", schema=Verdict)
    return {"answer": answer, "attempt": ctx.attempt}


def question(stream: Stream) -> Question:
    """The one that is open."""
    return until(lambda: stream.open_questions().get(timeout=PATIENCE))[0]


def test_a_question_is_answered_and_the_execution_goes_on(any_runtime: Runtime, placement: str) -> None:
    """Parked meanwhile, with the question in the stream's list."""
    stream = open_with(any_runtime, placement, asks, max_concurrent=1)
    assert not stream.is_awaiting_input
    execution_id = stream.execute("17").get(timeout=PATIENCE)
    asked = question(stream)
    assert ("Refund 17?", "clerk", execution_id) == (asked.prompt, asked.node_id, asked.execution_id)
    assert asked.schema is not None
    assert "verdict" in asked.schema["properties"]
    until_parked(stream, execution_id)
    assert stream.is_awaiting_input
    stream.answer(asked.id, {"verdict": "refund", "cents": 100}).get(timeout=PATIENCE)
    assert {"verdict": "refund", "cents": 100} == output(stream, execution_id)["answer"]
    assert () == stream.open_questions().get(timeout=PATIENCE)
    assert not stream.is_awaiting_input


def test_answers_in_any_order_reach_the_right_question(any_runtime: Runtime, placement: str) -> None:
    """Of many executions."""
    stream = open_with(any_runtime, placement, asks)
    ids = [stream.execute(n).get(timeout=PATIENCE) for n in range(5)]
    questions = until(lambda: len(found := stream.open_questions().get(timeout=PATIENCE)) == 5 and found)
    for asked in reversed(questions):
        cents = int(asked.prompt.split()[1].rstrip("?"))
        any_runtime.answer(asked.id, {"verdict": "refund", "cents": cents}).get(timeout=PATIENCE)
    assert list(range(5)) == [output(stream, id)["answer"]["cents"] for id in ids]


def test_a_question_outlives_the_process(file_store: str, placement: str) -> None:
    """Under the same id; it is answered while nobody runs it, and only the answer counts."""
    with Runtime(file_store) as runtime:
        stream = open_with(runtime, placement, asks)
        execution_id = stream.execute("17").get(timeout=PATIENCE)
        asked = question(stream)
        until_parked(stream, execution_id)
    with Runtime(file_store) as runtime:
        assert [asked.id] == [each.id for each in runtime.open_questions().get(timeout=PATIENCE)]
        runtime.answer(asked.id, {"verdict": "refuse"}).get(timeout=PATIENCE)
        assert () == runtime.open_questions().get(timeout=PATIENCE)  # nobody has applied it yet, and it counts
        stream = open_with(runtime, placement, asks)
        assert {"answer": {"verdict": "refuse"}, "attempt": 2} == output(stream, execution_id)


def test_a_question_is_answered_once(any_runtime: Runtime, placement: str) -> None:
    """Also when both answers come before the first is applied."""
    stream = open_with(any_runtime, placement, asks)
    execution_id = stream.execute("17").get(timeout=PATIENCE)
    asked = question(stream)
    answering = [stream.answer(asked.id, {"verdict": "refuse", "cents": n}) for n in range(3)]
    answering[0].get(timeout=PATIENCE)
    for late in answering[1:]:
        with pytest.raises(QuestionAnswered, match=asked.id):
            late.get(timeout=PATIENCE)
    assert 0 == output(stream, execution_id)["answer"]["cents"]
    with pytest.raises((QuestionAnswered, QuestionNotFound), match=asked.id):
        stream.answer(asked.id, {"verdict": "refuse"}).get(timeout=PATIENCE)


def test_a_wrong_answer_is_refused_in_the_schemas_words(any_runtime: Runtime, placement: str) -> None:
    """And the question stays open."""
    stream = open_with(any_runtime, placement, asks)
    execution_id = stream.execute("17").get(timeout=PATIENCE)
    asked = question(stream)
    with pytest.raises(InvalidInput, match="'maybe' is not one of") as caught:
        stream.answer(asked.id, {"verdict": "maybe"}).get(timeout=PATIENCE)
    assert "answer['verdict']" == caught.value.what
    with pytest.raises(QuestionNotFound, match="nothing"):
        stream.answer("nothing", 1).get(timeout=PATIENCE)
    stream.answer(asked.id, {"verdict": "refund"}).get(timeout=PATIENCE)
    assert "refund" == output(stream, execution_id)["answer"]["verdict"]


def test_a_deadline_answers_with_the_default_or_expires(
    timed_runtime: Runtime, clock: ManualHost, placement: str
) -> None:
    """None may be a default, too."""

    async def work(ctx: Any, data: Any) -> Any:
        due = clock.now() + timedelta(seconds=60)
        given = await ctx.ask_human("Well?", deadline=due, default=None)
        try:
            await ctx.ask_human("Really?", deadline=due)
        except TimeoutError as error:
            return [given, type(error).__name__]

    stream = open_with(timed_runtime, placement, work)
    execution_id = stream.execute().get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    pass_time(clock, 60.0)
    pass_time_until(clock, lambda: not stream.active_execution_ids, step=10.0)
    assert [None, "QuestionExpired"] == output(stream, execution_id)


def test_input_is_injected_by_the_name_of_a_node(any_runtime: Runtime, placement: str) -> None:
    """False when nobody asks there."""
    stream = open_with(any_runtime, placement, asks)
    ids = [stream.execute(n).get(timeout=PATIENCE) for n in range(2)]
    until(lambda: len(stream.open_questions().get(timeout=PATIENCE)) == 2)
    assert not stream.inject_input("somebody", "x").get(timeout=PATIENCE)
    refuse = {"verdict": "refuse"}
    assert stream.inject_input("clerk", refuse, execution_id=ids[1]).get(timeout=PATIENCE)
    assert "refuse" == output(stream, ids[1])["answer"]["verdict"]
    with pytest.raises(InvalidInput):
        stream.inject_input("clerk", "nonsense").get(timeout=PATIENCE)
    assert stream.inject_input("clerk", refuse).get(timeout=PATIENCE)
    assert "refuse" == output(stream, ids[0])["answer"]["verdict"]


def test_a_question_is_an_event_and_goes_with_a_cancel(any_runtime: Runtime, placement: str) -> None:
    """What has ended asks nothing any more."""
    recorder = Recorder()
    any_runtime.subscribe("client_input_requested", recorder).get(timeout=PATIENCE)
    stream = open_with(any_runtime, placement, asks)
    execution_id = stream.execute("17").get(timeout=PATIENCE)
    event = recorder.wait_for("client_input_requested")
    asked = question(stream)
    assert ("clerk", asked.id, "Refund 17?") == (event.node_id, event.data["question_id"], event.data["prompt"])
    assert stream.cancel_execution(execution_id).get(timeout=PATIENCE)
    assert () == stream.open_questions().get(timeout=PATIENCE)
    with pytest.raises(QuestionNotFound, match="ended"):
        stream.answer(asked.id, {"verdict": "refund"}).get(timeout=PATIENCE)


def test_a_paused_question_is_asked_again_by_a_resume(any_runtime: Runtime, placement: str) -> None:
    """Under its id, by the new execution."""
    stream = open_with(any_runtime, placement, asks)
    execution_id = stream.execute("17").get(timeout=PATIENCE)
    asked = question(stream)
    until_parked(stream, execution_id)
    assert stream.pause_execution(execution_id).get(timeout=PATIENCE)
    stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert () == stream.open_questions().get(timeout=PATIENCE)
    again = stream.resume(execution_id).get(timeout=PATIENCE)
    assert (asked.id, again) == (question(stream).id, question(stream).execution_id)
    stream.answer(asked.id, {"verdict": "refund"}).get(timeout=PATIENCE)
    assert "refund" == output(stream, again)["answer"]["verdict"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"node_id": 5}, "node_id"),
        ({"schema": "text"}, "schema"),
        ({"schema": {"type": "no such"}}, "schema"),
        ({"schema": {"$schema": 5}}, "schema"),
        ({"schema": {"properties": {"a": {"$ref": "http://127.0.0.1:9/a.json"}}}}, "schema"),
        ({"deadline": 5}, "deadline"),
        ({"default": 5}, "default"),
    ],
)
def test_a_bad_question_is_refused(runtime: Runtime, placement: str, options: Any, named: str) -> None:
    """By the name of what is wrong; nothing is asked."""

    async def work(ctx: Any, data: Any) -> Any:
        with pytest.raises(InvalidInput) as caught:
            await ctx.ask_human(**{"prompt": "Well?", **options})
        raise NonRetryable(caught.value.what)

    result = open_with(runtime, placement, work).run().get(timeout=PATIENCE)
    assert named in (result.error or "")
