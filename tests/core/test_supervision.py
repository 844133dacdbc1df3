"""The supervisor of system actors: intensity, escalation, and ends in order."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from propolis.actors import Backoff, Handlers, Intensity, ask
from propolis.messages import Failure, GetTree
from propolis.testing import InlineLoop, ManualHost

from .actors import Boss, Do, Note, Scripted


def boom(*_: Any) -> None:
    """A bug."""
    raise ZeroDivisionError("boom")


def advance(inline: InlineLoop, seconds: float) -> None:
    """Let time pass."""
    assert isinstance(inline.host, ManualHost)
    inline.host.advance(seconds)


def test_more_crashes_than_the_intensity_allows_end_the_child_and_crash_the_supervisor(inline: InlineLoop) -> None:
    """Which its own supervisor restarts; the reason goes up."""
    root = inline.spawn(Boss)
    boss = inline.spawn(Boss, Intensity(max_restarts=2, within_seconds=10), parent=root.actor_inbox, name="boss")
    worker = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", do=boom)
    for _ in range(3):
        worker.tell(Do())
        advance(inline, 1.0)
    assert not worker.is_alive()
    assert 1 == boss.actor_inbox.restarts
    assert ["Escalated"] == [type(error).__name__ for error in boss.actor_inbox.kept["failed_with"]]
    assert [("worker", "ZeroDivisionError")] == [
        (name, failure.kind) for name, failure in boss.actor_inbox.kept["ends"] if failure is not None
    ]


def test_crashes_further_apart_than_the_window_never_escalate(inline: InlineLoop) -> None:
    """The window slides on the Host's clock."""
    boss = inline.spawn(Boss, Intensity(max_restarts=1, within_seconds=10))
    worker = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", do=boom)
    for _ in range(5):
        worker.tell(Do())
        advance(inline, 11.0)
    assert (True, True, 5) == (boss.is_alive(), worker.is_alive(), worker.actor_inbox.restarts)


def test_siblings_of_a_crashed_actor_are_left_alone(inline: InlineLoop) -> None:
    """One for one."""
    boss = inline.spawn(Boss)
    worker = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", do=boom)
    sibling = inline.spawn(Scripted, parent=boss.actor_inbox, name="sibling")
    inline.settle()
    before = sibling.actor_inbox.instance()
    worker.tell(Do())
    inline.settle()
    assert sibling.actor_inbox.instance() is before


def test_children_outlive_a_restart_of_their_supervisor(inline: InlineLoop) -> None:
    """They keep running and are found again."""
    root = inline.spawn(Boss)
    boss = inline.spawn(Boss, parent=root.actor_inbox, name="boss", do=boom)
    worker = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker")
    boss.tell(Do())
    worker.tell(Note(n=1))
    inline.settle()
    instance = boss.actor_inbox.instance()
    assert isinstance(instance, Boss)
    assert {"worker": worker} == instance.children()
    assert [1] == worker.actor_inbox.kept["seen"]


def test_a_stop_that_comes_between_two_restarts_ends_the_child_for_good(inline: InlineLoop) -> None:
    """The restart that was due finds nothing to restart."""
    intensity = Intensity(max_restarts=10, within_seconds=100, backoff=Backoff(initial=5.0, immediate_first=False))
    boss = inline.spawn(Boss, intensity)
    worker = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", do=boom)
    worker.tell(Do())
    waiting = ask(worker, Do())
    inline.settle()
    boss.stop(block=False)
    advance(inline, 60.0)
    assert (False, 0) == (worker.is_alive(), worker.actor_inbox.restarts)
    assert waiting.done()


def test_a_stop_ends_children_first_deepest_first(inline: InlineLoop) -> None:
    """Each hook may still rely on those above."""
    order: list[str] = []

    def note(actor: Any) -> None:
        order.append(actor.actor_inbox.name)

    root = inline.spawn(Boss, name="root", on_stop=note)
    child = inline.spawn(Boss, parent=root.actor_inbox, name="child", on_stop=note)
    inline.spawn(Scripted, parent=child.actor_inbox, name="grandchild", on_stop=note)
    inline.settle()
    root.stop(block=False)
    inline.settle()
    assert ["grandchild", "child", "root"] == order


def test_an_actor_that_ends_by_a_crash_takes_its_children_with_it(inline: InlineLoop) -> None:
    """In order: nobody is left to supervise them."""
    stops: list[str] = []
    root = inline.spawn(Boss, do=boom)
    child = inline.spawn(Scripted, parent=root.actor_inbox, name="child", on_stop=lambda _: stops.append("child"))
    root.tell(Do())
    inline.settle()
    assert (False, False, ["child"]) == (root.is_alive(), child.is_alive(), stops)


def test_on_stop_does_not_run_after_a_crash_and_on_failure_not_at_a_stop(inline: InlineLoop) -> None:
    """Each hook for its own end."""
    stops: list[str] = []
    crashed = inline.spawn(Scripted, do=boom, on_stop=lambda _: stops.append("crashed"))
    stopped = inline.spawn(Scripted, on_stop=lambda _: stops.append("stopped"))
    failed = crashed.actor_inbox.kept["failed_with"], stopped.actor_inbox.kept["failed_with"]
    crashed.tell(Do())
    stopped.stop(block=False)
    inline.settle()
    assert ["stopped"] == stops
    assert (1, 0) == tuple(map(len, failed))


def test_an_on_stop_that_raises_ends_the_actor_with_that_reason(inline: InlineLoop) -> None:
    """It is not stuck half stopped."""
    boss = inline.spawn(Boss)
    worker = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", on_stop=boom)
    inline.settle()
    worker.stop(block=False)
    inline.settle()
    assert [("worker", "ZeroDivisionError")] == [
        (name, failure and failure.kind) for name, failure in boss.actor_inbox.kept["ends"]
    ]


def test_an_actor_whose_parent_ends_before_it_begins_never_begins(
    inline: InlineLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """Spawned from another thread, into a family that is ending."""
    started: list[Any] = []
    boss = inline.spawn(Boss)
    inline.settle()
    worker = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", on_start=started.append)
    boss.actor_inbox.stop()
    inline.settle()
    assert ([], False, []) == (started, worker.is_alive(), caplog.messages)


def test_a_supervisor_that_fails_at_deciding_does_not_leave_the_child_hanging(inline: InlineLoop) -> None:
    """Nobody would decide about it again."""

    class Undecided(Boss):
        def on_child_failure(self, child: Any, failure: Failure) -> None:
            raise KeyError("undecided")

    root = inline.spawn(Boss)
    boss = inline.spawn(Undecided, parent=root.actor_inbox, name="boss")
    worker = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", do=boom)
    worker.tell(Do())
    waiting = ask(worker, Do())
    inline.settle()
    assert (True, False, True) == (boss.is_alive(), worker.is_alive(), waiting.done())


def test_two_children_of_one_name_are_refused_before_the_second_is_made(inline: InlineLoop) -> None:
    """The first one stays."""
    made: list[Any] = []

    class Counted(Scripted):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    def twice(actor: Scripted, message: Do) -> int:
        actor.spawn(Counted, name="same")
        try:
            actor.spawn(Counted, name="same")
        except RuntimeError:
            return len(made)
        return -1

    assert 1 == inline.get(ask(inline.spawn(Boss, do=twice), Do()))


def test_the_tree_names_who_lives_parents_first(inline: InlineLoop) -> None:
    """For people and for the command line."""
    root = inline.spawn(TreeBoss, name="root")
    inline.spawn(Scripted, parent=root.actor_inbox, name="a")
    inline.spawn(Scripted, parent=root.actor_inbox, name="b")
    tree = inline.get(ask(root, GetTree()))
    assert [("root", 2), ("root/a", 0), ("root/b", 0)] == [(node.path, node.children) for node in tree.actors]


class TreeBoss(Boss):
    """A supervisor that is asked for its tree."""

    handlers: ClassVar[Handlers] = {**Boss.handlers, GetTree: Boss.get_tree}
