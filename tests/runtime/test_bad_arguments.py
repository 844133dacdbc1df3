"""Wrong arguments to every call of the front door: told by name in the caller's thread, and nothing comes of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from propolis import EntryPoint, Runtime, RuntimeConfig, Stream
from propolis.messages import InvalidInput

from .support import PATIENCE, Recorder


async def echo(ctx: Any, data: Any) -> Any:
    return data


@pytest.fixture
def stream(runtime: Runtime) -> Stream:
    """A stream that works."""
    return runtime.open_stream(EntryPoint(id="work"), echo).get(timeout=PATIENCE)


SURROGATE = "\ud800"
HUGE = 1 << 70

OF_STREAM: list[tuple[str, Callable[[Stream, Any], Any], tuple[Any, ...]]] = [
    ("correlation_id", lambda s, bad: s.execute(1, correlation_id=bad), (3, b"x", True, SURROGATE)),
    ("session_id", lambda s, bad: s.execute(1, session_id=bad), (3, ["x"], SURROGATE)),
    ("idempotency_key", lambda s, bad: s.run(1, idempotency_key=bad), (3, SURROGATE)),
    ("priority", lambda s, bad: s.execute(1, priority=bad), ("1", 1.5, True, HUGE, -HUGE)),
    ("memory", lambda s, bad: s.execute(1, memory=bad), (3, "x", [1], {1: 2}, {SURROGATE: 1}, {"k": object()})),
    (
        "deadline",
        lambda s, bad: s.execute(1, deadline=bad),
        (
            3,
            "tomorrow",
            datetime.max.replace(tzinfo=timezone(-timedelta(hours=14))),
            datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
            datetime(2000, 1, 1, tzinfo=UTC),
        ),
    ),
    ("session_id", lambda s, bad: s.resume(bad), (None, 3, SURROGATE, "../x")),
    ("checkpoint_id", lambda s, bad: s.resume("x", checkpoint_id=bad), (3, SURROGATE)),
    ("memory", lambda s, bad: s.resume("x", memory=bad), (3, {1: 2})),
    ("input_data", lambda s, bad: s.resume("x", input_data=bad), (object(), SURROGATE)),
    ("execution_id", lambda s, bad: s.wait_for_completion(bad), (None, 3, SURROGATE)),
    ("execution_id", lambda s, bad: s.get_result(bad), (None, SURROGATE)),
    ("execution_id", lambda s, bad: s.get_context(bad), (3, SURROGATE)),
    ("execution_id", lambda s, bad: s.pause_execution(bad), (3, SURROGATE)),
    ("execution_id", lambda s, bad: s.cancel_execution(bad), (3, SURROGATE)),
    ("reason", lambda s, bad: s.cancel_execution("x", reason=bad), (3, SURROGATE)),
    ("grace", lambda s, bad: s.cancel_execution("x", grace=bad), ("1", -1, float("nan"), True)),
    ("timeout", lambda s, bad: s.wait_for_completion("x", timeout=bad), ("1", -1, float("inf"), True, 1 << 2000)),
    ("timeout", lambda s, bad: s.drain(bad), ("1", -1, float("nan"))),
    ("grace", lambda s, bad: s.stop(grace=bad), ("1", -1)),
    ("cancel", lambda s, bad: s.stop(bad), (3, "yes", None)),
]


@pytest.mark.parametrize(("name", "call", "bads"), OF_STREAM)
def test_a_wrong_argument_to_a_stream_is_named(
    stream: Stream, name: str, call: Callable[[Stream, Any], Any], bads: tuple[Any, ...]
) -> None:
    """The stream admits and runs as before."""
    for bad in bads:
        with pytest.raises(InvalidInput, match=f"^{name}"):
            call(stream, bad).get(timeout=PATIENCE)
    assert 1 == stream.run(1).get(timeout=PATIENCE).output
    assert 1 == stream.get_stats().get(timeout=PATIENCE).total_executions


OF_RUNTIME: list[tuple[str, Callable[[Runtime, Any], Any], tuple[Any, ...]]] = [
    ("timeout", lambda r, bad: r.drain(bad), ("x", -1, float("nan"), [], True)),
    ("grace", lambda r, bad: r.stop(grace=bad), ("x", -1, float("nan"))),
    ("cancel", lambda r, bad: r.stop(bad), ("x", 1)),
    ("stream_id", lambda r, bad: r.close_stream(bad), (3, [], SURROGATE)),
    ("grace", lambda r, bad: r.close_stream("work", grace=bad), ("x", -1)),
    ("cancel", lambda r, bad: r.close_stream("work", cancel=bad), ("x", None)),
    ("stream_id", lambda r, bad: r.stream(bad), (3, [])),
    ("stream_id", lambda r, bad: r.trigger(bad), (3, [])),
    ("timeout", lambda r, bad: r.trigger_and_wait("work", 1, timeout=bad), ("x", -1)),
    ("session_id", lambda r, bad: r.session(bad), (None, 3, SURROGATE)),
    ("session_id", lambda r, bad: r.delete_session(bad), (None, 3, SURROGATE)),
    ("session_id", lambda r, bad: r.replay(bad), (None, 3, SURROGATE)),
    ("subscription_id", lambda r, bad: r.unsubscribe(bad), (3, [])),
    ("status", lambda r, bad: r.sessions(status=bad), ("running", 3, [])),
    ("status", lambda r, bad: r.executions(status=bad), ("active", 3, [])),
    ("stream", lambda r, bad: r.sessions(stream=bad), (3, [], SURROGATE)),
    ("stream", lambda r, bad: r.executions(stream=bad), (3, [])),
    ("session", lambda r, bad: r.executions(session=bad), (3, SURROGATE)),
    ("goal", lambda r, bad: r.sessions(goal=bad), (3, [], SURROGATE)),
    ("goal", lambda r, bad: r.open_stream(EntryPoint(id="other"), echo, goal=bad), (3, "g", {})),
    ("goal_id", lambda r, bad: r.goal_progress(bad), (3, [], SURROGATE)),
    ("session_id", lambda r, bad: r.decisions(bad), (None, 3, SURROGATE)),
    ("session_id", lambda r, bad: r.checkpoints(bad), (None, 3, SURROGATE)),
    ("limit", lambda r, bad: r.decisions("s", limit=bad), ("x", -1, HUGE)),
    ("limit", lambda r, bad: r.sessions(limit=bad), ("x", None, -1, HUGE, 1.5)),
    ("limit", lambda r, bad: r.executions(limit=bad), ("x", -1)),
    ("limit", lambda r, bad: r.quarantined(limit=bad), ([], HUGE)),
    ("limit", lambda r, bad: r.supervision_tree(bad), ("x", None, HUGE)),
    ("after", lambda r, bad: r.events(bad), ("x", -1, True)),
    ("event types", lambda r, bad: r.subscribe(bad, echo), (None, 3, b"x", [3], SURROGATE)),
    ("stream", lambda r, bad: r.subscribe((), echo, stream=bad), (3, SURROGATE)),
    ("node", lambda r, bad: r.subscribe((), echo, node=bad), (3, [])),
    ("execution", lambda r, bad: r.events(0, execution=bad), (3, b"x")),
    ("graph", lambda r, bad: r.events(0, graph=bad), (3, [])),
    ("scope", lambda r, bad: r.state(bad), (3, None, "execution", SURROGATE)),
    ("stream", lambda r, bad: r.state("stream", stream=bad), (3, None, SURROGATE)),
    ("stream", lambda r, bad: r.state("global", stream=bad), (3, "work")),
    ("items", lambda r, bad: r.set_state(bad), (3, None, [1], {})),
    ("key", lambda r, bad: r.set_state({bad: 1}), (3, None, "", SURROGATE)),
    ("state.k", lambda r, bad: r.set_state({"k": bad}), (object(), SURROGATE)),
    ("expected", lambda r, bad: r.set_state({"k": 1}, expected={"k": bad}), ("1", None, -1, HUGE)),
    ("expected", lambda r, bad: r.set_state({"k": 1}, expected={bad: 1}), ("j", 3)),
    ("key", lambda r, bad: r.state_history(bad), (3, None, SURROGATE)),
    ("limit", lambda r, bad: r.state_history("k", limit=bad), ("x", None, -1)),
]


@pytest.mark.parametrize(("name", "call", "bads"), OF_RUNTIME)
def test_a_wrong_argument_to_the_runtime_is_named_and_does_not_end_it(
    runtime: Runtime, stream: Stream, name: str, call: Callable[[Runtime, Any], Any], bads: tuple[Any, ...]
) -> None:
    """However often: seven crashes of an actor of its would."""
    for bad in bads * 7:
        with pytest.raises(InvalidInput, match=f"^{name}"):
            call(runtime, bad).get(timeout=PATIENCE)
    assert (stream,) == runtime.streams()
    assert 1 == stream.run(1).get(timeout=PATIENCE).output
    assert 1 == stream.get_stats().get(timeout=PATIENCE).total_executions
    tree = runtime.supervision_tree().get(timeout=PATIENCE)
    assert {0} == {actor.restarts for actor in tree.actors}


@pytest.mark.parametrize(("name", "bad"), [("config", 3), ("config", {"lease_seconds": 3}), ("host", 3)])
def test_a_runtime_of_wrong_parts_is_not_made(name: str, bad: Any) -> None:
    """By name, before anything is started."""
    with pytest.raises(InvalidInput, match=f"^{name}"):
        Runtime(**{name: bad})


def opens_nothing(host: Any) -> Any:
    raise SystemExit(3)


def opens_rubbish(host: Any) -> Any:
    return 3


def takes_nothing() -> Any:
    return None


@pytest.mark.parametrize("store", [opens_nothing, opens_rubbish, takes_nothing])
def test_a_function_that_opens_no_store_is_the_callers_error(store: Any) -> None:
    """Start is answered, and no thread is left."""
    runtime = Runtime(store, config=RuntimeConfig(grace_seconds=0.1))
    with pytest.raises(Exception, match=r"SystemExit|register|positional"):
        runtime.start().get(timeout=PATIENCE)
    runtime.stop().get(timeout=PATIENCE)


def test_a_handler_of_another_signature_gets_nothing_and_disturbs_nobody(runtime: Runtime, stream: Stream) -> None:
    """Its failures are in the log; the others hear."""
    seen = Recorder()
    runtime.subscribe((), lambda: None).get(timeout=PATIENCE)
    runtime.subscribe("execution_completed", seen).get(timeout=PATIENCE)
    stream.run(1).get(timeout=PATIENCE)
    seen.wait_for("execution_completed")


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_a_process_with_green_threads_is_refused(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """What such a library does to a process is not undone, so the one thing that is looked at is replaced here."""

    def start_new_thread(*_: object) -> int:
        raise AssertionError("no thread is started")

    start_new_thread.__module__ = f"{library}.thread"
    with monkeypatch.context() as patched:
        patched.setattr("_thread.start_new_thread", start_new_thread)
        starting = Runtime().start()
    with pytest.raises(InvalidInput, match=f"Runtime: {library} has replaced the threads"):
        starting.get(timeout=PATIENCE)
