"""Who runs, who waits and who is refused, case by case. The whole of it against a model: test_admission_model.py."""

from __future__ import annotations

import pytest
from propolis.actors.specs import EntryPoint
from propolis.actors.streams.admission import Admission, Admit, Block, Drop, Freed, Reject
from propolis.actors.streams.lazy_heap import LazyHeap

NOW = Admit(start_now=True)
LATER = Admit(start_now=False)


def one_slot(**settings: object) -> Admission:
    """An admission with one slot, taken by "running"."""
    admission = Admission(**{"max_concurrent": 1, **settings})  # type: ignore[arg-type]
    assert NOW == admission.offer("running")
    return admission


def started(admission: Admission, running: str = "running") -> list[str]:
    """What starts, in order, when each running one ends."""
    order: list[str] = []
    while start := admission.release(running).start:
        (running,) = start
        order.append(running)
    return order


def test_an_entry_point_says_how_many() -> None:
    """Slots, room and what to do without either."""
    admission = Admission.of(EntryPoint(id="e", max_concurrent=2, max_pending=1))
    assert [NOW, NOW, LATER, Reject(1)] == [admission.offer(each) for each in "abcd"]
    assert (2, 1, 0) == (admission.running, admission.queue_depth, admission.available_slots)


def test_a_higher_priority_starts_first_and_equals_start_in_order() -> None:
    """Priority may be negative."""
    admission = one_slot()
    for each, priority in [("a", 0), ("b", -1), ("c", 5), ("d", 0), ("e", 5)]:
        assert LATER == admission.offer(each, priority)
    assert ["c", "e", "a", "d", "b"] == started(admission)


def test_what_returns_goes_ahead_of_new_ones_of_its_priority_only() -> None:
    """A parked or backing-off execution has waited its turn once."""
    admission = one_slot()
    admission.offer("high", 1)
    admission.offer("new")
    assert Freed(start=("high",)) == admission.set_aside("running")
    assert LATER == admission.readmit("running")
    admission.offer("higher", 1)
    assert ["higher", "running", "new"] == started(admission, "high")


def test_those_that_return_start_in_the_order_of_their_return() -> None:
    """Not in that of their acceptance: one that comes back often must not starve another."""
    admission = one_slot()
    for each in ("a", "b", "c"):
        admission.set_aside(each)
    for each in ("b", "c", "a"):
        admission.readmit(each)
    assert ["b", "c", "a"] == started(admission)


def test_waiting_for_a_session_takes_neither_slot_nor_room() -> None:
    """So it keeps nobody out."""
    admission = Admission(max_concurrent=1, max_pending=1)
    admission.offer("a")
    assert Freed() == admission.set_aside("a")
    assert (1, 0, 1, "aside") == (
        admission.available_slots,
        admission.queue_depth,
        admission.aside,
        admission.where("a"),
    )
    assert [NOW, LATER] == [admission.offer("b"), admission.offer("c")]
    assert LATER == admission.readmit("a")
    assert (2, 0) == (admission.queue_depth, admission.aside)


def test_an_execution_keeps_its_priority_while_it_is_aside() -> None:
    """It need not be said again."""
    admission = one_slot()
    admission.offer("a", 7)
    admission.set_aside("a")
    admission.offer("b", 6)
    admission.readmit("a")
    assert ["a", "b"] == started(admission)


def test_no_room_at_all_still_fills_the_slots() -> None:
    """max_pending=0 is for work that must start at once or not be taken."""
    admission = Admission(max_concurrent=1, max_pending=0)
    assert [NOW, Reject(0)] == [admission.offer("a"), admission.offer("b")]
    assert Freed() == admission.release("a")
    assert NOW == admission.offer("b")


def test_room_without_bound_never_rejects() -> None:
    """max_pending=None."""
    admission = one_slot(max_pending=None)
    assert {LATER} == {admission.offer(f"e{number}") for number in range(20_000)}


def test_recovered_work_may_exceed_the_bound_and_new_work_may_not() -> None:
    """It was acknowledged before."""
    admission = one_slot(max_pending=1)
    assert [LATER, LATER, LATER] == [admission.recover(each) for each in "abc"]
    assert Reject(1) == admission.offer("d")
    assert ["a", "b", "c"] == started(admission)


def test_recovered_work_starts_while_slots_are_free() -> None:
    """As any other."""
    admission = Admission(max_concurrent=2, max_pending=0)
    assert [NOW, NOW, LATER] == [admission.recover(each) for each in "abc"]


def test_what_is_adopted_has_a_slot_even_if_there_are_then_too_many() -> None:
    """It is running already; the next start waits until there are few enough."""
    admission = Admission(max_concurrent=1)
    admission.adopt("a")
    admission.adopt("b")
    assert (2, 0) == (admission.running, admission.available_slots)
    admission.offer("c")
    assert [Freed(), Freed(start=("c",))] == [admission.release("a"), admission.release("b")]


def test_the_oldest_of_the_lowest_priority_is_dropped() -> None:
    """Its place, not its turn, goes to the newcomer."""
    admission = one_slot(max_pending=3, on_full="drop_oldest")
    for each, priority in [("a", 1), ("b", 0), ("c", 0)]:
        admission.offer(each, priority)
    assert [Drop(), Drop()] == [admission.offer("d", 1), admission.offer("e", 0)]
    assert [("b",), ("c",), ()] == [admission.settle("d"), admission.settle("e"), admission.settle("e")]
    assert (3, None) == (admission.queue_depth, admission.where("b"))
    assert ["a", "d", "e"] == started(admission)


def test_nothing_is_dropped_for_a_newcomer_of_lower_priority() -> None:
    """Then the newcomer is the one to be refused."""
    admission = one_slot(max_pending=1, on_full="drop_oldest")
    admission.offer("a", 1)
    assert [Reject(1), Drop()] == [admission.offer("b", 0), admission.offer("c", 1)]
    assert ("a",) == admission.settle("c")


def test_nobody_is_dropped_for_who_is_not_accepted_nor_where_there_is_room_by_then() -> None:
    """It may be a request that was made before, or one that the store refuses."""
    admission = one_slot(max_pending=1, on_full="drop_oldest")
    admission.offer("a")
    assert Drop() == admission.offer("refused")
    admission.withdraw("refused")
    assert Drop() == admission.offer("b")
    assert Freed(start=("a",)) == admission.release("running")
    assert [(), ()] == [admission.settle("refused"), admission.settle("b")]
    assert ("running", "queued") == (admission.where("a"), admission.where("b"))


def test_nobody_is_dropped_for_the_next_one_before_that_is_accepted() -> None:
    """Who was queued past the bound has the room of whoever has started, until the next one is accepted too."""
    admission = one_slot(max_pending=1, on_full="drop_oldest")
    admission.offer("a")
    assert [Drop(), Drop()] == [admission.offer("b"), admission.offer("refused")]
    assert Freed(start=("a",)) == admission.release("running")
    assert () == admission.settle("b")
    admission.withdraw("refused")
    assert "queued" == admission.where("b")
    assert Drop() == admission.offer("c")
    assert ("b",) == admission.settle("c")


def test_who_is_dropped_before_it_is_accepted_makes_no_room() -> None:
    """It had none: of those that were accepted one is out as well, or the queue would stay too long."""
    admission = one_slot(max_pending=1, on_full="drop_oldest")
    admission.offer("a")
    for each, priority in [("b", 9), ("c", 9), ("d", 0)]:
        assert Drop() == admission.offer(each, priority)
    assert [("a",), ("d", "b"), ()] == [admission.settle(each) for each in "bcd"]
    assert ["c"] == started(admission)


def test_what_has_run_is_never_dropped() -> None:
    """It has work behind it."""
    admission = one_slot(max_pending=1, on_full="drop_oldest")
    admission.set_aside("ran", 0)
    admission.readmit("ran")
    assert Reject(1) == admission.offer("a", 9)


def test_an_earlier_place_in_the_queue_counts_for_nothing_after_a_return() -> None:
    """Neither for whose turn it is, nor for who is dropped."""
    admission = one_slot(max_pending=2, on_full="drop_oldest")
    for each in ("a", "b"):
        admission.set_aside(each)
        admission.readmit(each)
    admission.set_aside("a")
    admission.readmit("a")
    assert ["b", "a"] == started(admission)
    admission = one_slot(max_pending=1, on_full="drop_oldest")
    admission.offer("a")
    admission.set_aside("a")
    admission.readmit("a")
    assert Reject(1) == admission.offer("b")


def test_without_room_at_all_there_is_nothing_to_drop() -> None:
    """The newcomer is refused."""
    assert Reject(0) == one_slot(max_pending=0, on_full="drop_oldest").offer("a")


def test_recovered_work_that_has_not_run_can_be_dropped() -> None:
    """It is pending as any other; one is dropped for one that comes in."""
    admission = one_slot(max_pending=1, on_full="drop_oldest")
    admission.recover("a")
    admission.recover("b")
    assert Drop() == admission.offer("c")
    assert ("a",) == admission.settle("c")
    assert 2 == admission.queue_depth


def test_blocked_callers_come_in_one_by_one_in_the_order_of_their_coming() -> None:
    """Whatever their priority: that counts once they are in."""
    admission = one_slot(max_pending=1, on_full="block")
    admission.offer("a")
    assert [Block(), Block()] == [admission.offer("b", 0), admission.offer("c", 9)]
    assert Freed(start=("a",), admitted=("b",)) == admission.release("running")
    assert Freed(start=("b",), admitted=("c",)) == admission.release("a")
    assert Freed(start=("c",)) == admission.release("b")


def test_a_blocked_caller_is_admitted_when_a_queued_one_is_cancelled() -> None:
    """Room is room."""
    admission = one_slot(max_pending=1, on_full="block")
    admission.offer("a")
    admission.offer("b")
    assert Freed(admitted=("b",)) == admission.withdraw("a")


def test_a_blocked_caller_that_withdraws_leaves_nothing() -> None:
    """D1: it never was an execution."""
    admission = one_slot(max_pending=0, on_full="block")
    admission.offer("a")
    admission.offer("b")
    assert Freed() == admission.withdraw("a")
    assert (1, None) == (admission.blocked, admission.where("a"))
    assert Freed(start=("b",), admitted=("b",)) == admission.release("running")


def test_nobody_overtakes_the_blocked() -> None:
    """A newcomer finds no room that they were not offered first."""
    admission = one_slot(max_pending=1, on_full="block")
    for each in ("a", "b"):
        admission.offer(each)
    admission.release("running")
    assert Block() == admission.offer("c")


def test_a_cancelled_one_does_not_start() -> None:
    """It is gone at once."""
    admission = one_slot()
    for each in ("a", "b"):
        admission.offer(each)
    assert Freed() == admission.withdraw("a")
    assert ["b"] == started(admission)


def test_a_start_that_failed_gives_its_slot_to_the_next() -> None:
    """withdraw() works wherever the execution is."""
    admission = one_slot()
    admission.offer("a")
    assert Freed(start=("a",)) == admission.withdraw("running")


def test_a_slot_is_given_back_once() -> None:
    """A second release, or one of somebody without a slot, frees nothing."""
    admission = one_slot()
    for each in ("a", "b"):
        admission.offer(each)
    assert Freed(start=("a",)) == admission.release("running")
    assert [Freed(), Freed(), Freed()] == [admission.release(each) for each in ("running", "b", "nobody")]
    assert "queued" == admission.where("b")


def test_withdrawing_nobody_changes_nothing() -> None:
    """A cancel may be late."""
    admission = one_slot()
    assert Freed() == admission.withdraw("nobody")
    assert 1 == admission.running


@pytest.mark.parametrize("place", ["running", "queued", "blocked", "aside"])
def test_an_id_that_is_in_already_is_not_taken_again(place: str) -> None:
    """It would hold two places, and leave one of them."""
    admission = one_slot(max_pending=1, on_full="block")
    admission.offer("queued")
    admission.offer("blocked")
    admission._aside["aside"] = 0
    for enter in (admission.offer, admission.recover, admission.adopt):
        with pytest.raises(ValueError, match=f"'{place}' is {place} already"):
            enter(place)


@pytest.mark.parametrize("id", ["running", "nobody"])
def test_only_what_is_aside_is_readmitted(id: str) -> None:
    """Anything else is a bug of the caller."""
    with pytest.raises(ValueError, match="is not aside"):
        one_slot().readmit(id)


def test_thirty_thousand_cancels_leave_no_trace() -> None:
    """What is cancelled stays in the heaps for a while, but never more of it than of what is queued (or 64)."""
    admission = one_slot(max_pending=None, on_full="drop_oldest")
    for number in range(30_000):
        admission.offer(f"e{number}", number % 7)
        if number >= 100:
            admission.withdraw(f"e{number - 100}")
    assert 100 == admission.queue_depth
    assert max(len(admission._next_to_start), len(admission._next_to_drop)) <= 300


def test_thirty_thousand_wait_and_start_in_order() -> None:
    """With as many blocked behind them, most of which withdraw. In O(n) each, this would take a minute."""
    admission = one_slot(max_pending=30_000, on_full="block")
    for number in range(60_000):
        admission.offer(f"e{number}", -number)
    for number in range(30_001, 60_000):
        admission.withdraw(f"e{number}")
    assert (30_000, 1) == (admission.queue_depth, admission.blocked)
    assert [f"e{number}" for number in range(30_001)] == started(admission)


def test_a_heap_without_anything_current_is_empty() -> None:
    """What is out of date does not come up."""
    heap = LazyHeap()
    heap.push((0, 0, 1), "a", lambda _id, _number: True)
    assert "a" == heap.first(lambda _id, _number: True)
    assert heap.first(lambda _id, _number: False) is None
    assert 0 == len(heap)
