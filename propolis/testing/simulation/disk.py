"""What outlives the processes of a simulation: the store, and each process's own way to it."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from propolis.actors import Host, Store, open_store
from propolis.messages import RuntimeRow, SessionRecord, StoreUnavailable, Write

from .checks import Row, Violation, epochs_respected, released, rows_changed
from .faults import CALM, Faults

if TYPE_CHECKING:
    from .process import Process
    from .world import World

__all__ = ["Disk", "SimStore"]

_ROWS: Final = (
    "SELECT execution_id, session_id, entry_point, status, epoch, attempt, owner, restarts, lost_attempts"
    " FROM executions ORDER BY id"
)


_RUNTIMES: Final = "SELECT runtime_id FROM runtimes"


class _Blank:
    """A database in memory, and what it holds when it is empty. Made once: that takes longer than most simulations."""

    def __init__(self) -> None:
        self.store: Any = open_store("memory:", host=Host())
        self._image: bytes = self.store.run_read(lambda connection: _raw(connection).serialize())
        self.in_use = False

    def wipe(self) -> None:
        """Empty it."""
        self.store.run_read(lambda connection: _raw(connection).deserialize(self._image))


def _raw(connection: Any) -> Any:
    return connection.connection.driver_connection


_blank = functools.cache(_Blank)


class Disk:
    """A database, and what it has to look like after every transaction."""

    def __init__(self, world: World, url: str, host: Host) -> None:
        self.world = world
        self.url = url
        self.faults: Faults = CALM
        self.commits = 0
        self.on_commit: list[Callable[[dict[str, Row], dict[str, Row]], object]] = []
        """Called after every transaction with the rows before and after it."""
        self._blank = _blank() if url == "memory:" and not _blank().in_use else None
        if self._blank is not None:
            self._blank.in_use = True
            self._blank.wipe()
            self._store = self._blank.store
        else:
            self._store = open_store(url, host=host)
        self._down_until = 0.0
        self._opened: list[Store] = []
        """By the processes; one that crashes closes nothing."""
        self.rows: dict[str, Row] = {}
        """The executions, as they are now."""
        self.registered: frozenset[str] = frozenset()
        """The runtimes that may commit."""
        self._read()

    def open(self, process: Process) -> SimStore:
        """A store of a process's own."""
        if self.url == "memory:":
            return SimStore(self, process, self._store.beside(process.host))
        own = open_store(self.url, host=process.host)
        self._opened.append(own)
        return SimStore(self, process, own)

    def _read(self) -> None:
        def read(connection: Any) -> tuple[list[Any], list[Any]]:
            raw = _raw(connection)
            return raw.execute(_ROWS).fetchall(), raw.execute(_RUNTIMES).fetchall()

        rows, registered = self._store.run_read(read)
        self.rows = {row[0]: Row(*row) for row in rows}
        self.registered = frozenset(row[0] for row in registered)

    def look(self, problems: Callable[[dict[str, Row], dict[str, Row]], Iterable[str]]) -> None:
        """After a transaction: see what it did. A violation ends the simulation."""
        before = self.rows
        self._read()
        found = list(problems(before, self.rows))
        if found:
            self.world.fail(Violation("; ".join(found)))
        for call in self.on_commit:
            call(before, self.rows)

    def session(self, session_id: str) -> SessionRecord | None:
        """A session, as it is now."""
        record: SessionRecord | None = self._store.get_session(session_id)
        return record

    def is_down(self) -> bool:
        """Whether no commit lands now; each time it is asked an outage may begin."""
        faults, random = self.faults, self.world.random
        if faults.outage and random.random() < faults.outage:
            self._down_until = self.world.elapsed + faults.outage_seconds * random.random()
        return faults is not CALM and self.world.elapsed < self._down_until

    def close(self) -> None:
        """Let go of it."""
        for store in self._opened:
            store.close()
        if self._blank is not None:
            self._blank.in_use = False
        else:
            self._store.close()


class SimStore:
    """A store as one process has it: slow, failing as the faults say, and gone with the process."""

    def __init__(self, disk: Disk, process: Process, inner: Any) -> None:
        self._disk = disk
        self._process = process
        self._inner = inner
        self._random: random.Random = disk.world.random

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._random.random() < self._disk.faults.read_refused:
                raise self._unavailable("a read failed")
            return found(*args, **kwargs)

        return call

    def _unavailable(self, reason: str) -> StoreUnavailable:
        return StoreUnavailable(store=self._disk.url, reason=f"simulated: {reason}")

    def commit(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> list[Any]:
        """Commit, if the faults let it, and see what that did."""
        disk, faults, draw = self._disk, self._disk.faults, self._random.random
        if disk.is_down() or draw() < faults.commit_refused:
            raise self._unavailable("the disk is full")
        before, registered = disk.rows, disk.registered
        outcomes: list[Any] = self._inner.commit(runtime_id, batch, writes)
        disk.commits += 1

        def problems(was: dict[str, Row], now: dict[str, Row]) -> Iterable[str]:
            yield from rows_changed(was, now, runtime_id, registered)
            if was != now:  # what landed before, and is only answered again, changes nothing
                yield from epochs_respected(before, writes, outcomes)

        disk.look(problems)
        if draw() < faults.commit_in_doubt:
            raise self._unavailable("the connection was lost")
        return outcomes

    def commit_here(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> list[Any] | None:
        """As `commit`, on the actor loop."""
        return self.commit(runtime_id, batch, writes)

    def register(self, row: RuntimeRow) -> None:
        """As every store; nothing else changes by it."""
        self._inner.register(row)
        self._disk.look(lambda was, now: released(was, now, (), raises=False))

    def release(self, runtime_id: str) -> None:
        """As every store; and see what it did."""
        self._inner.release(runtime_id)
        self._disk.look(lambda was, now: released(was, now, (runtime_id,), raises=False))

    def forget(self, runtime_ids: Sequence[str]) -> None:
        """As every store; and see what it did."""
        self._inner.forget(runtime_ids)
        self._disk.look(lambda was, now: released(was, now, runtime_ids, raises=True))

    def close(self) -> None:
        """A database in memory stays: others are on it."""
        if self._disk.url != "memory:":
            self._inner.close()

    def as_store(self) -> Store:
        """What it stands for."""
        store: Any = self
        result: Store = store
        return result
