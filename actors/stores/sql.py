"""The store over SQLAlchemy Core: connections, transactions, and what to do when one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, select

from propolis.messages import (
    AnswerQuestion,
    CheckpointRecord,
    Event,
    EventFilter,
    ExecutionSpec,
    ExecutionState,
    ExecutionStatus,
    InboxRow,
    InvalidInput,
    LeaseLost,
    MessageError,
    PostToInbox,
    PropolisError,
    Question,
    QuestionRow,
    RunHistory,
    RuntimeRow,
    SessionRecord,
    SessionStatus,
    StoreCorrupt,
    StoreUnavailable,
    WorkersReport,
    Write,
)

from ..forks import wait_before_forks
from . import asking, posting, reading, registering, stepping, watching
from .at_once import AtOnce, Outrun, is_plain
from .batch import Batch
from .dialect import IMMEDIATE, Fault, tell_fault
from .file import StoreFile
from .keeping import Keeping
from .moments import to_micros
from .protocol import Outcome, StoreHost
from .schema import runtimes
from .statements import BEAT, of_session
from .together import Odd
from .writing import apply_apart, apply_together, count_events

__all__ = ["SqlStore"]

T = TypeVar("T")

PATIENCE: Final = 5.0
"""Seconds that a call goes on trying for a lock that somebody else has."""


class _Locked(Exception):
    """Somebody else has the lock; nothing was done."""


class SqlStore(Keeping):
    """A `Store` (which see) behind one engine: one connection that writes, a pool of others that read.

    A database in memory is one connection; a read waits there until the commit under way is through.
    """

    def __init__(self, engine: Engine, name: str, host: StoreHost, *, file: StoreFile | None, read_only: bool) -> None:
        self._engine = engine
        self._name = name
        self._host = host
        self._file = file
        self._in_memory = file is None
        self._read_only = read_only
        self._at_once = AtOnce()
        self._writing = threading.RLock()
        wait_before_forks(self._writing)
        self._writer: Connection | None = None
        self._landed: tuple[str, int, list[Outcome]] | None = None
        self._closed = False
        self._readers = 0
        self._no_readers = threading.Condition()

    def beside(self, host: StoreHost) -> SqlStore:
        """Another store on the same database in memory, as another process has one on the same file."""
        return SqlStore(self._engine, self._name, host, file=self._file, read_only=self._read_only)

    @property
    def name(self) -> str:
        """The store's URL."""
        return self._name

    def __repr__(self) -> str:
        return f"<SqlStore {self._name}>"

    # --- runtimes ---

    def register(self, row: RuntimeRow) -> None:
        self.run_write(lambda connection: registering.enter(connection, row))

    def release(self, runtime_id: str) -> None:
        self.run_write(lambda connection: registering.leave(connection, runtime_id))

    def forget(self, runtime_ids: Sequence[str]) -> None:
        if runtime_ids:
            self.run_write(lambda connection: registering.declare_dead(connection, runtime_ids))

    def runtimes(self) -> tuple[RuntimeRow, ...]:
        return self.run_read(reading.list_runtimes)

    def report_workers(self, report: WorkersReport) -> None:
        self.run_write(lambda connection: watching.put_report(connection, report))

    def workers(self) -> tuple[WorkersReport, ...]:
        return self.run_read(watching.list_reports)

    # --- writing ---

    def commit(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> list[Outcome]:
        def attempt(connection: Connection, apply: Callable[[Batch, Sequence[Write]], list[Outcome]]) -> list[Outcome]:
            if not connection.execute(BEAT, {"me": runtime_id, "batch": batch}).rowcount:
                return self._what_landed(connection, runtime_id, batch)
            outcomes: list[Outcome] = []
            if writes:
                now = to_micros(self._host.now())
                work = Batch(connection, runtime_id, now, count_events(writes))
                outcomes = apply(work, writes)
                work.finish()
            # Before COMMIT: if that ends in doubt and did land, these are the outcomes.
            self._landed = (runtime_id, batch, outcomes)
            return outcomes

        if all(map(is_plain, writes)) and (self._landed is None or self._landed[:2] != (runtime_id, batch)):
            with suppress(Odd):
                return self._commit_at_once(runtime_id, batch, writes)
        self._at_once.look_again()
        with suppress(Odd):
            return self.run_write(lambda connection: attempt(connection, apply_together))
        return self.run_write(lambda connection: attempt(connection, apply_apart))

    def commit_here(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> list[Outcome] | None:
        if not self._in_memory or not all(map(is_plain, writes)) or not self._writing.acquire(blocking=False):
            return None
        try:
            return self.commit(runtime_id, batch, writes)
        finally:
            self._writing.release()

    def _commit_at_once(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> list[Outcome]:
        def attempt(connection: Connection) -> list[Outcome]:
            prepared = self._at_once.prepare(connection, runtime_id, batch, writes, to_micros(self._host.now()))
            before, self._landed = self._landed, (runtime_id, batch, prepared.outcomes)
            try:
                prepared.run()
            except Odd:
                self._landed = before
                raise
            return prepared.outcomes

        with suppress(Outrun):
            return self._patiently(lambda: self._with_writer(attempt))
        self._at_once.look_again()
        return self._patiently(lambda: self._with_writer(attempt))

    def _what_landed(self, connection: Connection, runtime_id: str, batch: int) -> list[Outcome]:
        last = connection.scalar(select(runtimes.c.last_batch).where(runtimes.c.runtime_id == runtime_id))
        if last is None:
            raise LeaseLost(runtime_id=runtime_id)
        if self._landed is None or self._landed[:2] != (runtime_id, batch) or last != batch:
            raise InvalidInput(
                what=f"batch {batch} of runtime {runtime_id!r}",
                reason=f"the last one that it committed is {last}",
                remedy="Number batches so that they grow.",
            )
        return self._landed[2]

    def post(self, write: PostToInbox | AnswerQuestion) -> None:
        if isinstance(write, AnswerQuestion):
            self.run_write(lambda connection: asking.answer_question(connection, write))
        else:
            self.run_write(lambda connection: posting.post_to_inbox(connection, write))

    def run_write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction of its own and commit it; again from the start while the store is locked."""

        def in_transaction(connection: Connection) -> T:
            with connection.begin():
                return work(connection)

        return self._patiently(lambda: self._with_writer(in_transaction))

    def run_outside(self, work: Callable[[], T]) -> T:
        """Run what brings its own connection, with the same patience and the same errors."""

        def call() -> T:
            with self._translated():
                return work()

        return self._patiently(call)

    def _with_writer(self, work: Callable[[Connection], T]) -> T:
        """Run what brings its own transaction. Whatever goes wrong, nothing stays open or half written."""
        if self._read_only:
            raise StoreUnavailable(store=self._name, reason="it was opened for reading only")
        with self._writing, self._translated():
            self._refuse_closed()
            try:
                if self._file is not None:
                    self._file.look(writing=self._writer is not None)
                if self._writer is None:
                    self._writer = self._engine.connect().execution_options(**IMMEDIATE)
                return work(self._writer)
            except (PropolisError, _Locked, Odd):
                raise
            except BaseException as error:
                self._at_once.look_again()
                if tell_fault(error)[0] is not Fault.BUSY:
                    self._drop_writer()
                raise

    def _drop_writer(self) -> None:
        """After an error of the file, go on with a new connection. (One in memory is all there is, and stays.)"""
        writer, self._writer = self._writer, None
        if writer is not None:
            if not self._in_memory:
                writer.invalidate()
            writer.close()

    def _patiently(self, call: Callable[[], T]) -> T:
        """Call again while somebody else has the lock, after jittered pauses, for PATIENCE seconds."""
        since = self._host.monotonic()
        while True:
            try:
                return call()
            except _Locked as error:
                waited = self._host.monotonic() - since
                if waited >= PATIENCE:
                    raise StoreUnavailable(
                        store=self._name, reason=f"somebody else has had it locked for {waited:.1f} s"
                    ) from error
            self._host.sleep(0.001 + 0.02 * self._host.draw())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of the driver leave as ours, by their code. What no code explains leaves as it is: it is a bug."""
        try:
            yield
        except (PropolisError, Odd):
            raise
        except Exception as error:
            fault, reason = tell_fault(error)
            match fault:
                case Fault.BUSY:
                    raise _Locked(reason) from error
                case Fault.CORRUPT:
                    raise StoreCorrupt(store=self._name, reason=reason) from error
                case Fault.UNAVAILABLE:
                    raise StoreUnavailable(store=self._name, reason=reason) from error
                case Fault.VALUE | Fault.CONFLICT | Fault.BUG:
                    raise

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreUnavailable(store=self._name, reason="it is closed")

    # --- reading ---

    def get_session(self, session_id: str) -> SessionRecord | None:
        return self.run_read(lambda connection: reading.find_session(connection, session_id))

    def list_sessions(
        self,
        *,
        status: SessionStatus | None = None,
        stream: str | None = None,
        goal: str | None = None,
        quarantined: bool | None = None,
        limit: int = 100,
    ) -> tuple[SessionRecord, ...]:
        return self.run_read(
            lambda connection: reading.list_sessions(
                connection, status=status, stream=stream, goal=goal, quarantined=quarantined, limit=limit
            )
        )

    def get_execution(self, execution_id: str) -> tuple[ExecutionSpec, ExecutionState] | None:
        return self.run_read(lambda connection: reading.find_execution(connection, execution_id))

    def history(self, run: str) -> RunHistory:
        return self.run_read(lambda connection: stepping.find_history(connection, run))

    def list_questions(self, *, stream: str | None = None, limit: int = 100) -> tuple[Question, ...]:
        return self.run_read(lambda connection: asking.list_questions(connection, stream, limit))

    def find_question(self, question_id: str) -> QuestionRow | None:
        return self.run_read(lambda connection: asking.find_question(connection, question_id))

    def list_checkpoints(self, session_id: str, *, limit: int = 100) -> tuple[CheckpointRecord, ...]:
        runs = stepping.runs_of(of_session(session_id))
        return self.run_read(lambda connection: stepping.list_checkpoints(connection, runs, limit))

    def list_executions(
        self,
        *,
        stream: str | None = None,
        status: ExecutionStatus | None = None,
        session: str | None = None,
        limit: int = 100,
    ) -> tuple[tuple[ExecutionSpec, ExecutionState], ...]:
        return self.run_read(
            lambda connection: reading.list_executions(
                connection, stream=stream, status=status, session=session, limit=limit
            )
        )

    def find_idempotent(self, entry_point: str, key: str) -> tuple[ExecutionSpec, ExecutionState] | None:
        return self.run_read(lambda connection: reading.find_idempotent(connection, entry_point, key))

    def events_after(self, seq: int, filter: EventFilter, limit: int = 500) -> tuple[Event, ...]:
        return self.run_read(lambda connection: reading.events_after(connection, seq, filter, limit))

    def last_seq(self) -> int:
        return self.run_read(reading.last_seq)

    def inbox(self, runtime_id: str, after: int = 0) -> tuple[InboxRow, ...]:
        return self.run_read(lambda connection: posting.list_inbox(connection, runtime_id, after))

    def count_executions(self, *, stream: str | None = None) -> dict[ExecutionStatus, int]:
        return self.run_read(lambda connection: reading.count_executions(connection, stream))

    def list_unfinished(self, *, limit: int = 100) -> tuple[tuple[ExecutionSpec, ExecutionState], ...]:
        return self.run_read(lambda connection: watching.list_unfinished(connection, limit))

    def count_unfinished(self) -> dict[ExecutionStatus, int]:
        return self.run_read(watching.count_unfinished)

    def run_read(self, query: Callable[[Connection], T]) -> T:
        """Run a query of one's own, under the rules of every read."""
        return self._patiently(lambda: self._read_once(query))

    def _read_once(self, query: Callable[[Connection], T]) -> T:
        gate: AbstractContextManager[Any] = self._writing if self._in_memory else nullcontext()
        with self._counted(), gate, self._translated():
            try:
                with self._engine.connect() as connection:
                    return query(connection)
            except MessageError as error:
                raise StoreCorrupt(
                    store=self._name,
                    reason=f"a row holds what nobody can read ({error.detail or error.reason}); "
                    "`propolis doctor` names it",
                ) from error

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._no_readers:
            self._refuse_closed()
            self._readers += 1
        try:
            yield
        finally:
            with self._no_readers:
                self._readers -= 1
                self._no_readers.notify_all()

    # --- the end ---

    def close(self) -> None:
        with self._no_readers:
            self._closed = True
            self._no_readers.wait_for(lambda: self._readers == 0)
        with self._writing:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
            self._engine.dispose()
        if self._file is not None:
            self._file.close()
