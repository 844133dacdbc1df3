"""The parts of the process placement that decide without a process."""

from __future__ import annotations

import functools
import select
import signal
import socket
from typing import Any

import pytest
from propolis.actors.placements.process.deaths import death, memory_failure
from propolis.actors.placements.process.frames import Frames, frame
from propolis.actors.placements.process.importing import file_of, import_name, name_of_import
from propolis.actors.placements.process.output import MAX_LINES, Budget, Lines
from propolis.actors.placements.process.sizing import Count, retry_seconds, to_start
from propolis.actors.placements.process.watch import Watch

from propolis.messages import ExecutorNotImportable, MessageError

from . import bodies


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (Count(busy=0, idle=0, starting=0, queued=0), 1),
        (Count(busy=0, idle=1, starting=0, queued=0), 0),
        (Count(busy=1, idle=0, starting=0, queued=0), 1),
        (Count(busy=1, idle=0, starting=1, queued=0), 0),
        (Count(busy=2, idle=0, starting=0, queued=9), 2),
        (Count(busy=4, idle=0, starting=0, queued=9), 1),
        (Count(busy=4, idle=1, starting=0, queued=9), 0),
        (Count(busy=0, idle=0, starting=2, queued=9), 0),
        (Count(busy=0, idle=5, starting=0, queued=0), 0),
    ],
)
def test_a_pool_has_as_many_as_can_run_and_its_spares(count: Count, expected: int) -> None:
    """Four at a time and one spare; two start at once."""
    assert expected == to_start(count, workers=4, warm=1, at_once=2, shy=False)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (Count(busy=0, idle=0, starting=0, queued=0), 0),
        (Count(busy=0, idle=0, starting=0, queued=3), 1),
        (Count(busy=0, idle=0, starting=1, queued=3), 0),
        (Count(busy=2, idle=0, starting=0, queued=0), 0),
    ],
)
def test_a_pool_whose_workers_die_at_birth_tries_one_at_a_time(count: Count, expected: int) -> None:
    """And only when there is work: no endless loop of deaths."""
    assert expected == to_start(count, workers=4, warm=2, at_once=2, shy=True)


def test_a_pool_whose_workers_die_at_birth_waits_longer_each_time() -> None:
    """And not for ever."""
    assert [5.0, 10.0, 20.0, 300.0, 300.0] == [retry_seconds(stillborn) for stillborn in (1, 2, 3, 9, 10_000)]


def test_frames_are_found_however_they_are_cut() -> None:
    """Also a byte at a time, also an empty one."""
    data = frame(b"one", 7) + frame(b"") + frame(b"x" * 1000, 2**40)
    expected = [(7, b"one"), (0, b""), (2**40, b"x" * 1000)]
    for size in (1, 2, 13, 5000):
        frames = Frames()
        found = [each for start in range(0, len(data), size) for each in frames.feed(data[start : start + size])]
        assert expected == found


def test_what_is_no_frame_is_refused() -> None:
    """A length that no message has."""
    with pytest.raises(MessageError):
        list(Frames().feed(b"\xff" * 14))


@pytest.mark.parametrize("epoll", [hasattr(select, "epoll"), False])
def test_who_watches_the_line_is_woken_only_while_it_is_armed(monkeypatch: pytest.MonkeyPatch, *, epoll: bool) -> None:
    """Where the system has epoll; elsewhere by all that comes, and reads nothing."""
    if not epoll:
        monkeypatch.delattr(select, "epoll", raising=False)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        watch = Watch(ours.fileno())
        seen = [watch.wait(0)]
        theirs.send(b"x")
        seen.append(watch.wait(0))
        watch.arm()
        seen.append(watch.wait(0))
        watch.disarm()
        seen.append(watch.wait(0))
        assert [False, not epoll, True, not epoll] == seen
        assert watch.wait_for_anything(0)
        watch.close()


def test_output_is_cut_into_lines() -> None:
    """Of any bytes; one that has no end is cut somewhere."""
    lines = Lines("stdout")
    assert ("one", "two", "t\ufffd") == lines.feed(b"one\r\ntwo\nt\xff\nthr")
    assert ("three",) == lines.feed(b"ee\n")
    assert () == lines.rest()
    assert (8000,) == tuple(len(line) for line in lines.feed(b"x" * 9000))
    assert () == lines.feed(b"rest")
    assert ("rest",) == lines.rest()


def test_output_has_a_budget() -> None:
    """And says once that it is used up."""
    budget = Budget()
    taken = budget.take(("x",) * (MAX_LINES + 5))
    assert MAX_LINES + 1 == len(taken)
    assert "not shown" in taken[-1]
    assert () == budget.take(("more",))
    long = Budget()
    assert 126 == len(long.take(("x" * 8000,) * 300))


def test_a_death_says_what_it_was() -> None:
    """A known signal by its name, any other by its number."""
    assert "SIGSEGV" in death(-signal.SIGSEGV, 1).message
    assert "signal 250" in death(-250, 1).message
    assert "status 3" in death(3, 1).message
    assert "starting" in death(1, 1, starting=True).message
    assert "256 MB" in memory_failure(300 * 2**20, 256 * 2**20).message
    assert all(failure.retryable for failure in (death(0, 1), death(-9, 1), memory_failure(2, 1)))


class Outer:
    """A namespace."""

    class Inner:
        """A class that can be imported."""

        def execute(self, ctx: Any, data: Any) -> None: ...

    @classmethod
    def made(cls, ctx: Any, data: Any) -> None: ...


def _plain(ctx: Any, data: Any) -> None: ...


@functools.wraps(_plain)
def decorated(ctx: Any, data: Any) -> None:
    """Says that it is called as what it wraps."""


@pytest.mark.parametrize("thing", [bodies.echo, Outer.Inner, Outer.made, ValueError, len, decorated])
def test_what_has_a_name_is_found_under_it(thing: Any) -> None:
    """Functions, classes, class methods, builtins, what a decorator made of another function."""
    assert thing == import_name(name_of_import(thing))


def test_a_method_of_an_object_is_refused() -> None:
    """Of whichever: under its name there is the function."""
    with pytest.raises(ExecutorNotImportable, match="a method of one object"):
        name_of_import(Outer.Inner().execute)


def test_a_name_that_leads_elsewhere_is_refused() -> None:
    """Where it is looked up: another module of that name, or nothing there."""
    name = name_of_import(bodies.echo)
    assert bodies.echo is import_name(name, file_of(name))
    with pytest.raises(ExecutorNotImportable, match="in the worker"):
        import_name(name, "/somewhere/else.py")
    with pytest.raises(ExecutorNotImportable, match="has no"):
        import_name(name + "_nowhere")


def test_a_module_that_was_made_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker could import it; nor a function that its module does not know any more."""
    monkeypatch.setattr(bodies.held, "__module__", "made.up")
    with pytest.raises(ExecutorNotImportable, match="made up"):
        name_of_import(bodies.held)

    def gone(ctx: Any, data: Any) -> None: ...

    gone.__module__, gone.__qualname__ = bodies.__name__, "echo"
    with pytest.raises(ExecutorNotImportable, match=r"echo of module .* is something else"):
        name_of_import(gone)
    monkeypatch.setattr(bodies.exits, "__module__", None)
    with pytest.raises(ExecutorNotImportable, match="no name or no module"):
        name_of_import(bodies.exits)
