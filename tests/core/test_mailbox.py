"""The mailbox: its bound, its two lanes, order, and nothing lost."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from propolis.actors import ActorLoop, AsyncioActor, Handlers, Intensity, ask
from propolis.messages import MailboxFull
from propolis.testing import InlineLoop

from .actors import Boss, Do, Letters, Note, Scripted, Urgent


def scripted(ref: Any) -> Scripted:
    """The instance behind a reference."""
    instance = ref.actor_inbox.instance()
    assert isinstance(instance, Scripted)
    return instance


def test_control_messages_go_ahead_of_user_messages_and_keep_their_own_order(inline: InlineLoop) -> None:
    """A cancel is not stuck behind a thousand notes."""
    ref = inline.spawn(Scripted)
    for n in range(3):
        ref.tell(Note(n=n))
    ref.tell(Urgent(n=10))
    ref.deliver(Urgent(n=11))
    inline.settle()
    assert [10, 11, 0, 1, 2] == scripted(ref).seen


def test_a_full_mailbox_still_takes_control_messages_stops_and_what_is_delivered(inline: InlineLoop) -> None:
    """They have no limit: what ends an actor must reach it."""
    ref = inline.spawn(Scripted, limit=1)
    ref.tell(Note(n=0))
    ref.tell(Urgent(n=10))
    ref.deliver(Note(n=1))
    stopped = ref.stop(block=False)
    inline.settle()
    assert (True, False) == (stopped.result(), ref.is_alive())


def test_an_ask_of_a_full_mailbox_is_answered_with_mailbox_full(inline: InlineLoop) -> None:
    """By the reply, at once."""
    ref = inline.spawn(Scripted, limit=1, do=lambda *_: 1)
    ref.tell(Note(n=0))
    reply = ask(ref, Do(n=5))
    assert reply.done()
    with pytest.raises(MailboxFull) as caught:
        reply.result()
    assert Do(n=5) == caught.value.message


def test_an_actor_on_the_loop_is_not_refused_by_a_full_mailbox(inline: InlineLoop) -> None:
    """Traffic inside is bounded by admission; refusing it would lose it."""
    full = inline.spawn(Scripted, limit=1)

    def flood(*_: Any) -> int:
        for n in range(10):
            full.tell(Note(n=n))
        return full.actor_inbox.depth()

    assert 10 == inline.get(ask(inline.spawn(Scripted, do=flood), Do()))
    assert list(range(10)) == scripted(full).seen


def test_room_comes_back_with_every_message_handled(inline: InlineLoop) -> None:
    """The bound is on what waits."""
    ref = inline.spawn(Scripted, limit=1)
    for n in range(3):
        ref.tell(Note(n=n))
        inline.settle()
    assert [0, 1, 2] == scripted(ref).seen


def test_eight_senders_lose_nothing_double_nothing_and_each_stays_in_order(loop: ActorLoop) -> None:
    """16,000 messages from eight threads."""
    seen: list[tuple[int, int]] = []

    class Recorder(AsyncioActor):
        def note(self, message: Note) -> None:
            seen.append((message.sender, message.n))

        handlers: ClassVar[Handlers] = {Note: note}

    ref = loop.spawn(Recorder, limit=1_000_000)

    def send(sender: int) -> None:
        for n in range(2_000):
            ref.tell(Note(n=n, sender=sender))

    threads = [threading.Thread(target=send, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ref.stop()
    assert 16_000 == len(seen)
    for sender in range(8):
        assert list(range(2_000)) == [n for who, n in seen if who == sender]


def test_no_message_is_handled_before_on_start(loop: ActorLoop) -> None:
    """Also not when the loop is busy while another thread spawns and tells."""
    early: list[int] = []

    class Careful(AsyncioActor):
        started = False

        def on_start(self) -> None:
            self.started = True

        def note(self, message: Note) -> None:
            if not self.started:
                early.append(message.n)

        handlers: ClassVar[Handlers] = {Note: note}

    def keep_busy(actor: Scripted, message: Do) -> int:
        actor.actor_ref.tell(message)
        return 0

    busy = loop.spawn(Scripted, do=keep_busy)
    busy.tell(Do())
    refs = [loop.spawn(Careful) for _ in range(200)]
    for n, ref in enumerate(refs):
        ref.tell(Note(n=n))
    for ref in refs:
        ref.stop()
    busy.actor_inbox.loop.post(busy.actor_inbox.stop)
    assert [] == early


def test_an_actor_with_much_to_do_does_not_keep_others_from_their_turn(inline: InlineLoop) -> None:
    """64 messages, then the next one."""
    order: list[str] = []
    first = inline.spawn(Scripted, do=lambda *_: order.append("first"))
    second = inline.spawn(Scripted, do=lambda *_: order.append("second"))
    for _ in range(200):
        first.tell(Do())
    second.tell(Do())
    inline.settle()
    assert 64 == order.index("second")


def test_what_waits_when_an_actor_stops_is_refused_or_a_dead_letter(inline: InlineLoop) -> None:
    """Asks hear of it, tells are counted."""
    letters = Letters(inline)
    ref = inline.spawn(Scripted, do=lambda actor, _: actor.stop_now())
    ref.tell(Do())
    ref.tell(Note(n=1))
    late = ask(ref, Do())
    inline.settle()
    assert late.done()
    assert [("Scripted", Note(n=1), "stopped")] == letters.seen
    assert 1 == inline.dead_letters


def test_what_the_machinery_says_to_an_actor_that_ends_before_it_hears_it_is_no_dead_letter(inline: InlineLoop) -> None:
    """A stream that stops cannot know yet that one of its executions has just ended."""
    letters = Letters(inline)
    ref = inline.spawn(Scripted, do=lambda actor, _: actor.stop_now())
    ref.tell(Do())
    ref.deliver(Note(n=1))
    inline.settle()
    assert not ref.is_alive()
    assert [] == letters.seen


class MailboxMachine(RuleBasedStateMachine):
    """Tells, urgent tells, crashes and turns in any order, against two lists."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = InlineLoop().start()
        boss = self.loop.spawn(Boss, Intensity(max_restarts=10_000))
        self.loop.settle()
        self.ref = self.loop.spawn(Scripted, parent=boss.actor_inbox, name="worker", limit=5, do=lambda *_: 1 / 0)
        self.user: list[int] = []
        self.control: list[int] = []
        self.seen: list[int] = []
        self.next = 0

    @rule()
    def tell(self) -> None:
        self.next += 1
        if len(self.user) >= 5:
            with pytest.raises(MailboxFull):
                self.ref.tell(Note(n=self.next))
        else:
            self.ref.tell(Note(n=self.next))
            self.user.append(self.next)

    @rule()
    def tell_urgently(self) -> None:
        self.next += 1
        self.ref.tell(Urgent(n=self.next))
        self.control.append(self.next)

    @precondition(lambda self: len(self.user) < 5)
    @rule()
    def crash(self) -> None:
        self.ref.tell(Do())
        self.user.append(0)

    @rule(data=st.data())
    def settle(self, data: Any) -> None:
        del data
        self.loop.host.advance(1.0)  # type: ignore[attr-defined]
        self.loop.host.advance(60.0)  # type: ignore[attr-defined]
        self.seen += self.control + [n for n in self.user if n]
        self.user, self.control = [], []
        assert self.seen == scripted(self.ref).seen

    @invariant()
    def what_waits_is_counted(self) -> None:
        assert len(self.user) == self.ref.actor_inbox.depth()

    def teardown(self) -> None:
        self.loop.stop()


TestMailboxMachine = MailboxMachine.TestCase
