"""The eight facts about pykka that the base class turns around, each with a test of pykka's own way beside it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pykka
import pytest

from propolis.actors import ActorLoop, Host, Reply, ask
from propolis.messages import ActorRestarted, MailboxFull, MessageError, WouldBlock
from propolis.testing import InlineLoop

from .actors import Boss, Do, Echo, Letters, Note, Scripted, until


def boom(*_: Any) -> None:
    """A bug."""
    raise ZeroDivisionError("boom")


def exits(*_: Any) -> None:
    """Somebody who thinks that the process is theirs."""
    raise SystemExit(3)


def test_fact_1_an_exception_during_an_ask_goes_to_the_asker_and_crashes_the_actor(inline: InlineLoop) -> None:
    """The supervisor hears of it: there is a new instance afterwards."""
    boss = inline.spawn(Boss)
    worker = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", do=boom)
    reply = ask(worker, Do())
    inline.settle()
    before = worker.actor_inbox.restarts
    with pytest.raises(ZeroDivisionError):
        reply.result()
    assert 1 == before
    assert worker.is_alive()


def test_fact_2_an_on_start_that_raises_is_a_crash_that_on_failure_and_the_supervisor_hear(inline: InlineLoop) -> None:
    """It fails once, and is restarted."""
    failures = iter([True, False])

    def fail_once(actor: Scripted) -> None:
        if next(failures):
            raise ZeroDivisionError("no start")

    boss = inline.spawn(Boss)
    worker = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", on_start=fail_once)
    worker.tell(Note(n=1))
    inline.settle()
    instance = worker.actor_inbox.instance()
    assert isinstance(instance, Scripted)
    assert [ZeroDivisionError] == [type(error) for error in instance.failed_with]
    assert ([1], 1) == (instance.seen, worker.actor_inbox.restarts)


def test_fact_3_a_system_exit_in_one_actor_leaves_every_other_alive(loop: ActorLoop) -> None:
    """Also the host's own, which pykka's stop_all() would end."""
    echo = Echo.start()
    neighbour = loop.spawn(Scripted)
    victim = loop.spawn(Scripted, register=True, do=exits)
    with pytest.raises(ActorRestarted):
        ask(victim, Do()).get(timeout=5)
    until(lambda: not victim.is_alive())
    assert (True, True) == (echo.is_alive(), neighbour.is_alive())
    assert "still here" == echo.ask("still here", timeout=5)
    echo.stop()


def test_fact_4_messages_queued_behind_a_crash_are_kept_and_the_one_at_hand_is_a_dead_letter(
    inline: InlineLoop,
) -> None:
    """None vanishes."""
    letters = Letters(inline)
    boss = inline.spawn(Boss)
    worker = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", do=boom)
    worker.tell(Do(n=7))
    for n in range(3):
        worker.tell(Note(n=n))
    inline.settle()
    instance = worker.actor_inbox.instance()
    assert isinstance(instance, Scripted)
    assert [0, 1, 2] == instance.seen
    assert [("Boss/worker", Do(n=7), "crashed")] == letters.seen


def test_fact_4_a_mailbox_is_bounded(inline: InlineLoop) -> None:
    """The message comes back in the error."""
    ref = inline.spawn(Scripted, limit=2)
    ref.tell(Note(n=0))
    ref.tell(Note(n=1))
    with pytest.raises(MailboxFull) as caught:
        ref.tell(Note(n=2))
    assert (Note(n=2), 2) == (caught.value.message, caught.value.limit)


def test_fact_5_only_what_was_registered_is_in_the_registry(inline: InlineLoop) -> None:
    """And a registered one leaves it at its end."""
    root = inline.spawn(Boss, register=True)
    inline.spawn(Scripted, parent=root.actor_inbox, name="worker")
    inline.settle()
    assert [root] == pykka.ActorRegistry.get_all()
    root.stop(block=False)
    inline.settle()
    assert [] == pykka.ActorRegistry.get_all()


@pytest.mark.parametrize(
    "block",
    [
        lambda ref: ref.ask(Do()),
        lambda ref: ref.stop(),
        lambda ref: Reply[int]().get(),
        lambda ref: Reply[int]().map(str).get(),
        lambda ref: ask(ref, Do()).get(),
    ],
    ids=["ask", "stop", "get", "map-get", "typed-ask-get"],
)
def test_fact_6_what_would_freeze_the_loop_raises_would_block(loop: ActorLoop, block: Any) -> None:
    """At once, in the handler."""
    other = loop.spawn(Scripted, do=lambda *_: 1)
    ref = loop.spawn(Scripted, do=lambda *_: block(other))
    with pytest.raises(WouldBlock):
        ask(ref, Do()).get(timeout=5)


def test_fact_6_an_answer_that_is_there_may_be_got_on_the_loop(loop: ActorLoop) -> None:
    """That does not block."""

    def get(*_: Any) -> int:
        reply: Reply[int] = Reply()
        reply.set(4)
        return reply.get()

    assert 4 == ask(loop.spawn(Scripted, do=get), Do()).get(timeout=5)


def test_fact_6_awaiting_a_reply_leaves_the_loop_that_awaits_free() -> None:
    """Something else on it runs, and is what lets the answer come. pykka's own future would hang here."""

    async def main() -> int:
        reply: Reply[int] = Reply()
        asyncio.get_running_loop().call_soon(reply.set, 5)
        return await reply

    assert 5 == asyncio.run(main())


def test_fact_7_an_ask_that_comes_after_the_end_is_answered_too(inline: InlineLoop) -> None:
    """Pushed between the look at the stopped flag and the end: nobody drains that mailbox any more."""
    ref = inline.spawn(Scripted)
    inline.settle()
    reply: Reply[Any] = Reply()
    cell = ref.actor_inbox
    really_stopped = cell.stopped
    cell.stopped = type(really_stopped)()  # what the sender saw
    envelope_put = cell.push

    def push_late(envelope: Any) -> None:
        cell.stopped = really_stopped
        cell.terminate(None)
        envelope_put(envelope)

    original = type(cell).push
    try:
        type(cell).push = lambda self, envelope: push_late(envelope)  # type: ignore[method-assign]
        ref.send_request(Do(), reply, ())
    finally:
        type(cell).push = original  # type: ignore[method-assign]
    assert reply.done()
    with pytest.raises(pykka.ActorDeadError):
        reply.result()


def test_fact_7_every_ask_that_races_a_stop_is_answered() -> None:
    """Also those that race the end of the loop's thread."""
    for _ in range(30):
        loop = ActorLoop(Host(), "racing").start()
        ref = loop.spawn(Scripted, do=lambda *_: 1)
        replies: list[Reply[Any]] = []
        going = threading.Event()

        def send(ref: Any = ref, replies: list[Reply[Any]] = replies, going: threading.Event = going) -> None:
            for n in range(200):
                replies.append(ask(ref, Do(n=n), timeout=None))
                going.set()

        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        going.wait(5)
        ref.stop()
        loop.stop()
        for thread in threads:
            thread.join()
        assert 600 == len(replies)
        unanswered = [reply for reply in replies if not reply.done()]
        assert [] == unanswered


def test_fact_8_broadcast_of_anything_becomes_a_dead_letter(inline: InlineLoop) -> None:
    """A host program may do that at any time."""
    letters = Letters(inline)
    ref = inline.spawn(Scripted, register=True)
    pykka.ActorRegistry.broadcast({"anything": object})
    inline.settle()
    assert [("Scripted", {"anything": object}, "not_a_message")] == letters.seen
    assert ref.is_alive()
    ref.stop(block=False)


def test_fact_8_an_ask_of_what_is_no_message_fails_by_name(inline: InlineLoop) -> None:
    """And does the actor no harm."""
    ref = inline.spawn(Scripted)
    with pytest.raises(MessageError) as caught:
        ref.ask({"anything": 1})
    assert "not_a_message" == caught.value.reason
    assert ref.is_alive()
