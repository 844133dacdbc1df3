"""What must hold of the rows of a store, whoever wrote them: looked at after every transaction. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from propolis.messages import ENDED, AdvanceExecution, AppendEvents, PropolisError, RecordSteps, Write

__all__ = ["Row", "Rows", "Violation", "epochs_respected", "released", "rows_changed"]


_VERSION: Final = "@version:"
"""What is left for another version to run has an owner that begins so."""


class Violation(AssertionError):
    """Something that Propolis promises did not hold."""


class Row(NamedTuple):
    """An execution, as the store has it."""

    execution_id: str
    session_id: str
    entry_point: str
    status: str
    epoch: int
    attempt: int
    owner: str | None
    restarts: int
    lost_attempts: int


Rows = Mapping[str, Row]


def rows_changed(before: Rows, after: Rows, writer: str, registered: frozenset[str]) -> Iterator[str]:
    """A sentence for everything that a commit of `writer` should not have done.

    `registered` are the runtimes that were, before it; a commit is fenced by that as well.
    """
    if writer not in registered:
        yield f"{writer} committed, and is not registered"
    for execution_id, new in after.items():
        old = before.get(execution_id)
        if old is None:
            if new.owner not in (writer, None):
                yield f"{execution_id} was opened by {writer} for {new.owner}"
        elif old != new:
            yield from (f"{execution_id}: {problem}" for problem in _problems(old, new, writer, registered))


def _problems(old: Row, new: Row, writer: str, registered: frozenset[str]) -> Iterator[str]:
    if old.owner not in (writer, None):
        if old.owner in registered:
            yield f"{writer} changed it, and {old.owner} owns it"
        elif new.epoch == old.epoch and not (new.status in ENDED and old.owner.startswith(_VERSION)):
            # Nobody runs what waits for its version, so it may be ended as it is: a takeover would raise the epoch.
            yield f"{writer} took it from {old.owner} under the same epoch"
    if new.owner not in (writer, None) and not new.owner.startswith(_VERSION):
        yield f"{writer} gave it to {new.owner}"
    if new.epoch < old.epoch:
        yield f"its epoch went from {old.epoch} back to {new.epoch}"
    if new.attempt not in (old.attempt, old.attempt + 1):
        yield f"its attempts went from {old.attempt} to {new.attempt}"
    if new.attempt > old.attempt and new.epoch == old.epoch:
        yield f"attempt {new.attempt} has the epoch of the one before, {new.epoch}"
    if old.status in ENDED and not (new.status == "pending" and new.epoch > old.epoch):
        yield f"it was {old.status}, and became {new.status} in epoch {new.epoch}"


def released(before: Rows, after: Rows, owners: Sequence[str], *, raises: bool) -> Iterator[str]:
    """A sentence for everything that letting go of these owners' executions should not have done.

    `raises`: they were declared dead, so whatever they still write has to be of an old epoch.
    """
    for execution_id, new in after.items():
        old = before[execution_id]
        if old == new:
            continue
        if old.owner not in owners or new.owner is not None:
            yield f"{execution_id} went from {old.owner} to {new.owner} when {', '.join(owners)} left"
        if raises and new.epoch != old.epoch + 1:
            yield f"{execution_id} was taken from {old.owner}, and its epoch is still {new.epoch}"


def epochs_respected(before: Rows, writes: Sequence[Write], outcomes: Sequence[Any]) -> Iterator[str]:
    """A sentence for every write of another epoch than its execution's that was let through."""
    epochs = {execution_id: row.epoch for execution_id, row in before.items()}
    for write, outcome in zip(writes, outcomes, strict=True):
        if isinstance(outcome, PropolisError):
            continue
        if not isinstance(write, (AdvanceExecution, AppendEvents, RecordSteps)) or write.execution_id is None:
            continue
        execution_id = write.execution_id
        if epochs.get(execution_id) not in (None, write.expected_epoch):
            yield f"{execution_id} is in epoch {epochs[execution_id]}, and took a write of {write.expected_epoch}"
        if isinstance(write, AdvanceExecution):
            epochs[execution_id] = write.epoch
