"""Asking: timeouts, cycles, answers of every kind, and pykka's own actors at the other end."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pykka
import pytest

from propolis.actors import LATER, ActorLoop, ask
from propolis.messages import AskCycle, AskTimeout, Encoded, InvalidInput, MessageError, encode
from propolis.testing import InlineLoop

from .actors import Do, Echo, Letters, Numbers, Scripted, Unknown


def asking(other: list[Any]) -> Any:
    """An async handler that asks the first of `other` and gives its answer."""

    async def handler(actor: Any, message: Do) -> Any:
        return await ask(other[0], Do(n=message.n + 1))

    return handler


# -- timeouts --------------------------------------------------------------------------------------------------------


def test_an_ask_that_is_not_answered_in_time_says_whom_and_what(inline: InlineLoop) -> None:
    """By get, in a thread."""
    ref = inline.spawn(Scripted, do=lambda *_: LATER)
    with pytest.raises(AskTimeout) as caught:
        ask(ref, Do(), timeout=0.01).get()
    assert ("test.core.do.v1", 0.01) == (caught.value.message, caught.value.seconds)
    assert ref.actor_urn in caught.value.actor


def test_an_awaited_ask_times_out_too(loop: ActorLoop) -> None:
    """On any loop."""
    ref = loop.spawn(Scripted, do=lambda *_: LATER)

    async def main() -> None:
        with pytest.raises(AskTimeout):
            await ask(ref, Do(), timeout=0.01)

    asyncio.run(main())


def test_an_answer_that_comes_after_the_timeout_hurts_nobody(inline: InlineLoop) -> None:
    """And is there for who looks again."""
    ref = inline.spawn(Scripted, do=lambda *_: 8)
    reply = ask(ref, Do(), timeout=0.01)
    with pytest.raises(AskTimeout):
        reply.get()
    assert 8 == inline.get(reply)


def test_later_answers_when_the_actor_wants(inline: InlineLoop) -> None:
    """The handler keeps the reply and other messages have their turn."""
    kept: list[Any] = []
    ref = inline.spawn(Scripted, do=lambda actor, _: kept.append(actor.keep_reply()) or LATER, other=lambda *_: 1)
    first = ask(ref, Do())
    assert 1 == inline.get(ask(ref, Do(what="other")))
    assert not first.done()
    kept[0].set(5)
    assert 5 == first.get()


# -- cycles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_chain_of_asks_that_comes_back_raises_ask_cycle_at_once(inline: InlineLoop, length: int) -> None:
    """An actor that asks itself, two that ask each other, three in a ring."""
    nexts: list[list[Any]] = [[] for _ in range(length)]
    refs = [inline.spawn(Scripted, name=f"a{i}", do=asking(nexts[i])) for i in range(length)]
    for i in range(length):
        nexts[i].append(refs[(i + 1) % length])
    with pytest.raises(AskCycle) as caught:
        inline.get(ask(refs[0], Do()))
    assert [*(ref.actor_urn for ref in refs), refs[0].actor_urn] == list(caught.value.chain)


def test_asking_two_at_once_and_meeting_at_a_third_is_no_cycle(inline: InlineLoop) -> None:
    """A diamond: the third is not waiting for anybody."""
    bottom = inline.spawn(Scripted, do=lambda *_: 1)
    sides = [inline.spawn(Scripted, do=asking([bottom])) for _ in range(2)]

    async def both(actor: Any, message: Do) -> int:
        return sum(await asyncio.gather(*map(gathered, sides)))

    async def gathered(side: Any) -> int:
        return int(await ask(side, Do()))

    assert 2 == inline.get(ask(inline.spawn(Scripted, do=both), Do()))


def test_what_a_handler_started_and_left_may_ask_its_actor_again(inline: InlineLoop) -> None:
    """The task inherits the chain, but the handler that waited in it is over."""
    tasks: list[asyncio.Task[int]] = []
    top: list[Any] = []
    other = inline.spawn(Scripted, do=asking(top))

    async def background() -> int:
        return int(await ask(other, Do()))

    async def start(actor: Any, message: Do) -> int:
        tasks.append(asyncio.get_running_loop().create_task(background()))
        return 0

    top.append(inline.spawn(Scripted, start=start, do=lambda *_: 3))
    assert 0 == inline.get(ask(top[0], Do(what="start")))
    inline.settle_until(tasks[0].done)
    assert 3 == tasks[0].result()


def test_a_request_inside_an_async_handler_is_no_part_of_a_chain(inline: InlineLoop) -> None:
    """It does not wait, so who it goes to may ask back."""
    top: list[Any] = []
    answers: list[Any] = []
    other = inline.spawn(Scripted, do=asking(top))

    async def start(actor: Any, message: Do) -> int:
        actor.request(other, Do(), answers.append, answers.append)
        for _ in range(20):  # until the other one has asked back
            await asyncio.sleep(0)
        return 0

    top.append(inline.spawn(Scripted, start=start, do=lambda *_: 3))
    inline.get(ask(top[0], Do(what="start")))
    inline.settle()
    assert [3] == answers


# -- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, 1, 2.5, "text", b"bytes", True, (1, "two"), Numbers(values=(1, 2))])
def test_scalars_tuples_of_them_and_messages_are_answers(inline: InlineLoop, answer: Any) -> None:
    """A message comes as the asker's own copy."""
    got = inline.get(ask(inline.spawn(Scripted, do=lambda *_: answer), Do()))
    assert answer == got
    assert not isinstance(answer, Numbers) or answer is not got


@pytest.mark.parametrize("answer", [[1], {"a": 1}, object(), ([],)])
def test_an_answer_that_could_not_travel_is_refused_by_name(inline: InlineLoop, answer: Any) -> None:
    """The asker hears of it; the actor lives on."""
    ref = inline.spawn(Scripted, do=lambda *_: answer)
    with pytest.raises(MessageError) as caught:
        inline.get(ask(ref, Do()))
    assert "not_a_message" == caught.value.reason
    assert ref.is_alive()


def test_an_error_of_the_family_is_a_reply_and_no_crash(inline: InlineLoop) -> None:
    """Bad input is a reply; told, not asked, it is a dead letter."""

    def refuse(*_: Any) -> None:
        raise InvalidInput(what="n", reason="it is bad")

    letters = Letters(inline)
    ref = inline.spawn(Scripted, do=refuse)
    with pytest.raises(InvalidInput):
        inline.get(ask(ref, Do()))
    ref.tell(Do(n=2))
    inline.settle()
    assert [("Scripted", Do(n=2), "invalid_input")] == letters.seen
    assert ref.is_alive()


def test_a_message_that_no_handler_is_for_is_a_dead_letter_or_an_error_by_name(inline: InlineLoop) -> None:
    """Whether it was told or asked."""
    letters = Letters(inline)
    ref = inline.spawn(Scripted)
    ref.tell(Unknown())
    with pytest.raises(MessageError) as caught:
        inline.get(ask(ref, Unknown()))
    assert ("unknown_tag", "test.core.unknown.v1") == (caught.value.reason, caught.value.tag)
    assert [("Scripted", Unknown(), "unhandled")] == letters.seen


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xc1", "not_a_message"),
        (b"\x92\xaftest.core.do.v1", "truncated"),
        (encode(Do()) + b"\x00", "trailing_bytes"),
        (encode(Do()).replace(b"core.do", b"core.no"), "unknown_tag"),
        (b"\x92\xaftest.core.do.v1\x81\xa1n\xa3one", "invalid_fields"),
        (b"\x92\xaftest.core.do.v1\x81\xa1m\x01", "invalid_fields"),
    ],
)
def test_bytes_that_are_no_message_are_refused_by_name(inline: InlineLoop, data: bytes, reason: str) -> None:
    """Encoded elsewhere, they are checked here; the actor lives on, told or asked."""
    letters = Letters(inline)
    ref = inline.spawn(Scripted, do=lambda _, message: message.n)
    ref.tell(Encoded(data))
    reply = ref.ask(Encoded(data), block=False)
    with pytest.raises(MessageError) as caught:
        inline.get(reply)
    assert reason == caught.value.reason
    assert 7 == inline.get(ref.ask(Encoded(encode(Do(n=7))), block=False))
    assert ["message_error"] == [reason for _, _, reason in letters.seen]


def test_what_pykkas_own_code_puts_into_the_inbox_is_handled_or_refused(inline: InlineLoop) -> None:
    """Code that knows no Ref of ours puts envelopes of pykka's."""
    from pykka._envelope import Envelope

    from propolis.actors import Reply

    ref = inline.spawn(Scripted, do=lambda *_: 1)
    good: Reply[Any] = Reply()
    bad: Reply[Any] = Reply()
    ref.actor_inbox.put(Envelope(Do(), reply_to=good))
    ref.actor_inbox.put(Envelope({"no": "message"}, reply_to=bad))
    assert 1 == inline.get(good)
    with pytest.raises(MessageError):
        inline.get(bad)
    assert ref.is_alive()


# -- pykka's own actors ----------------------------------------------------------------------------------------------


def test_a_threading_actor_asks_one_of_ours_and_gets_the_answer(loop: ActorLoop) -> None:
    """With a plain blocking ask, in its own thread."""
    ours = loop.spawn(Scripted, do=lambda _, message: message.n * 2)
    echo = Echo.start(lambda n: ours.ask(Do(n=n), timeout=5))
    assert 42 == echo.ask(21, timeout=5)
    echo.stop()


def test_one_of_ours_awaits_a_threading_actor_without_blocking_the_loop(loop: ActorLoop) -> None:
    """While it waits, others are served; no thread is spent on the waiting."""
    opened = threading.Event()
    echo = Echo.start(lambda message: opened.wait(5) and message.n)
    asker = loop.spawn(Scripted, do=asking([echo]))
    before = threading.active_count()
    waiting = ask(asker, Do(n=4))
    assert 1 == ask(loop.spawn(Scripted, do=lambda *_: 1), Do()).get(timeout=5)
    assert before == threading.active_count()
    opened.set()
    assert 5 == waiting.get(timeout=5)
    echo.stop()


def test_a_typed_ask_of_a_threading_actor_gets_its_error_or_hears_that_it_is_dead() -> None:
    """As of one of ours."""
    echo = Echo.start(lambda message: 1 // message.n)
    with pytest.raises(ZeroDivisionError):
        ask(echo, Do(n=0)).get(timeout=5)
    echo.stop()
    with pytest.raises(pykka.ActorDeadError):
        ask(echo, Do()).get(timeout=5)


def test_stop_says_whether_there_was_something_to_stop(loop: ActorLoop) -> None:
    """And can be awaited."""
    ref = loop.spawn(Scripted)

    async def main() -> tuple[bool, bool]:
        return await ref.stop(block=False), await ref.stop(block=False)

    assert (True, False) == asyncio.run(main())
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(Do())


def test_a_stop_keeps_its_place_behind_what_was_sent_before(inline: InlineLoop) -> None:
    """As pykka documents."""
    ref = inline.spawn(Scripted, do=lambda *_: 1)
    before = ask(ref, Do())
    ref.stop(block=False)
    after = ask(ref, Do())
    inline.settle()
    assert 1 == before.result()
    with pytest.raises(pykka.ActorDeadError):
        after.result()


def test_somebody_who_waits_for_the_stopped_flag_is_woken(loop: ActorLoop) -> None:
    """Several at once, as with pykka's Event."""
    ref = loop.spawn(Scripted)
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(ref.actor_stopped.wait(5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    ref.stop()
    for thread in threads:
        thread.join()
    assert [True] * 4 == woken
