"""The SessionActor: commit, then the replies, then the events; and nothing acknowledged is lost, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from propolis.actors.backlog import Backlog
from propolis.actors.lease import Lease
from pykka.messages import ProxyCall

from propolis.actors import (
    Backoff,
    Handlers,
    RuntimeConfig,
    Services,
    SessionActor,
    Store,
    StoreThreads,
    WakeupActor,
    ask,
)
from propolis.messages import (
    Event,
    LeaseLost,
    LeaseWasLost,
    PublishEvents,
    Rejoined,
    RuntimeStopped,
    StaleWriter,
    StoreUnavailable,
    WatchEvents,
)
from propolis.testing import FailingStore, InlineLoop, ManualHost, Probe

from ..stores.builders import advance, opening, runtime_row
from .actors import Boss

AWAY = StoreUnavailable(store="memory:", reason="the disk is full")
RETRY = Backoff(initial=1.0, maximum=60.0, factor=2.0, jitter=0.0, immediate_first=False)


class Root(Boss):
    """Supervises the SessionActor and hears that the lease was lost."""

    handlers: ClassVar[Handlers] = {**Boss.handlers, LeaseWasLost: lambda actor, message: actor.seen.append(-1)}


class Desk:
    """A SessionActor on an inline loop, before a store that fails on demand; what happens is written to `order`."""

    def __init__(self, loop: InlineLoop, *, batch: int = 512) -> None:
        assert isinstance(loop.host, ManualHost)
        self.loop = loop
        self.clock = loop.host
        self.failing = FailingStore("memory:")
        self.threads = StoreThreads(self.clock, lambda: self.failing.open(self.clock))
        self.store: Store = self.threads.open().get(timeout=5)
        self.threads.write(lambda store: store.register(runtime_row("r1"))).get(timeout=5)
        self.order: list[str] = []
        self.events = Probe(lambda _: self.order.append("event"))
        self.root = loop.spawn(Root)
        self.services = Services(
            lease=Lease("r1", 3000.0, self.clock),
            backlog=Backlog("memory:", 20_000),
            config=RuntimeConfig(lease_seconds=3000.0, store_retry=RETRY, commit_batch_max=batch),
            threads=self.threads,
            asyncio_placement=None,  # type: ignore[arg-type] # no executions here
            thread_placement=None,  # type: ignore[arg-type]
            process_placement=None,  # type: ignore[arg-type]
            wakeups=loop.spawn(WakeupActor),
            events=self.events.ref,  # type: ignore[arg-type]
        )
        self.sessions = loop.spawn(SessionActor, self.services, parent=self.root.actor_inbox, name="sessions")
        ask(self.sessions, WatchEvents(on=True))
        loop.settle()

    def write(self, write: Any) -> Any:
        """Hand in a write; its acknowledgement is noted."""
        reply = ask(self.sessions, write, timeout=None)
        reply.on_done(lambda: self.order.append("reply"))
        return reply

    def open(self, *names: str) -> list[Any]:
        """Open executions, one event each."""
        return [self.write(opening(name, events=1)) for name in names]

    def settle(self, replies: list[Any]) -> None:
        """Until all are answered."""
        self.loop.settle_until(lambda: all(reply.done() for reply in replies))
        self.loop.settle()

    def crash(self) -> None:
        """A bug in the SessionActor."""
        self.sessions.ask(ProxyCall(("no_such_method",), (), {}), block=False)
        self.loop.settle()

    def join_again(self, name: str) -> None:
        """As the root does."""
        self.threads.write(lambda store: store.register(runtime_row(name))).get(timeout=5)
        self.services.lease.runtime_id = name
        self.sessions.tell(Rejoined(runtime_id=name))

    def told(self) -> list[str]:
        """The types of the events that were published."""
        return [event.type for event in self._published()]

    def numbers(self) -> list[int | None]:
        """The numbers of the events that were published; None for one that no store could take."""
        return [event.seq for event in self._published()]

    def _published(self) -> list[Event]:
        return [event for item in self.events.received if isinstance(item, PublishEvents) for event in item.events]

    def stored(self) -> list[str]:
        """The executions in the store, in the order in which they came."""
        return [spec.execution_id for spec, _ in reversed(self.store.list_executions())]


@pytest.fixture
def desk(inline: InlineLoop) -> Iterator[Desk]:
    """A desk, cleared afterwards."""
    desk = Desk(inline)
    yield desk
    desk.root.stop(block=False)
    inline.settle()
    desk.threads.close()


def test_the_order_is_commit_then_reply_then_event(desk: Desk) -> None:
    """D3: nobody hears of what is not committed."""
    with desk.failing.hold_commit() as held:
        replies = desk.open("e1")
        desk.loop.settle()
        held.wait_reached()
        desk.loop.settle()
        assert ([], []) == (desk.order, desk.stored())
    desk.settle(replies)
    assert ["reply", "event"] == desk.order
    assert ["e1"] == desk.stored()
    assert ["execution_started"] == desk.told()


def test_what_comes_while_a_commit_is_under_way_goes_into_the_next_one_together(desk: Desk) -> None:
    """Group commit."""
    with desk.failing.hold_commit() as held:
        first = desk.open("e0")
        desk.loop.settle()
        held.wait_reached()
        rest = desk.open(*(f"e{n}" for n in range(1, 50)))
        desk.loop.settle()
    desk.settle(first + rest)
    assert [1, 49] == [len(batch) for batch in desk.failing.batches]


def test_a_batch_has_its_limit(inline: InlineLoop) -> None:
    """What is beyond it waits for the next commit."""
    desk = Desk(inline, batch=10)
    replies = desk.open(*(f"e{n}" for n in range(25)))
    desk.settle(replies)
    assert [10, 10, 5] == [len(batch) for batch in desk.failing.batches]
    desk.threads.close()


def test_a_write_that_fails_for_itself_is_answered_with_its_own_error(desk: Desk) -> None:
    """The others of its batch land."""
    good = desk.open("e1")
    bad = desk.write(advance("e1", epoch=99))
    after = desk.open("e2")
    desk.settle([*good, bad, *after])
    with pytest.raises(StaleWriter):
        bad.result()
    assert ["e1", "e2"] == desk.stored()


def test_a_crash_in_mid_flight_loses_no_write(desk: Desk) -> None:
    """What was being committed and what waited are in a ledger outside of the instance; each takes effect once."""
    with desk.failing.hold_commit() as held:
        flying = desk.open("e1", "e2")
        desk.loop.settle()
        held.wait_reached()
        waiting = desk.open("e3")
        desk.loop.settle()
        desk.crash()
        behind = desk.open("e4")
    desk.settle(flying + waiting + behind)
    assert 1 == desk.sessions.actor_inbox.restarts
    assert [None] * 4 == [reply.result() for reply in flying + waiting + behind]  # committed as they were asked for
    assert ["e1", "e2", "e3", "e4"] == desk.stored()
    assert 4 == desk.store.last_seq()
    assert 4 * ["execution_started"] == desk.told()


def test_a_crash_between_writes_loses_none_that_waits(desk: Desk) -> None:
    """Queued in the ledger, not yet in a batch."""
    replies = desk.open("e1")
    desk.crash()
    desk.settle(replies)
    assert ["e1"] == desk.stored()


def test_a_commit_in_doubt_is_made_again_and_takes_effect_once(desk: Desk) -> None:
    """It landed, the answer was lost: the second time under the same number gives the first one's outcome."""
    desk.failing.next_commit(AWAY, landed=True)
    replies = desk.open("e1", "e2")
    desk.loop.settle_until(lambda: "store_unavailable" in desk.told())
    assert [False, False] == [reply.done() for reply in replies]
    desk.clock.advance(1.0)
    desk.settle(replies)
    assert [None, None] == [reply.result() for reply in replies]
    desk.loop.settle_until(lambda: "store_available" in desk.told())
    assert [None, 1, 2, 3] == desk.numbers()
    assert ["e1", "e2"] == desk.stored()


def test_a_store_that_is_away_is_told_once_retried_with_backoff_and_all_is_acknowledged_in_order(desk: Desk) -> None:
    """D7: it keeps what it holds, and loses nothing."""
    acknowledged: list[str] = []
    desk.failing.next_commit(AWAY, times=4)
    replies = desk.open("e1")
    for n, wait in enumerate((1.0, 2.0, 4.0, 8.0), start=2):
        desk.loop.settle_until(lambda wait=wait: wait == desk.clock.until_next)  # type: ignore[misc]
        replies += desk.open(f"e{n}")
        desk.clock.advance(wait - 0.01)
        assert n - 1 == len(desk.failing.batches)
        desk.clock.advance(0.01)
    for n, reply in enumerate(replies, start=1):
        reply.on_done(lambda n=n: acknowledged.append(f"e{n}"))
    assert (["store_unavailable"], []) == (desk.told(), acknowledged)
    desk.settle(replies)
    assert ["e1", "e2", "e3", "e4", "e5"] == acknowledged == desk.stored()
    desk.loop.settle_until(lambda: "store_available" in desk.told())


def test_after_a_lost_lease_what_waits_is_held_and_written_under_the_new_name(desk: Desk) -> None:
    """D5: nothing lands under the old one. What was in flight, what waited and what came meanwhile does, once."""
    desk.threads.write(lambda store: store.forget(("r1",))).get(timeout=5)
    with desk.failing.hold_commit() as held:
        replies = desk.open("e1", "e2")
        desk.loop.settle()
        held.wait_reached()
        replies += desk.open("e3")
    desk.loop.settle_until(lambda: [-1] == desk.root.actor_inbox.kept["seen"])
    late = desk.open("e4")
    desk.loop.settle()
    assert ([], 1) == (desk.stored(), len(desk.failing.batches))
    desk.join_again("r2")
    desk.settle(replies + late)
    assert [None] * 4 == [reply.result() for reply in replies + late]
    assert ["e1", "e2", "e3", "e4"] == desk.stored()
    assert {"r2"} == {state.owner for _, state in desk.store.list_executions()}


def test_a_batch_in_doubt_is_given_up_when_the_lease_is_lost_before_it_is_known(desk: Desk) -> None:
    """It did land: to write it again would be to do it twice. Who waits is told, and what waited behind it lands."""
    desk.failing.next_commit(AWAY, landed=True)
    doubtful = desk.open("e1")
    desk.loop.settle_until(lambda: "store_unavailable" in desk.told())
    behind = desk.open("e2")
    desk.threads.write(lambda store: store.forget(("r1",))).get(timeout=5)
    desk.clock.advance(1.0)
    desk.settle(doubtful)
    with pytest.raises(LeaseLost):
        doubtful[0].result()
    desk.join_again("r2")
    desk.settle(behind)
    assert ["e1", "e2"] == desk.stored()


def test_the_lease_is_trusted_from_the_beginning_of_the_last_commit_on(desk: Desk) -> None:
    """A commit that took long says nothing of the time it took."""
    lease = desk.services.lease
    with desk.failing.hold_commit() as held:
        replies = desk.open("e1")
        desk.loop.settle()
        held.wait_reached()
        desk.failing.next_commit(AWAY, times=1_000)
        desk.clock.advance(2_000.0)
        assert lease.is_trusted()
    desk.settle(replies)
    desk.clock.advance(999.0)
    assert lease.is_trusted()
    desk.clock.advance(1.0)
    assert not lease.is_trusted()


def test_a_stop_tells_whoever_waits_for_a_commit(desk: Desk) -> None:
    """There will be none."""
    with desk.failing.hold_commit() as held:
        flying = desk.open("e1")
        desk.loop.settle()
        held.wait_reached()
        waiting = desk.open("e2")
        desk.loop.settle()
        desk.sessions.stop(block=False)
        desk.loop.settle()
        for reply in flying + waiting:
            with pytest.raises(RuntimeStopped):
                reply.result()


def test_an_idle_session_actor_still_beats(desk: Desk) -> None:
    """A commit with nothing in it, every third of the lease."""
    desk.clock.advance(1000.0)
    desk.loop.settle_until(lambda: 1 == len(desk.failing.batches))
    assert ((),) == desk.failing.batches
