"""Where a re-run of an executor stands among the steps that its run has recorded. Pure.

An executor is run again from its top (section 4). Whether it then calls again what it did before its last checkpoint
is up to it. One that first looks at what that checkpoint left (its memory, `ctx.resumed_from`) goes on from there, and
its next step is the first one behind the checkpoint. One that does not look begins at the beginning, finds every step
recorded, and passes its old checkpoints by.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterable
from typing import Final, NamedTuple

from propolis.messages import RecordedStep, ReplayMismatch, RunHistory, StepKey, StepKind

__all__ = ["SCOPE", "Passed", "Replay", "Scope"]


class Scope(NamedTuple):
    """Whose steps these are, where an executor does several things side by side: a checkpoint of one must not change
    what the steps of another are known by, and neither must the order that they come in.
    """

    segment: int
    """Checkpoints that were behind it when it began."""
    first_call: int
    """What its calls are counted from: a number of its own, with room behind it."""


SCOPE: Final[contextvars.ContextVar[Scope | None]] = contextvars.ContextVar("propolis_scope", default=None)
"""Of the code that runs; tasks and threads that it starts inherit it."""


class Passed(NamedTuple):
    """A checkpoint that the executor came by."""

    ordinal: int
    """Which one of its run it is, counted from 1."""
    replayed: bool
    """It was made already, by an earlier attempt."""


class Replay:
    """Of one attempt. Keys are drawn in the order of the calls, so steps may run side by side."""

    def __init__(self, execution_id: str, history: RunHistory | None) -> None:
        self._execution_id = execution_id
        self._recorded = {step.key: step for step in history.steps} if history is not None else {}
        self._behind = 0 if history is None else history.segment
        self.segment = 0
        """Checkpoints that the executor has come by in this attempt, or begun behind."""
        self._calls: dict[tuple[int, StepKind, str, int], int] = {}
        self._begun = False

    def look(self) -> None:
        """The executor looks at what the last checkpoint left: it goes on from there, unless it has begun otherwise."""
        if not self._begun:
            self.segment = self._behind

    def next(
        self, kind: StepKind, name: str, digest: bytes, within: StepKey | None = None
    ) -> tuple[StepKey, RecordedStep | None]:
        """The key of a step that is called now, and what is recorded of it.

        One that is called by the function of another is counted `within` that: a re-run may find the other recorded,
        and then does not come by this one.

        Raises:
            ReplayMismatch: it is recorded with other arguments.
        """
        self._begun = True
        scope = SCOPE.get()
        if within is None:
            segment, first_call = scope or (self.segment, 0)
        else:
            segment, first_call, name = within.segment, 0, f"{within.name}[{within.call}]/{name}"
        counted = (segment, kind, name, 0 if scope is None else scope.first_call)
        calls = self._calls.get(counted, 0)
        key = StepKey(segment, kind, name, first_call + calls)
        recorded = self._recorded.get(key)
        if recorded is not None and recorded.digest != digest:
            if not recorded.inherited:
                raise ReplayMismatch(execution_id=self._execution_id, step=name)
            recorded = None
        self._calls[counted] = calls + 1
        return key, recorded

    def drawn(self, kind: StepKind, name: str) -> list[StepKey]:
        """The keys of that name that the code of this scope has drawn since it began, or began again."""
        scope = SCOPE.get()
        segment, first_call = scope or (self.segment, 0)
        calls = self._calls.get((segment, kind, name, first_call), 0)
        return [StepKey(segment, kind, name, first_call + number) for number in range(calls)]

    def keep(self, step: RecordedStep) -> None:
        """Something was recorded just now. Code that has a scope may run again in this attempt, and find it."""
        if SCOPE.get() is not None:
            self._recorded[step.key] = step

    def run_again(self, forget: Iterable[StepKey] = ()) -> None:
        """The code of this scope runs again from its top, within the attempt. `forget`: steps whose failure that is."""
        scope = SCOPE.get()
        assert scope is not None, "an attempt without scopes is run again as a whole"
        self._calls = {counted: n for counted, n in self._calls.items() if counted[3] != scope.first_call}
        for key in forget:
            self._recorded.pop(key, None)

    def pass_checkpoint(self) -> Passed:
        """The executor comes by a checkpoint: a new segment begins."""
        self._begun = True
        self.segment += 1
        replayed = self.segment <= self._behind
        self._behind = max(self._behind, self.segment)
        return Passed(self.segment, replayed)
