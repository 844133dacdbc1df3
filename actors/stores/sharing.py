"""The store's side of shared memory: keys with their versions, how a change is applied, and what they were before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Subquery, and_, bindparam, delete, literal_column, select

from propolis.messages import (
    ChangeState,
    EventDraft,
    GetState,
    Payload,
    SharedScope,
    StateEntries,
    StateEntry,
    StateWritten,
)

from .bulk import Bulk, bulk_insert, given
from .dialect import insert_or_update
from .moments import from_micros, to_micros
from .rows import as_payload
from .schema import state, state_history, steps
from .stepping import STEP_COLUMNS, step_of

__all__ = ["RECORD_NEW_STEPS", "SharedKeys", "find_recorded", "list_state", "read_state", "state_history_of"]

_COLUMNS: Final = tuple(column.name for column in state.c)
HISTORY_COLUMNS: Final = tuple(column.name for column in state_history.c)


def _put_state(rows: Subquery) -> Any:
    real = select(rows).where(rows.c.scope != literal_column("''"))
    put = insert_or_update(state).from_select(list(_COLUMNS), real, include_defaults=False)
    new = {name: put.excluded[name] for name in ("value", "version", "execution_id", "at")}
    return put.on_conflict_do_update(index_elements=["scope", "key"], set_=new)


_PUT: Final = Bulk([given(column) for column in state.c], _put_state)
_KEEP: Final = bulk_insert(state_history, HISTORY_COLUMNS)
RECORD_NEW_STEPS: Final = bulk_insert(steps, STEP_COLUMNS)
"""Record steps that nobody has recorded yet."""


class SharedKeys:
    """The keys that a batch touches, in the order of its writes; written together by `flush`.

    The version in the store is the last word on whether a change still fits: it is read in the transaction that writes.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, str], StateEntry] = {}
        self._dirty: dict[tuple[str, str], int] = {}
        """How many versions of each key its history is to hold."""
        self._began: dict[tuple[str, str], int] = {}
        """Up to which version the history of each key was to go before."""
        self._past: list[tuple[Any, ...]] = []

    def apply(self, write: ChangeState) -> StateWritten:
        """Take in a change; what becomes of it."""
        place = _place(write.scope, write.stream_id)
        now = [self._current(place, write, change.key) for change in write.changes]
        pairs = list(zip(write.changes, now, strict=True))
        if write.strict and any(change.based_on not in (None, entry.version) for change, entry in pairs):
            return StateWritten(written=False, entries=tuple(now))
        events: list[EventDraft] = []
        entries = []
        for change, before in pairs:
            entry = StateEntry(
                scope=write.scope,
                stream_id=before.stream_id,
                key=change.key,
                value_payload=change.value,
                version=before.version + 1,
                execution_id=write.execution_id,
                changed_at=write.at,
            )
            self._take(place, entry, write.keep)
            if change.based_on not in (None, before.version) and before.execution_id != write.execution_id:
                unseen = {"based_on": change.based_on, "overwritten": before.execution_id}
                events.append(_told(write, "state_conflict", entry, **unseen))
            events.append(_told(write, "state_changed", entry))
            entries.append(entry.model_copy(update={"value_payload": None}))
        return StateWritten(written=True, entries=tuple(entries), events=tuple(events))

    def _current(self, place: str, write: ChangeState, key: str) -> StateEntry:
        known = self._known.get((place, key))
        if known is None:
            known = _find(self._connection, place, write.scope, write.stream_id or "", key)
            self._known[place, key] = known
        return known

    def _take(self, place: str, entry: StateEntry, keep: int) -> None:
        self._known[place, entry.key] = entry
        self._dirty[place, entry.key] = keep
        self._began.setdefault((place, entry.key), entry.version - 1 - keep)
        value = None if entry.value_payload is None else entry.value_payload.data
        at = to_micros(entry.changed_at)
        self._past.append((place, entry.key, entry.version, value, entry.execution_id, at))

    def flush(self) -> None:
        """Write what was taken in."""
        if not self._dirty:
            return
        rows = []
        for place, key in self._dirty:
            entry = self._known[place, key]
            value = None if entry.value_payload is None else entry.value_payload.data
            rows.append((place, key, value, entry.version, entry.execution_id, to_micros(entry.changed_at)))
        oldest = {at: self._known[at].version - keep for at, keep in self._dirty.items()}
        past = [row for row in self._past if row[2] > oldest[row[0], row[1]]]
        _PUT.run(self._connection, rows)
        if past:
            _KEEP.run(self._connection, past)
        for (place, key), last in oldest.items():
            some = max(1, self._dirty[place, key] // 4)
            if last > 0 and last // some > self._began[place, key] // some:  # now and then is often enough
                old = and_(state_history.c.scope == place, state_history.c.key == key, state_history.c.version <= last)
                self._connection.execute(delete(state_history).where(old))
        self._dirty, self._past, self._began = {}, [], {}


def _told(write: ChangeState, type: str, entry: StateEntry, **more: Any) -> EventDraft:
    about: dict[str, Any] = {"scope": write.scope, "key": entry.key, "version": entry.version}
    if not entry.exists:
        about["deleted"] = True
    return type, write.node_id, Payload.of(about | more).data


def _place(scope: SharedScope, stream_id: str | None) -> str:
    """A scope as its column has it."""
    return "global" if scope == "global" else f"stream:{stream_id}"


_ONE: Final = select(state).where(state.c.scope == bindparam("place"), state.c.key == bindparam("its_key"))


def _find(connection: Connection, place: str, scope: SharedScope, stream_id: str, key: str) -> StateEntry:
    row = connection.execute(_ONE, {"place": place, "its_key": key}).mappings().one_or_none()
    if row is None:
        return StateEntry(scope=scope, stream_id=stream_id if scope == "stream" else "", key=key)
    return _entry(row)


def find_recorded(connection: Connection, write: ChangeState) -> StateWritten | None:
    """What the step of a change gave, where that has been made already: by a call that nobody heard the answer of."""
    step = write.step
    if step is None or write.run is None:
        return None
    its = and_(
        steps.c.run == write.run,
        steps.c.segment == step.segment,
        steps.c.kind == step.kind,
        steps.c.name == step.name,
        steps.c.call == step.call,
        steps.c.status == "done",
    )
    row = connection.execute(select(steps).where(its)).mappings().one_or_none()
    return None if row is None else StateWritten(written=True, recorded=step_of(row))


def read_state(connection: Connection, questions: Sequence[GetState]) -> list[StateEntries]:
    """The answers, all of the same moment."""
    return [StateEntries(entries=tuple(_answer(connection, question))) for question in questions]


def _answer(connection: Connection, question: GetState) -> list[StateEntry]:
    places: dict[SharedScope, str] = {scope: _place(scope, question.stream_id) for scope in question.scopes}
    if question.key is not None:
        key = question.key
        return [_find(connection, place, scope, question.stream_id, key) for scope, place in places.items()]
    found: list[StateEntry] = []
    for place in places.values():
        query = select(state).where(state.c.scope == place, state.c.value.is_not(None)).order_by(state.c.key)
        found += map(_entry, connection.execute(query).mappings())
    return found


def list_state(connection: Connection, limit: int) -> tuple[StateEntry, ...]:
    """Every key that is there, of every scope."""
    query = select(state).where(state.c.value.is_not(None)).order_by(state.c.scope, state.c.key).limit(limit)
    return tuple(map(_entry, connection.execute(query).mappings()))


def state_history_of(
    connection: Connection, scope: SharedScope, stream_id: str, key: str, limit: int
) -> tuple[StateEntry, ...]:
    """What a key is and was, the last version first, as far back as that is kept."""
    its = and_(state_history.c.scope == _place(scope, stream_id), state_history.c.key == key)
    query = select(state_history).where(its).order_by(state_history.c.version.desc()).limit(limit)
    return tuple(map(_entry, connection.execute(query).mappings()))


def _entry(row: Any) -> StateEntry:
    scope, _, stream_id = row["scope"].partition(":")
    return StateEntry(
        scope=scope,
        stream_id=stream_id,
        key=row["key"],
        value_payload=as_payload(row["value"]),
        version=row["version"],
        execution_id=row["execution_id"],
        changed_at=from_micros(int(row["at"])),
    )
