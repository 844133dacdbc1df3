"""The part of the root that shares a store with other runtimes: its own row, peers that are gone, its inbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from propolis.messages import (
    InboxRow,
    LeaseWasLost,
    Message,
    ReadInbox,
    RecoverNow,
    Rejoined,
    RuntimeRow,
    StoreUnavailable,
    WakeMe,
)

from .alarms import wake
from .config import RuntimeConfig
from .core import Ref, Reply
from .peers import Look, Peers, my_row
from .records import StoreThreads
from .reporting import WorkerNews
from .services import Services
from .stores import Store
from .streams import Books, StreamActor, StreamPlan
from .supervision import Supervisor

__all__ = ["Membership", "OpenedStream"]

JOIN_AGAIN_SECONDS = 1.0
"""How long to wait when the store does not take the new row of a runtime that was declared lost."""


class OpenedStream(NamedTuple):
    """What the front door needs of a stream."""

    ref: Ref[StreamActor]
    books: Books
    plan: StreamPlan


class Membership(Supervisor):
    """Registers this runtime. Looks, sixty times in a lease, for peers that are gone and into the inbox, and tells the
    streams. When a peer has declared this runtime lost it joins again under a new name.
    """

    def __init__(self, config: RuntimeConfig, threads: StoreThreads) -> None:
        super().__init__()
        self._config = config
        self._threads = threads
        self._services: Services | None = None
        self._streams: dict[str, OpenedStream] = {}
        self._stopping = False
        self._peers: Peers | None = None
        self._joining = False
        self._inbox_after = 0
        self._looking = self._look_again = False
        self._worker_news = WorkerNews()

    # -- this runtime's own row --------------------------------------------------------------------------------------

    def join(self, then: Callable[[str], None], failed: Callable[[BaseException], None]) -> None:
        """Register under a new name; whoever is dead already is declared so at once."""
        row = my_row(self.host.new_id("rt"), self.host)
        self._peers = peers = Peers(row, self._config.lease_seconds)
        now = self.host.monotonic()

        def register(store: Store) -> None:
            store.register(row)
            store.forget([peer.runtime_id for peer in peers.look(store.runtimes(), now).gone])

        self.follow(self._threads.write(register), lambda _: then(row.runtime_id), failed)

    def lease_was_lost(self, message: LeaseWasLost) -> None:
        """From the SessionActor: nothing can be committed under this name any more. Join again under another."""
        services = self._services
        if services is None or self._joining:
            return
        if message.runtime_id != services.owner:  # under the name before, by an instance that has crashed since
            self._let_write(services)
            return
        self._joining = True
        self.join(lambda runtime_id: self._joined_again(services, runtime_id), self._not_joined_again)

    def _not_joined_again(self, error: BaseException) -> None:
        services = self._services
        if not isinstance(error, StoreUnavailable) or services is None:
            raise error  # the root fails, and with it the runtime
        lost = LeaseWasLost(runtime_id=services.owner)

        def again() -> None:
            self._joining = False
            self.lease_was_lost(lost)

        wake(self, services.wakeups, WakeMe(after=JOIN_AGAIN_SECONDS), again)

    def _joined_again(self, services: Services, runtime_id: str) -> None:
        """First the streams, then the writer: so that no stream lets go of what it was given under the new name."""
        was, services.lease.runtime_id = services.owner, runtime_id
        self._joining = False
        self._inbox_after = 0
        rejoined = Rejoined(runtime_id=runtime_id)
        told: list[Reply[Any]] = [ref.ask(rejoined, block=False) for ref in self.open_streams()]

        def go_on(_: list[Any]) -> None:
            self._let_write(services)
            self.announce("runtime_rejoined", {"was": was, "is": runtime_id})

        self.gather(told, go_on)

    @staticmethod
    def _let_write(services: Services) -> None:
        if services.sessions is not None and services.sessions.is_alive():
            services.sessions.tell(Rejoined(runtime_id=services.owner))

    def announce(self, type: str, data: dict[str, Any]) -> None:
        """Commit and publish an event of the runtime's own."""
        raise AssertionError("the RuntimeActor announces")

    def beat_still_seconds(self, runtime_id: str) -> float | None:
        """Through the proxy: for how long the beat of a peer has stood still; None for one that was never seen."""
        return None if self._peers is None else self._peers.still(runtime_id)

    # -- looking -----------------------------------------------------------------------------------------------------

    def begin_looking(self) -> None:
        """Look from now on."""
        self._look_soon()
        self._recover_soon()

    def _look_soon(self) -> None:
        def look() -> None:
            self.look()
            self._report_workers()
            self._look_soon()

        self._wake_me(self._config.look_seconds, look)

    def _recover_soon(self) -> None:
        """Now and then without a reason, too: a look may have come to nothing, an actor have crashed over a row."""

        def recover() -> None:
            self._inbox_after = 0
            self._tell_streams(RecoverNow())
            self._recover_soon()

        self._wake_me(self._config.lease_seconds / 3, recover)

    def _wake_me(self, seconds: float, call: Callable[[], object]) -> None:
        services = self._services
        if services is not None and not self._stopping:
            wake(self, services.wakeups, WakeMe(after=seconds), call)

    def _report_workers(self) -> None:
        """Let other processes see the workers."""
        services, news = self._services, self._worker_news
        if services is None or self._stopping or self._joining:
            return
        workers = services.process_placement.workers(measured=False)
        report = news.report(services.owner, workers, self.host.now(), self.host.monotonic())
        if report is not None:
            written = self._threads.write(lambda store: store.report_workers(report))
            self.follow(written, lambda _: None, lambda _: news.was_not_written())

    def look(self, _: ReadInbox | None = None) -> None:
        """Read who is there, and what was left behind the last row. One look at a time."""
        services = self._services
        if services is None or self._stopping:
            return
        if self._looking:
            self._look_again = True
            return
        self._looking = True
        owner, after = services.owner, self._inbox_after

        def read(store: Store) -> tuple[tuple[RuntimeRow, ...], tuple[InboxRow, ...]]:
            return store.runtimes(), store.inbox(owner, after)

        def seen(found: tuple[tuple[RuntimeRow, ...], tuple[InboxRow, ...]]) -> None:
            runtimes, rows = found
            self._pass_on(rows)
            self._judge(runtimes)

        # what cannot be read now is read at the next look
        self.follow(self._threads.read(read), seen, lambda _: self._looked())

    def _looked(self) -> None:
        self._looking = False
        if self._look_again:
            self._look_again = False
            self.look()

    def _judge(self, runtimes: tuple[RuntimeRow, ...]) -> None:
        assert self._peers is not None
        found = self._peers.look(runtimes, self.host.monotonic())
        if not found.gone or self._joining:
            self._looked()
            if found.left:
                self._tell_streams(RecoverNow())
            return

        def done() -> None:
            self._looked()
            self._tell_streams(RecoverNow())

        self.follow(
            self._threads.write(lambda store: _forget(store, found)), lambda _: done(), lambda _: self._looked()
        )

    def _pass_on(self, rows: tuple[InboxRow, ...]) -> None:
        for row in rows:
            self._inbox_after = max(self._inbox_after, row.id)
            opened = self._streams.get(row.entry_point)
            if opened is not None and opened.ref.is_alive():
                opened.ref.tell(row)

    # -- streams -----------------------------------------------------------------------------------------------------

    def open_streams(self) -> list[Ref[StreamActor]]:
        """Those that are there."""
        return [opened.ref for opened in self._streams.values() if opened.ref.is_alive()]

    def _tell_streams(self, message: Message) -> None:
        for ref in self.open_streams():
            ref.tell(message)

    def gather(self, replies: list[Reply[Any]], then: Callable[[list[Any]], None]) -> None:
        """Go on when all of them are there; an error counts as None."""
        values: list[Any] = [None] * len(replies)
        left = [len(replies)]

        def arrived(index: int, value: Any) -> None:
            values[index] = value
            left[0] -= 1
            if left[0] == 0:
                then(values)

        if not replies:
            then([])
        for index, reply in enumerate(replies):
            self.follow(reply, lambda value, i=index: arrived(i, value), lambda _, i=index: arrived(i, None))  # type: ignore[misc]


def _forget(store: Store, found: Look) -> None:
    """On the commit thread: declare dead who still is, so that what they left is free (D5, D6)."""
    now = {row.runtime_id: row.beat for row in store.runtimes()}
    store.forget([row.runtime_id for row in found.gone if now.get(row.runtime_id) == row.beat])
