"""Executions that began under another version of the user's code. Pure.

One that waits for its version is owned by that version and by no runtime: whoever opens the entry point with it takes
over what has that owner, and nobody else does.
"""

from __future__ import annotations

from propolis.messages import ExecutionSpec, ExecutionState, Failure

from ..specs import EntryPoint, OnVersionMismatch
from ..stores.protocol import VERSION_OWNER

__all__ = ["version_failure", "version_mismatch", "version_owner", "waits_for_version"]


def version_owner(version: str | None) -> str:
    """The owner of what waits for this version."""
    return VERSION_OWNER + (version or "")


def waits_for_version(owner: str | None) -> bool:
    """Whether what has this owner waits for a version."""
    return owner is not None and owner.startswith(VERSION_OWNER)


def version_mismatch(point: EntryPoint, spec: ExecutionSpec, state: ExecutionState) -> OnVersionMismatch:
    """What is to become of an execution that is taken over. One not begun is of whoever takes it over."""
    if spec.version == point.version or state.attempt == 0:
        return "run"
    return point.on_version_mismatch


def version_failure(point: EntryPoint, spec: ExecutionSpec) -> Failure:
    """What is said of one that is not to run under another version."""
    message = f"it began under version {spec.version!r} of {point.id!r}, and this is version {point.version!r}"
    return Failure(kind="VersionMismatch", message=message, code="version_mismatch", retryable=False)
