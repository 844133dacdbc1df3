"""Errors of recorded steps."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import PropolisError

__all__ = ["ChildFailed", "ReplayMismatch", "StepFailed", "StepInDoubt"]


@dataclass(eq=False, kw_only=True)
class ChildFailed(PropolisError):
    """An execution that was called (`ctx.call`) did not complete."""

    sentence = "Execution {child_id!r} on stream {stream_id!r}, called by {execution_id!r}, is {status}. {reason}"
    execution_id: str
    child_id: str
    stream_id: str
    status: str
    reason: str = ""


@dataclass(eq=False, kw_only=True)
class ReplayMismatch(PropolisError):
    """A re-run called a recorded step with other arguments than the run that recorded it."""

    sentence = "Step {step!r} of {execution_id!r} was recorded with other arguments. Give it another name."
    execution_id: str
    step: str


@dataclass(eq=False, kw_only=True)
class StepFailed(PropolisError):
    """A recorded step failed in an earlier attempt, with an exception whose class is not loaded here."""

    sentence = "Step {step!r} of {execution_id!r} failed when it ran: {reason}."
    execution_id: str
    step: str
    reason: str


@dataclass(eq=False, kw_only=True)
class StepInDoubt(PropolisError):
    """A step that was begun and never ended: its process died meanwhile, and whether it took effect is not known."""

    sentence = (
        "Step {step!r} of {execution_id!r} was begun, and its end was not recorded: it may have taken effect or not. "
        "Find out, then resume the session; or give the step a reconcile function as on_doubt."
    )
    execution_id: str
    step: str
