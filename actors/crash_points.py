"""The moments at which a test may end the process: every name that the code passes to `Host.reach()`.

A name is a place in the code. `before` means that what it speaks of has been asked for, or is about to be, and is not
in the store; `committed` that it is in the store, and that nobody has been told. They cost an empty call where they
stand, so there are none in the handling of a message as such, and none for each write of a batch.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

__all__ = ["CRASH_POINTS", "CrashPoint"]

CrashPoint: TypeAlias = Literal[
    # the commit thread: a transaction of executions, and one of the runtimes' rows (register, forget a peer, release)
    "commit.before",
    "commit.after",
    "runtimes.before",
    "runtimes.after",
    # the SessionActor: the outcomes of a transaction have come back; every write of it is answered; a beat is due
    "commit.landed",
    "commit.answered",
    "beat.before",
    # an execution is accepted
    "accept.before",
    "accept.committed",
    "accept.acknowledged",
    # its actor is there, an attempt is counted, and begins
    "execution.spawned",
    "claim.before",
    "claim.committed",
    "launch.before",
    "launch.after",
    # a step: its function came back (in the runtime's process), what it gave is on its way, is in the store, is known
    "step.called",
    "step.before",
    "step.committed",
    "step.answered",
    # a change of shared memory, which is a step too
    "state.before",
    "state.committed",
    # a checkpoint, and an event of the executor's own
    "checkpoint.before",
    "checkpoint.committed",
    "emit.before",
    "emit.committed",
    # a wait: its row, the slot that it gives back, its end
    "park.before",
    "park.committed",
    "park.slot_returned",
    "wait.over",
    "unpark.before",
    "unpark.committed",
    # an attempt has ended; the execution is to be run again
    "attempt.ended",
    "restart.before",
    "restart.committed",
    # the execution ends: its result, what its stream hears, what who waits hears
    "end.before",
    "end.committed",
    "end.heard",
    "end.told",
    # what a dead runtime left is taken over, has a place in the books
    "takeover.before",
    "takeover.committed",
    "takeover.placed",
    # a row of the inbox, and a cancel from wherever it comes
    "inbox.posted",
    "inbox.heard",
    "cancel.begun",
    # a timer or an event trigger has something to start, has started it, and its row has moved on
    "trigger.before",
    "trigger.started",
    "trigger.moved",
]

CRASH_POINTS: Final[tuple[CrashPoint, ...]] = get_args(CrashPoint)
