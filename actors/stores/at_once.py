"""The fastest path: a batch of plain writes in one statement, which is its own transaction.

The driver gives the interpreter's lock away at every step of every statement, and takes up to a switch interval (5 ms)
to get it back from a busy thread. A transaction has twenty such moments; this is one call, and from the first row to
the fsync SQLite works beside the interpreter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from propolis.messages import (
    ENDED,
    AdvanceExecution,
    Appended,
    AppendEvents,
    EventDraft,
    ExecutionState,
    Message,
    OpenExecution,
    RecordSteps,
    Standing,
    Write,
    fields_of,
)

from .asking import gives_up
from .batch import changes_session, names_another, session_change_row
from .batch_view import (
    ADVANCE,
    CHANGE,
    CHECK,
    EVENT,
    EVENTS,
    EVENTS_MAX,
    FENCE,
    OPEN,
    PRUNE,
    SESSION,
    STEP,
    batch_sql,
    create_batch_view,
)
from .dialect import Fault, tell_fault
from .moments import to_micros
from .protocol import Committed, Outcome
from .rows import event_row, state_row
from .schema import LAST_SEQ
from .stepping import checkpoint_row, step_rows
from .together import Odd

__all__ = ["AtOnce", "Outrun", "Prepared", "is_plain"]

_NO_EVENT: Final[EventDraft | tuple[None, None, None]] = (None, None, None)


_PLAIN_FIELDS: Final[dict[type[Message], frozenset[str]]] = {
    OpenExecution: frozenset({"encoded_spec", "origin", "started_at", "memory", "graph_id", "events"}),
    AdvanceExecution: frozenset(
        {*Standing.model_fields, "expected_epoch", "at", "session_id", "stream_id", "correlation_id", "graph_id"}
        | {"events", "run", "steps", "memory", "progress", "checkpoint", "keep_checkpoints", "drop_checkpoints_before"}
    ),
    RecordSteps: frozenset(RecordSteps.model_fields),
    AppendEvents: frozenset({"events", "execution_id", "expected_epoch"}),
}
"""A field that is not here, a new one too, sends its write the long way until it is known here as well."""


def is_plain(write: Write) -> bool:
    """Whether what it writes depends on no row but its own execution's, and can be written at once."""
    known = _PLAIN_FIELDS.get(type(write))
    if known is None:
        return False
    others = write.model_fields_set - known
    if others and any(getattr(write, name) != type(write).model_fields[name].default for name in others):
        return False
    if isinstance(write, AdvanceExecution):
        return not (write.steps and gives_up(write))
    return not isinstance(write, OpenExecution) or write.origin == "fresh"


class Outrun(Odd):
    """Another runtime has committed to the same store in between."""


class Prepared:
    """A batch that is ready to be run."""

    def __init__(self, driver: Any, last_seq: int, rows: list[tuple[Any, ...]], outcomes: list[Outcome]) -> None:
        self.outcomes: Final = outcomes
        self._driver = driver
        self._last_seq = last_seq
        self._rows = rows

    def run(self) -> None:
        """Commit it.

        Raises:
            Outrun: somebody else has numbered events since; nothing is written, and prepared anew it may be right.
            Odd: something else in it is not as it should be, or it is too much; nothing is written.
        """
        statement = batch_sql(self._rows)
        if statement is None:
            raise Odd
        try:
            self._driver.execute(*statement)
        except Exception as error:
            if tell_fault(error)[0] not in {Fault.CONFLICT, Fault.VALUE}:
                raise
            raise (Odd if _read_last_seq(self._driver) == self._last_seq else Outrun) from error


class AtOnce:
    """Makes batches for one connection at a time, and remembers where the numbers of events stand.

    They stand there as long as nobody else writes to the store; that they do is part of the fence.
    """

    def __init__(self) -> None:
        self._driver: Any = None
        self._last_seq: int | None = None

    def prepare(
        self, connection: Connection, runtime_id: str, batch: int, writes: Sequence[Write], now: int
    ) -> Prepared:
        """Make the statement. All of the writes are plain. `now` is in microseconds."""
        driver: Any = connection.connection.driver_connection
        if driver is not self._driver:
            create_batch_view(driver)
            self._driver, self._last_seq = driver, None
        if self._last_seq is None:
            self._last_seq = _read_last_seq(driver)
        rows = _Rows(runtime_id, self._last_seq + 1, now)
        outcomes = [rows.add(write) for write in writes]
        fence = (FENCE, runtime_id, batch, self._last_seq, rows.next_seq - 1)
        prepared = Prepared(driver, self._last_seq, [fence, *rows.rows], outcomes)
        self._last_seq = rows.next_seq - 1
        return prepared

    def look_again(self) -> None:
        """Something is written by other means, or was not written: the numbers may have moved."""
        self._last_seq = None


def _read_last_seq(driver: Any) -> int:
    last: int = driver.execute("SELECT value FROM meta WHERE key = ?", (LAST_SEQ,)).fetchone()[0]
    return last


class _Rows:
    """The rows of a batch, in the order of its writes."""

    def __init__(self, owner: str, next_seq: int, now: int) -> None:
        self.rows: Final[list[tuple[Any, ...]]] = []
        self.next_seq = next_seq
        self._owner = owner
        self._now = now

    def add(self, write: Write) -> Outcome:
        """Take in a plain write; its outcome if nothing is odd."""
        if isinstance(write, OpenExecution):
            return self._open(write)
        if isinstance(write, AdvanceExecution):
            return self._advance(write)
        if isinstance(write, RecordSteps):
            return self._record(write)
        assert isinstance(write, AppendEvents), f"{type(write)} is not plain"
        if write.execution_id is not None and write.expected_epoch is not None:
            self.rows.append((CHECK, write.execution_id, write.expected_epoch))
        first_seq = self._number(len(write.events))
        self._events(event_row(seq, event) for seq, event in enumerate(write.events, first_seq or 0))
        return Appended(first_seq=first_seq)

    def _open(self, write: OpenExecution) -> Committed:
        spec = fields_of(write.encoded_spec)
        execution_id = spec["execution_id"]
        at, started_at = to_micros(spec["accepted_at"]), to_micros(write.started_at)
        first_event = write.events[0] if write.events else _NO_EVENT
        self.rows.append(
            (
                OPEN,
                execution_id,
                spec["stream_id"],
                spec["entry_point"],
                spec.get("idempotency_key"),
                write.encoded_spec,
                at,
                self.next_seq,
                *ExecutionState.begins(counted=started_at is not None),
                self._owner,
                started_at,
                *first_event,
                write.graph_id,
                spec["correlation_id"],
            )
        )
        if write.memory is not None:
            self.rows.append((SESSION, execution_id, at, write.memory.data))
        return self._more_events(write)

    def _advance(self, write: AdvanceExecution) -> Committed:
        if names_another(write, self._owner):
            raise Odd
        events = write.events
        last_seq = self.next_seq + len(events) - 1 if write.status in ENDED else None
        type, node_id, data = events[0] if events else _NO_EVENT
        self.rows.append(
            (
                ADVANCE,
                write.execution_id,
                write.expected_epoch,
                last_seq,
                *state_row(write),
                self.next_seq,
                type,
                write.stream_id,
                write.session_id,
                node_id,
                write.graph_id,
                write.correlation_id,
                to_micros(write.at),
                data,
            )
        )
        if changes_session(write):
            self._change_session(write)
        if write.steps:
            self._steps(write)
        return self._more_events(write)

    def _change_session(self, write: AdvanceExecution | RecordSteps) -> None:
        point = checkpoint_row(write)
        run = (None, None) if point is None else point[:2]
        self.rows.append((CHANGE, *session_change_row(write, self._now), *run))
        if point is not None and write.keep_checkpoints is not None:
            before = to_micros(write.drop_checkpoints_before)
            self.rows.append((PRUNE, *point[:2], write.keep_checkpoints, before))

    def _record(self, write: RecordSteps) -> Committed:
        self.rows.append((CHECK, write.execution_id, write.expected_epoch))
        if changes_session(write):
            self._change_session(write)
        self._steps(write)
        return self._more_events(write, written=0)

    def _steps(self, write: AdvanceExecution | RecordSteps) -> None:
        self.rows.extend((STEP, *row) for row in step_rows(write))

    def _more_events(self, write: OpenExecution | AdvanceExecution | RecordSteps, written: int = 1) -> Committed:
        """Those after the first, which stands in the row of its execution."""
        events = write.events
        first_seq = self._number(len(events))
        if len(events) > written:
            execution_id, session_id, stream_id, correlation_id, graph_id, at = write.event_origin
            ids = (stream_id, session_id, execution_id, graph_id, correlation_id, to_micros(at))
            for start in range(written, len(events), EVENTS_MAX):
                some = (cell for draft in events[start : start + EVENTS_MAX] for cell in draft)
                self.rows.append((EVENTS, *ids, (first_seq or 0) + start, *some))
        return Committed(first_seq)

    def _number(self, events: int) -> int | None:
        first_seq = self.next_seq if events else None
        self.next_seq += events
        return first_seq

    def _events(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self.rows.extend((EVENT, *row) for row in rows)
