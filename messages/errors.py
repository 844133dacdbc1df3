"""The error family: one root, leaves that carry fields and write their own sentence.

Every leaf says what happened, to which id, and what to do about it. Leaves survive pickling and cross the wire as
a `Failure` (see `failure.py`); nothing ever decides by matching the text of one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

__all__ = [
    "ActorRestarted",
    "AskCycle",
    "AskTimeout",
    "DuplicateStream",
    "ExecutionNotFound",
    "ExecutorNotImportable",
    "ForkedRuntime",
    "IdempotencyConflict",
    "InvalidInput",
    "LeaseLost",
    "MailboxFull",
    "MessageError",
    "NonRetryable",
    "PayloadTooLarge",
    "PropolisError",
    "RemoteError",
    "RuntimeStopped",
    "SessionBusy",
    "SessionNotFound",
    "StaleWriter",
    "StoreCorrupt",
    "StoreTooNew",
    "StoreUnavailable",
    "StreamNotFound",
    "StreamNotRunning",
    "StreamSaturated",
    "StreamTripped",
    "WouldBlock",
]


_REMEDIES = {
    "unknown_tag": "Install the version that sent it, or import the module that defines it.",
    "unknown_version": "Install the version that sent it.",
    "invalid_fields": "Compare the versions of sender and receiver.",
    "too_large": "Pass a reference to the data instead.",
    "too_deep": "Nest it less.",
    "not_encodable": "Put user data into a Payload.",
    "damaged_row": "`propolis doctor` names what is damaged in a store.",
}


def _rebuild(cls: type[PropolisError], state: dict[str, Any]) -> PropolisError:
    return cls(**state)


@dataclass(eq=False, kw_only=True)
class PropolisError(Exception):
    """Root of every error that Propolis raises by design.

    `code` is stable and meant for programs; `retryable` says whether the same call may succeed later, unchanged.
    """

    code: ClassVar[str] = "propolis"
    retryable: ClassVar[bool] = False
    sentence: ClassVar[str] = ""
    """What `str()` says: the fields filled in, as with `str.format`."""
    by_code: ClassVar[dict[str, type[PropolisError]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__:
            cls.code = "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")
        PropolisError.by_code.setdefault(cls.code, cls)

    def details(self) -> dict[str, Any]:
        """The fields of this error, as plain data that can travel."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), {field.name: getattr(self, field.name) for field in fields(self)})

    def __str__(self) -> str:
        return self.sentence.format_map(self.__dict__) or self.code


@dataclass(eq=False, kw_only=True)
class InvalidInput(PropolisError, ValueError):
    """Something that was passed in is not acceptable; nothing was done with it."""

    sentence = "{what}: {reason}. {remedy}"
    what: str
    reason: str
    remedy: str = "Correct it and call again."


@dataclass(eq=False, kw_only=True)
class PayloadTooLarge(PropolisError):
    """User data is larger than `RuntimeConfig.max_payload_bytes`."""

    sentence = (
        "{what} takes {size} bytes encoded and the limit is {limit}. "
        "Pass a reference to the data, or raise RuntimeConfig.max_payload_bytes."
    )
    what: str
    size: int
    limit: int


@dataclass(eq=False, kw_only=True)
class MessageError(PropolisError):
    """Bytes, or an object, that are no message this process understands.

    `reason` is one of: not_a_message, truncated, trailing_bytes, unknown_tag, unknown_version, invalid_fields,
    too_large, too_deep, not_encodable, damaged_row.
    """

    reason: str
    detail: str = ""
    tag: str | None = None

    def __str__(self) -> str:
        about = f" {self.tag!r}" if self.tag else ""
        detail = f": {self.detail}" if self.detail else ""
        remedy = _REMEDIES.get(self.reason, "Send it again from an undamaged source.")
        return f"Not a message that can be handled{about} ({self.reason}){detail}. {remedy}"


@dataclass(eq=False, kw_only=True)
class MailboxFull(PropolisError):
    """A mailbox has reached its bound; the message is handed back in `message`."""

    retryable: ClassVar[bool] = True
    sentence = "The mailbox of {actor} holds {limit} messages, its limit. Slow down and send `message` again."
    actor: str
    limit: int
    message: Any = None

    def details(self) -> dict[str, Any]:
        return {"actor": self.actor, "limit": self.limit}  # `message` is for a sender in this process


@dataclass(eq=False, kw_only=True)
class AskTimeout(PropolisError, TimeoutError):
    """No reply came in time. The message may still be handled."""

    retryable: ClassVar[bool] = True
    sentence = (
        "{actor} did not answer {message} within {seconds:g} s. It may still do so: "
        "look before asking again, or pass a longer timeout."
    )
    actor: str
    message: str
    seconds: float


@dataclass(eq=False, kw_only=True)
class AskCycle(PropolisError):
    """A chain of asks came back to an actor that is itself waiting in that chain."""

    chain: tuple[str, ...]

    def __str__(self) -> str:
        return f"These actors would wait for each other for ever: {' -> '.join(self.chain)}. Use tell for one of them."


@dataclass(eq=False, kw_only=True)
class WouldBlock(PropolisError):
    """A blocking call on the loop of actors, or of async executors, where it would freeze all of them."""

    sentence = "{call} would block this event loop and everything on it. Await it instead."
    call: str


@dataclass(eq=False, kw_only=True)
class ActorRestarted(PropolisError):
    """The actor crashed while it handled this message and was restarted or stopped; the message is not run again."""

    retryable: ClassVar[bool] = True
    sentence = "{actor} crashed while it handled this message ({reason}). See the dead_letter event."
    actor: str
    reason: str


@dataclass(eq=False, kw_only=True)
class RuntimeStopped(PropolisError):
    """The runtime is stopping or stopped. What it had accepted is in the store and is recovered by the next one."""

    sentence = "{what} is {reason}. What was accepted is kept in the store; start a runtime on it to go on."
    what: str = "The runtime"
    reason: str = "stopped"


@dataclass(eq=False, kw_only=True)
class ForkedRuntime(PropolisError):
    """A runtime is used in a process forked from the one that started it."""

    sentence = (
        "This runtime belongs to process {parent_pid}; a forked child has none of its threads. "
        "Create a Runtime in the child, on a file that was not open when it was forked."
    )
    parent_pid: int


@dataclass(eq=False, kw_only=True)
class StreamNotFound(PropolisError, LookupError):
    """No stream of that id is open in this runtime."""

    stream_id: str
    known: tuple[str, ...] = ()

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"No stream {self.stream_id!r} is open here (open: {known}). Open it with runtime.open_stream()."


@dataclass(eq=False, kw_only=True)
class DuplicateStream(PropolisError):
    """A stream of that id is open already."""

    sentence = "A stream {stream_id!r} is open already. Use runtime.stream({stream_id!r}), or another id."
    stream_id: str


@dataclass(eq=False, kw_only=True)
class StreamNotRunning(PropolisError):
    """The stream is stopped, stopping or draining and admits nothing."""

    retryable: ClassVar[bool] = True
    sentence = "Stream {stream_id!r} admits no work now. Call stream.start(), or wait until it runs."
    stream_id: str


@dataclass(eq=False, kw_only=True)
class StreamSaturated(PropolisError):
    """The stream's queue is full (`EntryPoint.max_pending`) and `on_full` is "reject"."""

    retryable: ClassVar[bool] = True
    sentence = (
        "Stream {stream_id!r} has {max_pending} executions waiting, its max_pending. "
        'Try again later, raise max_pending, or set on_full="block".'
    )
    stream_id: str
    max_pending: int


@dataclass(eq=False, kw_only=True)
class StreamTripped(PropolisError):
    """The stream's circuit is open: its executions fail too fast."""

    retryable: ClassVar[bool] = True
    sentence = (
        "Stream {stream_id!r} refuses work because its executions fail too fast. "
        "It tries again in {retry_after:.1f} s; see the execution_failed events."
    )
    stream_id: str
    retry_after: float


@dataclass(eq=False, kw_only=True)
class SessionNotFound(PropolisError, LookupError):
    """The store holds no session of that id, or not the checkpoint asked for."""

    session_id: str
    checkpoint_id: str | None = None

    def __str__(self) -> str:
        if self.checkpoint_id is not None:
            return f"Session {self.session_id!r} has no checkpoint {self.checkpoint_id!r}. See runtime.checkpoints()."
        return f"There is no session {self.session_id!r} in this store. See runtime.sessions()."


@dataclass(eq=False, kw_only=True)
class SessionBusy(PropolisError):
    """The session is in a state, or in use, such that this call cannot have it now."""

    retryable: ClassVar[bool] = True
    sentence = "Session {session_id!r} cannot be used for this now: {reason}."
    session_id: str
    reason: str


@dataclass(eq=False, kw_only=True)
class ExecutionNotFound(PropolisError, LookupError):
    """Nothing of that id can be acted on here."""

    sentence = "Execution {execution_id!r}: {reason}. See stream.active_execution_ids."
    execution_id: str
    reason: str = "it is not known to this stream"


@dataclass(eq=False, kw_only=True)
class IdempotencyConflict(PropolisError):
    """The idempotency key was used before on this entry point, for another request: what differs says `differs`."""

    sentence = (
        "Idempotency key {idempotency_key!r} of entry point {entry_point!r} belongs to execution "
        "{execution_id!r}, which was asked for with another {differs}. Use a new key for a new request."
    )
    entry_point: str
    idempotency_key: str
    execution_id: str
    differs: str = "input"


@dataclass(eq=False, kw_only=True)
class StaleWriter(PropolisError):
    """A write under an epoch that has been superseded; it did not land."""

    execution_id: str
    epoch: int
    current: int | None = None

    def __str__(self) -> str:
        now = "is gone" if self.current is None else f"is at epoch {self.current}"
        return (
            f"Execution {self.execution_id!r} {now}, this writer is of epoch {self.epoch}: another attempt or owner "
            "has taken over. Stop working; the newer one goes on."
        )


@dataclass(eq=False, kw_only=True)
class LeaseLost(PropolisError):
    """A peer has declared this runtime dead and may have taken its executions over."""

    sentence = (
        "Runtime {runtime_id!r} was declared lost by a peer. It stops its attempts, commits nothing more "
        "under that name, and rejoins as a new owner."
    )
    runtime_id: str


@dataclass(eq=False, kw_only=True)
class StoreUnavailable(PropolisError):
    """The store cannot be written or read now."""

    retryable: ClassVar[bool] = True
    sentence = "The store {store} cannot be used now: {reason}. Nothing acknowledged is lost; call again later."
    store: str
    reason: str


@dataclass(eq=False, kw_only=True)
class StoreTooNew(PropolisError):
    """The store was written by a newer Propolis."""

    sentence = (
        "The store {store} has schema version {found}; this Propolis knows up to {supported}. Install a newer Propolis."
    )
    store: str
    found: int
    supported: int


@dataclass(eq=False, kw_only=True)
class StoreCorrupt(PropolisError):
    """The store is no database of ours, or a damaged one."""

    sentence = "The store {store} cannot be read: {reason}. Restore it from a backup, or name another store."
    store: str
    reason: str


@dataclass(eq=False, kw_only=True)
class ExecutorNotImportable(PropolisError):
    """The executor cannot be imported where it has to run."""

    sentence = "Executor {executor} cannot be imported: {reason}. Define it at the top level of a module."
    executor: str
    reason: str


class NonRetryable(Exception):
    """Raise it in an executor to fail without a restart, whatever the restart policy says."""


@dataclass(eq=False, kw_only=True)
class RemoteError(PropolisError):
    """An error that was raised elsewhere and is no leaf of this family."""

    sentence = "{kind}: {message}"
    kind: str
    message: str
    remote_code: str = ""
