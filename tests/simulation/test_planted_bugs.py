"""The simulation is worth something only if it finds what is wrong: bugs that are planted, each of another kind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from propolis.actors.core import Waker
from propolis.actors.executors import attempt
from propolis.actors.records import session
from propolis.actors.stores import merging, sql
from propolis.actors.streams import admission, execution, stream

from propolis.messages import AdvanceExecution, ExecutionEnded, OpenExecution
from propolis.testing import Faults, Stuck, Violation

from .workload import explore

Plant = Callable[[pytest.MonkeyPatch], None]

SEEDS = 60
"""Within so many seeds each has to be found; most are within five."""


def reply_before_commit(patch: pytest.MonkeyPatch) -> None:
    """An execution is acknowledged when its write is queued."""
    write = session.SessionActor.write

    def hasty(self: Any, message: Any) -> object:
        if isinstance(message, OpenExecution) and message.spec.origin == "fresh":
            self._ledger.add(message, None)
            self._flush_soon()
            return None
        return write(self, message)

    patch.setitem(session.SessionActor.handlers, OpenExecution, hasty)


def lost_wake_up(patch: pytest.MonkeyPatch) -> None:
    """Of two calls posted to a loop before it has come to the first one, the second waits for a third."""

    def run(self: Any) -> None:
        self._awake = False
        call, args = self._calls.popleft()
        call(*args)

    patch.setattr(Waker, "_run", run)


def double_admission(patch: pytest.MonkeyPatch) -> None:
    """Who ought to be queued gets a slot."""
    offer = admission.Admission.offer

    def generous(self: Any, id: str, priority: int = 0) -> Any:
        offered = offer(self, id, priority)
        if offered == admission.QUEUES:
            del self._queued[id]
            self._running[id] = priority
            return admission.STARTS
        return offered

    patch.setattr(admission.Admission, "offer", generous)


def stale_epoch_accepted(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the epoch that a write comes with: not the attempt, not its actor, not the store."""
    patch.setattr(attempt.Attempt, "check", lambda self: None)
    patch.setattr(execution.ExecutionActor, "check_epoch", lambda self, epoch: None)
    commit = sql.SqlStore.commit

    def careless(self: Any, runtime_id: str, batch: int, writes: Any) -> Any:
        found = self.run_read(lambda connection: connection.exec_driver_sql(EPOCHS).fetchall())
        epochs = dict(tuple(row) for row in found)
        return commit(self, runtime_id, batch, [unchecked(write, epochs) for write in writes])

    patch.setattr(sql.SqlStore, "commit", careless)


EPOCHS = "SELECT execution_id, epoch FROM executions"


def unchecked(write: Any, epochs: dict[str, int]) -> Any:
    """The same write, under whatever epoch its execution is in."""
    if getattr(write, "expected_epoch", None) is None:
        return write
    execution_id = write.execution_id
    now = epochs.get(execution_id, write.expected_epoch)
    if isinstance(write, AdvanceExecution):
        epochs[execution_id] = write.epoch
    return write.model_copy(update={"expected_epoch": now})


def forgotten_waiter(patch: pytest.MonkeyPatch) -> None:
    """Of those who wait for an execution one is not told."""
    ended = stream.StreamActor.execution_ended

    def forgetful(self: Any, message: Any) -> None:
        waiters = self.books.waiters.get(message.execution_id)
        if waiters:
            waiters.pop()
        ended(self, message)

    patch.setitem(stream.StreamActor.handlers, ExecutionEnded, forgetful)


def slot_leaked_on_cancel(patch: pytest.MonkeyPatch) -> None:
    """Who is cancelled keeps his slot."""
    withdraw = admission.Admission.withdraw
    ended = stream.StreamActor.execution_ended

    def leaking(self: Any, message: Any) -> None:
        if message.status == "cancelled":
            patch.setattr(self.admission, "withdraw", lambda _: admission.NOTHING, raising=False)
            ended(self, message)
            self.admission.withdraw = withdraw.__get__(self.admission)
        else:
            ended(self, message)

    patch.setitem(stream.StreamActor.handlers, ExecutionEnded, leaking)


def recovery_without_a_new_epoch(patch: pytest.MonkeyPatch) -> None:
    """A runtime is declared dead, and what it still says is as good as what its successor says."""
    declare_dead = sql.SqlStore.forget

    def forget(self: Any, runtime_ids: Any) -> None:
        owned = "SELECT execution_id, epoch FROM executions WHERE owner = ? AND ended = 0"
        before = self.run_read(
            lambda connection: [
                row for id in runtime_ids for row in connection.exec_driver_sql(owned, (id,)).fetchall()
            ]
        )
        declare_dead(self, runtime_ids)
        as_it_was = "UPDATE executions SET epoch = ? WHERE execution_id = ?"
        for execution_id, epoch in before:
            self.run_write(lambda connection, row=(epoch, execution_id): connection.exec_driver_sql(as_it_was, row))

    patch.setattr(sql.SqlStore, "forget", forget)


def attempt_before_its_commit(patch: pytest.MonkeyPatch) -> None:
    """D2: an attempt begins while it is still being counted."""
    claim = execution.ExecutionActor._claim

    def eager(self: Any) -> None:
        claim(self)
        patch.setattr(self, "_claimed", lambda before, done: None, raising=False)
        self.launch()

    patch.setattr(execution.ExecutionActor, "_claim", eager)


def in_doubt_is_committed_anew(patch: pytest.MonkeyPatch) -> None:
    """A commit whose outcome is in doubt is made again as another one."""
    again = session.SessionActor._commit_again

    def anew(self: Any) -> None:
        self._ledger.batch += 1
        again(self)

    patch.setattr(session.SessionActor, "_commit_again", anew)


def last_one_has_the_memory(patch: pytest.MonkeyPatch) -> None:
    """Of executions beside each other on one session, each writes all of its memory and not what it has changed."""
    patch.setattr(merging, "merged", lambda memory, before, after: after)


PLANTED: dict[Plant, tuple[Faults | None, int]] = {
    reply_before_commit: (None, 0),
    lost_wake_up: (None, 0),
    double_admission: (None, 0),
    stale_epoch_accepted: (Faults(actor_crash=0.02), 25),
    forgotten_waiter: (None, 0),
    slot_leaked_on_cancel: (None, 20),
    recovery_without_a_new_epoch: (None, 4),
    attempt_before_its_commit: (None, 0),
    in_doubt_is_committed_anew: (Faults(commit_in_doubt=0.2), 2),
    last_one_has_the_memory: (None, 5),
}
"""With what trouble, and the seed that found it last: with another order of things it is another one."""


def first_found(faults: Faults | None, last: int) -> tuple[int, BaseException] | None:
    """The first seed that does not pass, from the one that found it last."""
    for seed in (*range(last, SEEDS), *range(last)):
        try:
            explore(seed, faults=faults)
        except Exception as error:  # noqa: BLE001 - however it shows
            return seed, error
    return None


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the error says with which seed."""
    plant(monkeypatch)
    found = first_found(*PLANTED[plant])
    assert found is not None, f"not in {SEEDS} worlds"
    seed, error = found
    assert isinstance(error, (Violation, Stuck))
    assert any(f"seed={seed}" in note for note in error.__notes__)
    with capsys.disabled():
        sys.stdout.write(f"\n{plant.__name__}: seed {seed}: {error!s:.150}\n")
