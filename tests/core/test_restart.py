"""Restarts behind unchanged references: what stays, what goes, and who hears."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pykka
import pytest

from propolis.actors import Backoff, Intensity, Reply, ask
from propolis.messages import Failure
from propolis.testing import InlineLoop, Probe

from .actors import Boss, Do, Note, Scripted, Urgent


def boom(*_: Any) -> None:
    """A bug."""
    raise ZeroDivisionError("boom")


def worker_of(inline: InlineLoop, *, intensity: Intensity | None = None, **actions: Any) -> tuple[Any, Any]:
    """A supervisor and its one child."""
    boss = inline.spawn(Boss, intensity or Intensity())
    return boss, inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", **actions)


def test_references_and_proxies_taken_before_a_crash_reach_the_new_instance(inline: InlineLoop) -> None:
    """Nobody has to look anything up."""
    _, worker = worker_of(inline, do=boom)
    proxy = worker.proxy()
    inline.settle()
    before = worker.actor_inbox.instance()
    worker.tell(Do())
    inline.settle()
    worker.tell(Note(n=1))
    seen = proxy.seen
    inline.settle()
    assert worker.actor_inbox.instance() is not before
    assert [1] == seen.get()


def test_a_control_message_behind_a_crash_is_kept_too(inline: InlineLoop) -> None:
    """A cancel must not get lost."""
    _, worker = worker_of(inline, do=boom)
    worker.tell(Do())
    inline.spawn(Scripted, do=lambda *_: worker.tell(Urgent(n=1))).tell(Do())
    inline.settle()
    assert [1] == worker.actor_inbox.kept["seen"]


def test_kept_is_made_once_and_survives_restarts(inline: InlineLoop) -> None:
    """State that must outlive an instance lives there."""
    made: list[int] = []

    def count(actor: Scripted, message: Do) -> None:
        actor.kept("box", lambda: made.append(1) or {"n": 0})["n"] += 1
        raise ZeroDivisionError

    _, worker = worker_of(inline, intensity=Intensity(backoff=Backoff(initial=0)), do=count)
    for _ in range(3):
        worker.tell(Do())
    inline.settle()
    assert ([1], {"n": 3}) == (made, worker.actor_inbox.kept["box"])


def test_what_an_instance_had_queued_for_itself_does_not_run_after_its_crash(inline: InlineLoop) -> None:
    """`later`, and the answers of requests: they belong to an instance that is gone."""
    ran: list[str] = []
    other = inline.spawn(Scripted, do=lambda *_: 1)

    def act(actor: Scripted, message: Do) -> None:
        answered: Reply[Any] = Reply()
        answered.set(1)
        actor.later(lambda: ran.append("later"))
        actor.follow(answered, lambda _: ran.append("follow"))
        actor.request(other, Do(), lambda _: ran.append("request"))
        raise ZeroDivisionError

    worker_of(inline, do=act)[1].tell(Do())
    inline.settle()
    assert [] == ran


def test_without_a_crash_it_does_run_ahead_of_user_messages(inline: InlineLoop) -> None:
    """The other side of the test above."""
    order: list[str] = []

    def act(actor: Scripted, message: Do) -> None:
        actor.later(lambda: order.append("later"))

    ref = inline.spawn(Scripted, do=act, log=lambda *_: order.append("told"))
    ref.tell(Do())
    ref.tell(Do(what="log"))
    inline.settle()
    assert ["later", "told"] == order


def test_an_error_answer_without_a_handler_for_it_crashes_the_one_who_requested(inline: InlineLoop) -> None:
    """A request that was expected to succeed."""
    failing = inline.spawn(Boss)
    other = inline.spawn(Scripted, parent=failing.actor_inbox, name="other", do=boom)
    _, worker = worker_of(inline, do=lambda actor, _: actor.request(other, Do(), print) and None)
    worker.tell(Do())
    inline.settle()
    assert 1 == worker.actor_inbox.restarts


def test_an_error_answer_goes_to_failed_where_there_is_one(inline: InlineLoop) -> None:
    """And crashes nobody."""
    errors: list[BaseException] = []
    boss = inline.spawn(Boss)
    other = inline.spawn(Scripted, parent=boss.actor_inbox, name="other", do=boom)
    _, worker = worker_of(inline, do=lambda actor, _: actor.request(other, Do(), print, errors.append) and None)
    worker.tell(Do())
    inline.settle()
    assert ([ZeroDivisionError], 0) == ([type(error) for error in errors], worker.actor_inbox.restarts)


def test_without_a_supervisor_a_crash_is_the_end(inline: InlineLoop) -> None:
    """As with pykka; who waits behind is told."""
    ref = inline.spawn(Scripted, register=True, do=boom)
    ref.tell(Do())
    behind = ask(ref, Do())
    inline.settle()
    assert not ref.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        behind.result()


def test_an_on_failure_that_raises_as_well_changes_nothing(inline: InlineLoop) -> None:
    """The supervisor still decides."""

    class Clumsy(Scripted):
        def on_failure(self, *args: Any) -> None:
            raise KeyError("clumsy")

    boss = inline.spawn(Boss)
    worker = inline.spawn(Clumsy, parent=boss.actor_inbox, name="worker", do=boom)
    worker.tell(Do())
    worker.tell(Note(n=1))
    inline.settle()
    assert [1] == worker.actor_inbox.kept["seen"]


def test_a_death_is_heard_once_by_every_watcher_with_its_reason(inline: InlineLoop) -> None:
    """And None stands for an orderly end."""
    probe = Probe()
    failing, stopping = inline.spawn(Scripted, name="failing", do=boom), inline.spawn(Scripted, name="stopping")

    def watch(actor: Scripted, message: Do) -> None:
        for victim in (failing, stopping):
            actor.watch(victim, lambda reason, victim=victim: probe((victim, reason and reason.kind)))  # type: ignore[misc]

    for _ in range(2):
        inline.spawn(Scripted, do=watch).tell(Do())
    inline.settle()
    failing.tell(Do())
    stopping.stop(block=False)
    inline.settle()
    assert 4 == len(probe.received)
    assert {(failing, "ZeroDivisionError"): 2, (stopping, None): 2} == Counter(probe.received)


def test_who_watches_an_actor_that_has_failed_already_hears_why(inline: InlineLoop) -> None:
    """Not that it ended in order."""
    reasons: list[Failure | None] = []
    victim = inline.spawn(Scripted, do=boom)
    victim.tell(Do())
    inline.settle()
    watcher = inline.spawn(Scripted, do=lambda actor, _: actor.watch(victim, reasons.append))
    watcher.tell(Do())
    inline.settle()
    assert ["ZeroDivisionError"] == [reason.kind for reason in reasons if reason is not None]


def test_a_parent_that_is_restarting_hears_of_a_childs_end_in_its_new_instance(inline: InlineLoop) -> None:
    """It is heard once, whoever is there to hear it."""
    heard: list[tuple[Any, str]] = []

    class Middle(Boss):
        def on_child_ended(self, child: Any, failure: Failure | None) -> None:
            heard.append((self, child.actor_inbox.name))

    root = inline.spawn(Boss, Intensity(backoff=Backoff(initial=5.0, immediate_first=False)))
    middle = inline.spawn(Middle, parent=root.actor_inbox, name="middle", do=boom)
    child = inline.spawn(Scripted, parent=middle.actor_inbox, name="child")
    old = middle.actor_inbox.instance()
    middle.tell(Do())
    inline.settle()
    child.stop(block=False)
    inline.settle()
    assert [] == heard
    inline.host.advance(5.0)  # type: ignore[attr-defined]
    new = middle.actor_inbox.instance()
    assert new is not old
    assert [(new, "child")] == heard
