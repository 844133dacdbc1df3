"""`Probe`: what was told, and waiting for it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pykka
import pytest

from propolis import EntryPoint, Runtime
from propolis.actors import ask
from propolis.messages import Event, WakeMe
from propolis.testing import Probe


def event(type: str, **fields: Any) -> Event:
    """An event of a type."""
    return Event(type=type, timestamp=datetime(2026, 1, 1, tzinfo=UTC), **fields)


def test_expect_takes_the_first_that_fits_and_leaves_the_rest() -> None:
    """By class, by event type, by a condition."""
    probe = Probe()
    probe.ref.tell(1)
    probe(event("custom", node_id="a"))
    probe.ref.tell(event("custom", node_id="b"))
    assert "b" == probe.expect("custom", where=lambda event: event.node_id == "b").node_id
    assert "a" == probe.expect(Event).node_id
    assert 1 == probe.expect(int)
    probe.expect_none()
    assert 3 == len(probe.received)


def test_expect_waits_for_what_another_thread_tells() -> None:
    """Up to its timeout."""
    probe = Probe()
    timer = threading.Timer(0.01, probe.ref.tell, args=("late",))
    timer.start()
    assert "late" == probe.expect(str, timeout=5)
    timer.join()


def test_what_does_not_come_is_an_assertion_that_says_what_came_instead() -> None:
    """So that the test's output tells the story."""
    probe = Probe()
    probe.ref.tell("something else")
    with pytest.raises(AssertionError, match=r"no event 'execution_failed' within 0 s, but 'something else'"):
        probe.expect("execution_failed", timeout=0)


def test_expect_none_fails_when_there_is_one_or_one_comes() -> None:
    """Of the kind that was not to come."""
    probe = Probe()
    probe.ref.tell(1)
    probe.expect_none(str, within=0.0)
    with pytest.raises(AssertionError):
        probe.expect_none(int)
    timer = threading.Timer(0.01, probe.ref.tell, args=("late",))
    timer.start()
    with pytest.raises(AssertionError):
        probe.expect_none(str, within=5.0)
    timer.join()


def test_a_probe_answers_who_asks() -> None:
    """By pykka's ask and by ours; an error is the asker's."""
    probe = Probe(lambda message: 1 // message)
    assert 1 == probe.ref.ask(1, timeout=5)
    with pytest.raises(ZeroDivisionError):
        probe.ref.ask(0, timeout=5)
    assert Probe().ref.ask("anything", timeout=5) is None
    assert "yes" == ask(Probe(lambda _: "yes").ref, WakeMe(after=1.0)).get(timeout=5)


def test_a_probe_can_be_stopped_as_any_actor() -> None:
    """And is dead then."""
    probe = Probe()
    assert probe.ref.stop() is True
    with pytest.raises(pykka.ActorDeadError):
        probe.ref.tell(1)


def test_a_probe_subscribes_to_events_of_a_runtime() -> None:
    """By its reference or as a function."""

    def fail(ctx: Any, input: Any) -> None:
        raise ValueError("no good")

    by_ref, by_call = Probe(), Probe()
    with Runtime() as runtime:
        runtime.subscribe("execution_started", by_ref.ref).get()
        runtime.subscribe("execution_started", by_call).get()
        stream = runtime.open_stream(EntryPoint(id="failing"), fail).get()
        execution_id = stream.execute({}).get()
        assert execution_id == by_ref.expect("execution_started").execution_id
        assert execution_id == by_call.expect(Event).execution_id
