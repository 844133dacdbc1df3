"""`Reply`: a pykka future that any event loop can await without blocking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from propolis.actors import Reply
from propolis.messages import Failure, InvalidInput, SessionNotFound, encode

from .actors import Numbers


def answered(value: Any) -> Reply[Any]:
    """A reply that is there."""
    reply: Reply[Any] = Reply()
    reply.set(value)
    return reply


def in_thread(call: Callable[[], Any]) -> threading.Thread:
    """Run it elsewhere."""
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_whoever_awaits_it_without_asyncio_is_told_what_to_do() -> None:
    """On trio's loop, say. An answer that is there needs no loop."""
    with pytest.raises(InvalidInput, match=r"no event loop of asyncio runs here\. Call \.get\(\) in a thread"):
        Reply().__await__().send(None)
    with pytest.raises(StopIteration, match="3"):
        answered(3).__await__().send(None)


def test_get_blocks_until_another_thread_answers() -> None:
    """And gives the same answer again and again."""
    reply: Reply[int] = Reply()
    thread = in_thread(lambda: reply.set(3))
    assert [3, 3] == [reply.get(timeout=5), reply.get()]
    thread.join()


def test_get_times_out_and_may_be_tried_again() -> None:
    """As pykka's."""
    reply: Reply[int] = Reply()
    with pytest.raises(pykka.Timeout):
        reply.get(timeout=0)
    with pytest.raises(pykka.Timeout):
        reply.get(timeout=0.01)
    reply.set(1)
    assert 1 == reply.get(timeout=0)


def test_a_second_answer_is_refused_and_the_first_one_stays() -> None:
    """By set, by set_exception and by set_get_hook; offer_error gives way without a word."""
    reply = answered(1)
    for again in (lambda: reply.set(2), reply.set_exception, lambda: reply.set_get_hook(lambda _: 2)):
        with pytest.raises(asyncio.InvalidStateError):
            again()
    reply.offer_error(ValueError())
    assert 1 == reply.get()


def test_of_many_that_race_to_answer_one_wins() -> None:
    """Under eight threads."""
    for _ in range(50):
        reply: Reply[int] = Reply()
        refused: list[int] = []
        start = threading.Barrier(8)

        def answer(n: int, reply: Reply[int] = reply, refused: list[int] = refused, start: Any = start) -> None:
            start.wait()
            try:
                reply.set(n)
            except asyncio.InvalidStateError:
                refused.append(n)

        threads = [threading.Thread(target=answer, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 7 == len(refused)
        assert reply.get() not in refused


def test_an_exception_is_raised_for_every_reader() -> None:
    """As set by set_exception() in an except block."""
    reply: Reply[int] = Reply()
    try:
        1 // 0  # noqa: B018 - it raises
    except ZeroDivisionError:
        reply.set_exception()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="by zero"):
            reply.get()


def test_bytes_are_decoded_for_the_reader() -> None:
    """Each answer that is a message is the reader's own copy."""
    original = Numbers(values=(1, 2))
    reply: Reply[Numbers] = Reply()
    reply.set_bytes(encode(original))
    assert original == reply.get()
    assert original is not reply.get()


def test_an_answer_that_is_a_failure_is_raised_as_its_error() -> None:
    """The leaf of the family that it was made from."""
    reply: Reply[Any] = Reply()
    reply.set_bytes(encode(Failure.of(SessionNotFound(session_id="s"))))
    with pytest.raises(SessionNotFound):
        reply.get()


def test_await_gives_the_answer_or_the_exception() -> None:
    """Also when it is there already."""

    async def main() -> tuple[int, int]:
        late: Reply[int] = Reply()
        thread = in_thread(lambda: late.set(2))
        both = await answered(1), await late
        await asyncio.to_thread(thread.join)
        bad: Reply[int] = Reply()
        bad.set_error(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await bad
        return both

    assert (1, 2) == asyncio.run(main())


def test_one_reply_may_be_awaited_from_several_loops_at_once() -> None:
    """And got in a thread besides."""
    reply: Reply[int] = Reply()
    results: list[int] = []
    waiting = threading.Barrier(4)

    async def wait() -> int:
        waiting.wait()
        return await reply

    def get() -> None:
        waiting.wait()
        results.append(reply.get(timeout=5))

    threads = [in_thread(lambda: results.append(asyncio.run(wait()))) for _ in range(2)] + [in_thread(get)]
    waiting.wait()
    reply.set(7)
    for thread in threads:
        thread.join()
    assert [7, 7, 7] == results


def test_cancelling_a_task_that_awaits_leaves_the_reply_to_others() -> None:
    """And leaves nothing behind in it."""

    async def main() -> int:
        reply: Reply[int] = Reply()

        async def wait() -> int:
            return await reply

        first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert 1 == len(reply._callbacks)
        reply.set(4)
        return await second

    assert 4 == asyncio.run(main())


def test_a_timeout_of_asyncios_own_leaves_nothing_behind() -> None:
    """asyncio.timeout cancels, and so is the await."""

    async def main() -> int:
        reply: Reply[int] = Reply()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await reply
        return len(reply._callbacks)

    assert 0 == asyncio.run(main())


def test_waiters_are_called_back_in_the_order_in_which_they_came() -> None:
    """Once each, also those that come afterwards."""
    order: list[int] = []
    reply: Reply[int] = Reply()
    for n in range(3):
        reply.on_done(lambda n=n: order.append(n))  # type: ignore[misc]
    reply.set(1)
    reply.on_done(lambda: order.append(3))
    assert [0, 1, 2, 3] == order


def test_no_callback_is_lost_between_an_answer_and_a_late_comer() -> None:
    """They race in two threads, 2,000 times."""
    called: list[int] = []
    for n in range(2_000):
        reply: Reply[int] = Reply()
        thread = in_thread(lambda reply=reply: reply.set(1))  # type: ignore[misc]
        reply.on_done(lambda n=n: called.append(n))  # type: ignore[misc]
        thread.join()
    assert list(range(2_000)) == called


def test_map_filter_reduce_and_join_do_as_pykkas() -> None:
    """By get and by await."""

    def make() -> tuple[Reply[Any], ...]:
        numbers = answered([1, 2, 3, 4])
        return (
            numbers.map(len),
            numbers.filter(lambda n: n % 2 == 0),
            numbers.reduce(lambda a, b: a + b),
            numbers.reduce(lambda a, b: a + b, 10),
            answered(1).join(answered(2), answered(3)),
        )

    async def await_all() -> list[Any]:
        return [await reply for reply in make()]

    expected = [4, [2, 4], 10, 20, [1, 2, 3]]
    assert expected == [reply.get() for reply in make()]
    assert expected == asyncio.run(await_all())
    assert expected == list(pykka.get_all(make(), timeout=5))


def test_a_mapped_reply_computes_once_and_gives_the_readers_own_error() -> None:
    """Once computed it is kept; an error of the source, or a timeout, passes."""
    calls: list[int] = []
    mapped = answered(2).map(lambda n: calls.append(n) or n + 1)
    assert ([3, 3], [2]) == ([mapped.get(), mapped.get()], calls)
    with pytest.raises(ZeroDivisionError):
        answered(0).map(lambda n: 1 // n).get()
    source: Reply[int] = Reply()
    late = source.map(str)
    with pytest.raises(pykka.Timeout):
        late.get(timeout=0)
    source.set(5)
    assert "5" == late.get(timeout=0)


def test_a_derived_reply_calls_back_when_its_sources_are_there() -> None:
    """So an actor can follow it."""
    first: Reply[int] = Reply()
    second: Reply[int] = Reply()
    joined = first.map(str).join(second)
    results: list[Any] = []
    joined.on_done(lambda: results.append(joined.result()))
    first.set(1)
    assert ([], False) == (results, joined.done())
    second.set(2)
    assert [["1", 2]] == results
    with pytest.raises(TypeError):
        first.join(pykka.ThreadingFuture()).on_done(print)


def test_awaiting_a_join_with_a_future_of_pykkas_own_does_not_block_the_loop() -> None:
    """What sets it runs on the very loop that awaits."""

    async def main() -> list[Any]:
        theirs: pykka.ThreadingFuture[int] = pykka.ThreadingFuture()
        rescue = threading.Timer(20.0, theirs.set, args=("the loop was blocked",))
        rescue.start()
        asyncio.get_running_loop().call_later(0.02, theirs.set, 2)
        both = await answered(1).join(theirs)
        rescue.cancel()
        return both

    assert [1, 2] == asyncio.run(main())


def test_a_get_hook_is_called_once_by_get_and_by_await() -> None:
    """Pykka's own extension point."""
    calls: list[Any] = []
    reply: Reply[int] = Reply()
    reply.set_get_hook(lambda timeout: calls.append(timeout) or 6)
    with pytest.raises(asyncio.InvalidStateError):
        reply.set(1)

    async def main() -> int:
        return await reply

    assert (6, 6, [3]) == (reply.get(timeout=3), asyncio.run(main()), calls)


def test_a_reply_is_taken_where_asyncio_wants_a_coroutine() -> None:
    """By several tasks, one of which is cancelled; by a group; and once more when the answer is there."""

    async def tasks() -> None:
        reply: Reply[int] = Reply()
        first, second = asyncio.create_task(reply), asyncio.create_task(reply)
        assert "Reply" in repr(first)
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        assert (True, False) == (second.cancelled(), first.done())
        reply.set(3)
        async with asyncio.TaskGroup() as group:
            third = group.create_task(reply)
        assert (3, 3, 3) == (await first, third.result(), await reply)

    asyncio.run(tasks())


def test_a_task_of_a_reply_fails_as_it_does_and_may_be_cancelled_before_it_begins() -> None:
    """Waiting can begin anew after that."""

    async def tasks() -> None:
        failed: Reply[int] = Reply()
        failed.set_error(ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            await asyncio.create_task(failed)
        reply: Reply[int] = Reply()
        task = asyncio.create_task(reply)
        task.cancel()
        await asyncio.wait([task])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reply, 0.001)
        reply.close()
        asyncio.get_running_loop().call_soon(reply.set, 4)
        assert (True, 4) == (task.cancelled(), await asyncio.wait_for(reply, 5))
        assert ["failed", "answered", "waiting"] == [repr(each)[8:-1] for each in (failed, reply, Reply[int]())]

    asyncio.run(tasks())
