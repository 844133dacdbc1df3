"""How a runtime as a whole behaves: its limits and its patience, each with its unit."""

from __future__ import annotations

from pydantic import Field

from .specs import Backoff, Intensity
from .validated import NotNegative, Seconds, Validated

__all__ = ["RuntimeConfig"]


class RuntimeConfig(Validated):
    """The settings of one Runtime; the defaults fit one process on one machine.

    Frozen, and checked when it is made: a bad or unknown field raises `InvalidInput` with its name.
    """

    lease_seconds: Seconds = 15.0
    """A runtime whose beat stands still for so long counts as gone, and what it left is taken over (D5, D6)."""

    @property
    def look_seconds(self) -> float:
        """How often a runtime looks for what others did: a peer that has died, a row in its inbox. A sixtieth of the
        lease: four times a second by default.
        """
        return self.lease_seconds / 60

    mailbox_limit: int = Field(default=10_000, ge=1)
    """Messages that an actor's mailbox holds before an external `tell` raises MailboxFull. Stops and cancels travel
    in a lane of their own, which has no limit."""
    ask_timeout: Seconds = 30.0
    """Seconds that an ask of ours waits for its reply, unless the call says otherwise."""
    grace_seconds: NotNegative = 5.0
    """How long a stop or a cancel waits for executors to end before it names them as stragglers."""
    blocked_loop_seconds: Seconds | None = 10.0
    """How long code of an `async` executor may block its event loop before that is replaced, and whoever else was on
    it runs again; None: it is only reported (`executor_blocked`), never replaced."""
    max_payload_bytes: int = Field(default=16 * 1024 * 1024, ge=1)
    """Encoded size of one piece of user data (input, output, memory, a step's result); beyond: PayloadTooLarge."""
    subscriber_queue: int = Field(default=1_000, ge=1)
    """Events that wait for one subscriber before it misses some and is told how many."""
    commit_batch_max: int = Field(default=512, ge=1)
    """Writes in one transaction. More wait for the next one."""
    session_retention_seconds: Seconds | None = None
    """For how long a session is kept after it has ended; None: for ever. With it go its executions, events and all
    else that is its own. What is unfinished, paused or quarantined is always kept."""
    session_retention_max: int | None = Field(default=None, ge=0)
    """How many ended sessions are kept, the last begun; None: all."""
    event_retention_seconds: Seconds | None = None
    """For how long an event is kept; None: as long as its session. Those of what is unfinished, paused or quarantined,
    and those that an event trigger has yet to look at, are kept."""
    event_retention_max: int | None = Field(default=None, ge=0)
    """How many events are kept, the last ones; None: all."""
    retention_every_seconds: Seconds = 60.0
    """How often the store is looked through for what is to go."""
    state_history_max: int = Field(default=100, ge=1)
    """Versions that the history of a key of shared memory holds, the present one included; at most a quarter more."""
    store_retry: Backoff = Backoff(initial=0.02, maximum=2.0, jitter=0.5, immediate_first=False)
    """Waits, in seconds, between attempts on a store that is locked, full or away. There is no last attempt (D7)."""
    max_waiting_for_store: int = Field(default=20_000, ge=0)
    """Writes that wait, at most, while the store takes none; of new executions, those beyond raise StoreUnavailable at
    once. What is below waits, like its caller. 0: no new execution waits for a store that is away."""
    tracing: bool = False
    """Spans of executions, nodes and steps go to the OpenTelemetry provider that is set (`propolis[otel]`)."""
    system_intensity: Intensity = Intensity()
    """How often one of our own actors may crash before its supervisor gives up."""
