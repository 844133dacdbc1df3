"""The part of the root that shares a store with other runtimes: who of them is gone, and what was left for this one."""

from __future__ import annotations

from typing import NamedTuple

from propolis.messages import InboxRow, ReadInbox, RecoverNow, WakeMe

from .config import RuntimeConfig
from .core import Ref
from .peers import Peers
from .records import StoreThreads
from .services import Services
from .stores import Store
from .streams import Books, StreamActor, StreamPlan
from .supervision import Supervisor

__all__ = ["Membership", "OpenedStream"]


class OpenedStream(NamedTuple):
    """What the front door needs of a stream."""

    ref: Ref[StreamActor]
    books: Books
    plan: StreamPlan


class Membership(Supervisor):
    """Looks for peers that are gone, and into the inbox, sixty times in a lease."""

    def __init__(self, config: RuntimeConfig, threads: StoreThreads) -> None:
        super().__init__()
        self._config = config
        self._threads = threads
        self._services: Services | None = None
        self._streams: dict[str, OpenedStream] = {}
        self._peers: Peers | None = None
        self._stopping = False
        self._inbox_after = 0
        self._reading = self._read_again = False

    # -- peers -------------------------------------------------------------------------------------------------------

    def forget_gone(self, store: Store) -> tuple[str, ...]:
        """On the commit thread: declare dead who is, so that what they left is free (D5, D6)."""
        assert self._peers is not None
        gone = self._peers.gone(store.runtimes(), self.host.monotonic())
        if gone:
            store.forget(gone)
        return gone

    def watch_peers(self) -> None:
        """Begin to look for peers that are gone."""
        services = self._services
        if services is not None and not self._stopping:
            wake = WakeMe(after=self._config.lease_seconds / 3)
            self.request(services.wakeups, wake, lambda _: self._look_for_gone(), lambda _: None)

    def _look_for_gone(self) -> None:
        def looked(_: tuple[str, ...]) -> None:
            for opened in self._streams.values():
                if opened.ref.is_alive():
                    opened.ref.tell(RecoverNow())
            self.watch_peers()

        self._inbox_after = 0  # now and then all of it: an actor may have crashed over a row
        self.follow(self._threads.write(self.forget_gone), looked, lambda _: self.watch_peers())

    # -- the inbox ---------------------------------------------------------------------------------------------------

    def watch_inbox(self) -> None:
        """Begin to look into the inbox."""
        services = self._services
        if services is not None and not self._stopping:
            wake = WakeMe(after=self._config.look_seconds)
            self.request(services.wakeups, wake, lambda _: self._look_into_inbox(), lambda _: None)

    def _look_into_inbox(self) -> None:
        self.read_inbox()
        self.watch_inbox()

    def read_inbox(self, _: ReadInbox | None = None) -> None:
        """Read what was left behind the last row, and pass it on. One read at a time."""
        services = self._services
        if services is None or self._stopping:
            return
        if self._reading:
            self._read_again = True
            return
        self._reading = True
        owner, after = services.owner, self._inbox_after

        def done(rows: tuple[InboxRow, ...] = ()) -> None:
            self._reading = False
            self._pass_on(rows)
            if self._read_again:
                self._read_again = False
                self.read_inbox()

        # what cannot be read now is read at the next look
        self.follow(self._threads.read(lambda store: store.inbox(owner, after)), done, lambda _: done())

    def _pass_on(self, rows: tuple[InboxRow, ...]) -> None:
        for row in rows:
            self._inbox_after = max(self._inbox_after, row.id)
            opened = self._streams.get(row.entry_point)
            if opened is not None and opened.ref.is_alive():
                opened.ref.tell(row)
