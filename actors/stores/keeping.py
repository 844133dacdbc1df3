"""The part of a store over SQLAlchemy for triggers, goals, shared memory, retention, evidence and copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection

from propolis.messages import (
    Decision,
    GetState,
    GoalRow,
    SessionCopy,
    SharedScope,
    StateEntries,
    StateEntry,
    TriggerRow,
)

from . import aiming, copying, noting, pruning, sharing
from .evidence import find_evidence
from .protocol import Bounds, Expired, SessionEvidence
from .statements import of_session
from .stepping import runs_of
from .triggering import find_trigger, list_triggers

__all__ = ["Keeping"]

T = TypeVar("T")


class Keeping:
    """Needs to be told how to read and how to write; the store knows."""

    def run_read(self, query: Callable[[Connection], T]) -> T:
        """Run a query."""
        raise AssertionError("the store reads")

    def run_write(self, work: Callable[[Connection], T]) -> T:
        """Run something in a transaction of its own."""
        raise AssertionError("the store writes")

    def find_evidence(self, session_id: str) -> SessionEvidence | None:
        return self.run_read(lambda connection: find_evidence(connection, session_id))

    def copy_session(self, session_id: str) -> SessionCopy | None:
        return self.run_read(lambda connection: copying.find_copy(connection, session_id))

    def import_session(self, copy: SessionCopy, now: datetime) -> SessionCopy:
        return self.run_write(lambda connection: copying.put_copy(connection, copy, now))

    def get_trigger(self, entry_point: str) -> TriggerRow | None:
        return self.run_read(lambda connection: find_trigger(connection, entry_point))

    def list_triggers(self) -> tuple[TriggerRow, ...]:
        return self.run_read(list_triggers)

    def get_goal(self, goal_id: str) -> GoalRow | None:
        return self.run_read(lambda connection: aiming.find_goal(connection, goal_id))

    def list_goals(self) -> tuple[GoalRow, ...]:
        return self.run_read(aiming.list_goals)

    def get_decision(self, decision_id: str) -> Decision | None:
        return self.run_read(lambda connection: noting.find_decision(connection, decision_id))

    def list_decisions(self, session_id: str, *, limit: int = 100) -> tuple[Decision, ...]:
        runs = runs_of(of_session(session_id))
        return self.run_read(lambda connection: noting.list_decisions(connection, runs, limit))

    def read_state(self, questions: Sequence[GetState]) -> list[StateEntries]:
        return self.run_read(lambda connection: sharing.read_state(connection, questions))

    def list_state(self, *, limit: int = 100) -> tuple[StateEntry, ...]:
        return self.run_read(lambda connection: sharing.list_state(connection, limit))

    def state_history(
        self, scope: SharedScope, stream_id: str, key: str, *, limit: int = 100
    ) -> tuple[StateEntry, ...]:
        return self.run_read(lambda connection: sharing.state_history_of(connection, scope, stream_id, key, limit))

    def retention_bounds(self, *, keep_sessions: int | None, keep_events: int | None, now: datetime) -> Bounds:
        return self.run_read(
            lambda connection: pruning.find_bounds(
                connection, keep_sessions=keep_sessions, keep_events=keep_events, now=now
            )
        )

    def expired_sessions(self, bounds: Bounds, *, before: datetime | None, after: int, limit: int) -> Expired:
        return self.run_read(
            lambda connection: pruning.find_expired_sessions(
                connection, bounds, before=before, after=after, limit=limit
            )
        )

    def prune_sessions(self, session_ids: Sequence[str], bounds: Bounds) -> int:
        return self.run_write(lambda connection: pruning.delete_sessions(connection, session_ids, bounds))

    def expired_events(self, bounds: Bounds, *, before: datetime | None, after: int, limit: int) -> Expired:
        return self.run_read(
            lambda connection: pruning.find_expired_events(connection, bounds, before=before, after=after, limit=limit)
        )

    def prune_events(self, seqs: Sequence[int]) -> int:
        return self.run_write(lambda connection: pruning.delete_events(connection, seqs))

    def pruned_seq(self) -> int:
        return self.run_read(pruning.pruned_seq)
