"""Why a session does not get on: what the runtime says of one in each state, and the sentences as such."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from propolis.actors.peers import my_row

from propolis import Backoff, EntryPoint, RestartPolicy, Runtime, RuntimeConfig, Stream, StreamPolicy
from propolis.actors import Host, SessionEvidence
from propolis.messages import (
    CircuitState,
    ExecutionSpec,
    ExecutionState,
    Payload,
    PostToInbox,
    RecordedStep,
    SessionRecord,
    Timestamps,
    Whereabouts,
)
from propolis.stuck import owner_of
from propolis.why import Evidence, Liveness, Owner, Why, explain

from .support import PATIENCE, Gate, until

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def why(runtime: Runtime, id: str) -> Why:
    """What it says."""
    answer = runtime.why_stuck(id).get(timeout=PATIENCE)
    assert answer is not None
    return answer


def opened(runtime: Runtime, gate: Gate, id: str = "work", **fields: Any) -> Stream:
    """A stream whose executions do as their input says; "hold" waits at the gate."""

    async def body(ctx: Any, data: Any) -> Any:
        if data == "fail":
            raise ValueError("no")
        if data == "pause":
            await ctx.pause("approval")
        if data == "hold":
            await gate.passed(ctx)
        return data

    return runtime.open_stream(EntryPoint(id=id, **fields), body).get(timeout=PATIENCE)


def test_what_has_ended_says_how_and_what_gets_it_on(runtime: Runtime, gate: Gate) -> None:
    """Completed, paused, failed, quarantined, cancelled."""
    backoff = Backoff(initial=0.0)
    stream = opened(runtime, gate, restart=RestartPolicy(max_restarts=1, backoff=backoff))
    once = opened(runtime, gate, "once", restart=RestartPolicy(strategy="temporary"))
    expected = {
        stream.run("x").get(timeout=PATIENCE).session_id: ("completed", "has completed"),
        stream.run("pause").get(timeout=PATIENCE).session_id: ("paused", "is paused at node 'approval'"),
        stream.run("fail").get(timeout=PATIENCE).session_id: ("quarantined", "runtime.replay("),
        once.run("fail").get(timeout=PATIENCE).session_id: ("failed", "has failed: ValueError: no; runtime.replay("),
    }
    held = stream.execute("hold").get(timeout=PATIENCE)
    gate.wait_for(1)
    stream.cancel_execution(held).get(timeout=PATIENCE)
    expected[held] = ("cancelled", "was cancelled")
    for id, (reason, words) in expected.items():
        answer = why(runtime, id)
        assert reason == answer.reason
        assert words in answer
        assert id in answer
        assert id == answer.evidence["session_id"]
    assert runtime.why_stuck("nobody").get(timeout=PATIENCE) is None


def test_a_running_one_says_where_and_a_queued_one_says_its_place(runtime: Runtime, gate: Gate) -> None:
    """Places are counted by priority; the evidence has the figures."""
    stream = opened(runtime, gate, max_concurrent=1)
    running = stream.execute("hold").get(timeout=PATIENCE)
    gate.wait_for(1)
    later, sooner = stream.execute("x").get(timeout=PATIENCE), stream.execute("y", priority=5).get(timeout=PATIENCE)
    assert "running" == why(runtime, running).reason
    assert "runs in this runtime: attempt 1" in why(runtime, running)
    assert "queued in stream 'work', number 1 of 2: the only slot is taken" in why(runtime, sooner)
    answer = why(runtime, later)
    assert "number 2 of 2" in answer
    assert ("queued", 1, 2) == (
        answer.reason,
        answer.evidence["here"]["ahead"],
        answer.evidence["here"]["queue_depth"],
    )


def test_one_that_joins_waits_for_its_turn_behind_the_one_that_has_the_session(runtime: Runtime, gate: Gate) -> None:
    """Asked by its own id: the session itself runs."""
    stream, other = opened(runtime, gate), opened(runtime, gate, "other")
    first = stream.execute("hold").get(timeout=PATIENCE)
    gate.wait_for(1)
    joiner = other.execute("x", session_id=first).get(timeout=PATIENCE)
    # It tries again and again, and then waits for a slot, for a moment.
    answer = until(lambda: found if (found := why(runtime, joiner)).reason == "awaiting_turn" else None)
    assert f"Execution {joiner} waits for its turn: execution {first} of stream 'work' (running) has" in answer
    assert "running" == why(runtime, first).reason


def test_one_that_backs_off_says_until_when_and_after_what(runtime: Runtime, gate: Gate) -> None:
    """And which restart it will be."""
    wait = Backoff(initial=3_600.0, maximum=3_600.0, jitter=0.0, immediate_first=False)
    stream = opened(runtime, gate, restart=RestartPolicy(backoff=wait))
    id = stream.execute("fail").get(timeout=PATIENCE)
    before = datetime.now(UTC)
    until(lambda: why(runtime, id).reason == "backing_off")
    answer = why(runtime, id)
    assert "restart 1 after ValueError: no" in answer
    said = datetime.fromisoformat(answer.split("until ")[1].split(" UTC")[0] + "+00:00")
    assert timedelta(minutes=59) < said - before < timedelta(minutes=61)


def test_one_that_sleeps_says_until_when(runtime: Runtime) -> None:
    """It is parked: the row of its wait is in the store."""

    async def body(ctx: Any, data: Any) -> None:
        await ctx.sleep(3_600.0)

    stream = runtime.open_stream(EntryPoint(id="work"), body).get(timeout=PATIENCE)
    id = stream.execute().get(timeout=PATIENCE)
    until(lambda: why(runtime, id).reason == "parked")
    answer = why(runtime, id)
    assert "it sleeps until " in answer
    (wait,) = answer.evidence["waits"]
    assert timedelta(minutes=59) < wait["until"] - datetime.now(UTC) < timedelta(minutes=61)
    stream.cancel_execution(id).get(timeout=PATIENCE)


def test_an_open_circuit_is_told(runtime: Runtime, gate: Gate) -> None:
    """With how long it will be."""
    circuit = StreamPolicy(max_failures=0, open_seconds=300.0)
    stream = opened(runtime, gate, circuit=circuit, restart=RestartPolicy(strategy="temporary"))
    failed = stream.run("fail").get(timeout=PATIENCE)
    answer = why(runtime, failed.session_id)
    assert "The circuit of stream 'work' is open for another" in answer
    assert 200.0 < answer.evidence["here"]["circuit_retry_after"] <= 300.0


def test_what_nobody_owns_waits_for_its_entry_point(file_store: str, gate: Gate) -> None:
    """After an orderly stop; another runtime, without the stream, is asked."""
    with Runtime(file_store, config=RuntimeConfig(grace_seconds=0.1)) as first:
        id = opened(first, gate).execute("hold").get(timeout=PATIENCE)
        gate.wait_for(1)
    with Runtime(file_store) as second:
        answer = why(second, id)
    assert ("unowned", True) == (answer.reason, "it goes on when one opens entry point 'work'" in answer)


def test_of_another_runtimes_session_it_says_whose_it_is(file_store: str, gate: Gate) -> None:
    """Its process is this one, here: alive."""
    with Runtime(file_store) as owner, Runtime(file_store) as asked:
        id = opened(owner, gate).execute("hold").get(timeout=PATIENCE)
        gate.wait_for(1)
        answer = why(asked, id)
        gate.open()
    assert ("running", "alive") == (answer.reason, answer.evidence["owner"]["liveness"])
    assert f"process {answer.evidence['owner']['pid']}" in answer


# -- the sentences as such -------------------------------------------------------------------------------------------

SPEC = ExecutionSpec(
    execution_id="s1",
    session_id="s1",
    stream_id="work",
    entry_point="work",
    correlation_id="s1",
    accepted_at=NOW,
    input_data=Payload.of(None),
    version="1",
)


def evidence(
    status: str = "running",
    *,
    owner: Owner | None = None,
    whereabouts: Whereabouts | None = None,
    lease_seconds: float | None = None,
    **stored: Any,
) -> Evidence:
    """What is known of the session s1."""
    state = ExecutionState(execution_id="s1", status=status, attempt=2, restarts=1, owner="rt_1")  # type: ignore[arg-type]
    session = SessionRecord(
        session_id="s1",
        status="active",
        entry_point="work",
        stream_id="work",
        correlation_id="s1",
        execution_id="s1",
        input_payload=Payload.of(None),
        timestamps=Timestamps(started_at=NOW, updated_at=NOW),
    )
    fields: dict[str, Any] = {
        "session": session,
        "spec": SPEC,
        "state": state,
        "unfinished": ((SPEC, state),),
        "holder": None,
        "runtimes": (),
        "ahead": 0,
        "last_event": None,
        "restart": None,
        "waits": (),
        "inbox": (),
    }
    found = SessionEvidence(**{**fields, **stored})
    return Evidence(now=NOW, stored=found, owner=owner, whereabouts=whereabouts, lease_seconds=lease_seconds)


HERE = Owner("rt_1", "here", 7)


@pytest.mark.parametrize(
    ("liveness", "reason", "words"),
    [
        ("dead", "owner_dead", "process 7 is dead; one that has entry point 'work' open takes it over"),
        ("gone", "owner_gone", "propolis doctor --repair frees it"),
        ("elsewhere", "owner_unknown", "its beat has stood still for 4.0 s of 15"),
        ("alive", "running", "runs in process 7"),
        ("here", "running", "runs in this runtime"),
    ],
)
def test_the_owner_is_named_with_its_state(liveness: Liveness, reason: str, words: str) -> None:
    """Dead, gone, out of sight, alive."""
    answer = explain(evidence(owner=Owner("rt_1", liveness, 7, still_seconds=4.0), lease_seconds=15.0))
    assert reason == answer.reason
    assert words in answer


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (evidence("pending", owner=HERE, ahead=3), "queued", "behind 3 others"),
        (
            evidence("pending", owner=HERE, whereabouts=Whereabouts(mode="running", place="running")),
            "queued",
            "is about to start",
        ),
        (evidence("running", owner=HERE, whereabouts=Whereabouts(mode="draining")), "stream_stopped", "is draining"),
        (evidence("restarting", owner=HERE), "backing_off", "waits to run again, restart 1"),
        (
            evidence(
                "restarting",
                owner=HERE,
                restart=(NOW, {"after": 60, "error": "E: x"}),
                whereabouts=Whereabouts(mode="running", place="queued", ahead=4, queue_depth=9),
            ),
            "queued",
            "is to run again after E: x, and is queued for that in stream 'work', number 5 of 9",
        ),
        (
            evidence("pending", owner=None, whereabouts=Whereabouts(mode="running")),
            "unowned",
            "stream 'work', open here, is to take it over",
        ),
        (
            evidence(owner=HERE, whereabouts=Whereabouts(mode="running", version="2")),
            "running",
            "accepted under version '1', and '2' is open here",
        ),
        (
            evidence(owner=HERE, last_event=("custom", NOW - timedelta(seconds=90))),
            "running",
            "its last event was custom, 90 s ago",
        ),
        (
            evidence(
                owner=HERE,
                whereabouts=Whereabouts(mode="running", circuit=CircuitState(state="open", retry_after=4.25)),
            ),
            "running",
            "is open for another 4.2 s",
        ),
        (evidence("parked", owner=HERE), "parked", "is parked in this runtime: it waits for something to come."),
        (
            evidence(
                "parked",
                owner=HERE,
                waits=(
                    RecordedStep(kind="ask", name="approve", status="begun", due_at=NOW),
                    RecordedStep(kind="receive", name="paid", status="begun"),
                ),
            ),
            "parked",
            "until 2026-01-02 03:04:05 UTC, and waits for a signal, 'paid'.",
        ),
    ],
)
def test_each_state_has_its_sentence(found: Evidence, reason: str, words: str) -> None:
    """Pure: the same evidence, the same sentence."""
    answer = explain(found)
    assert reason == answer.reason
    assert words in answer
    assert "s1" in answer
    assert answer == explain(found)


def test_what_was_left_in_the_inbox_is_told(file_store: str, gate: Gate) -> None:
    """By somebody who is not the owner, and nobody has taken it yet."""
    with Runtime(file_store, config=RuntimeConfig(grace_seconds=0.1)) as first:
        id = opened(first, gate).execute("hold").get(timeout=PATIENCE)
        gate.wait_for(1)
    with Runtime(file_store) as second:
        post = PostToInbox(execution_id=id, kind="cancel", created_at=datetime.now(UTC))
        second.sessions_ref.ask(post, timeout=PATIENCE)
        answer = why(second, id)
    assert "Left for it and not taken yet: cancel." in answer
    assert ["cancel"] == answer.evidence["inbox"]


def test_an_owner_without_a_row_is_gone(runtime: Runtime) -> None:
    """Nobody would take over what it has: that is the doctor's."""
    found = evidence().stored
    assert Owner("rt_1", "gone") == owner_of(found)
    row = my_row("rt_1", Host())
    assert Owner("rt_1", "alive", row.pid) == owner_of(found._replace(runtimes=(row,)))
    dead = row.model_copy(update={"pid_started": 1})
    assert Owner("rt_1", "dead", row.pid) == owner_of(found._replace(runtimes=(dead,)))
    away = row.model_copy(update={"host": "somewhere/else"})
    assert Owner("rt_1", "elsewhere", row.pid) == owner_of(found._replace(runtimes=(away,)))
