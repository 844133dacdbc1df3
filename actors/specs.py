"""What a user configures: an entry point, and the policies on it.

They hold classes, so they are no messages: they stay in the process that made them. All are frozen and checked when
they are made; a bad or unknown field raises `InvalidInput` with the field's name (see `validated.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NoReturn, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from propolis.messages import InvalidInput, IsolationLevel, NonRetryable, Pairs, PropolisError, SessionPolicy

from .triggers.config import check_trigger
from .validated import NotNegative, Seconds, Validated

__all__ = [
    "Backoff",
    "EntryPoint",
    "Intensity",
    "OnFull",
    "Placement",
    "RestartPolicy",
    "Strategy",
    "StreamPolicy",
    "TriggerType",
]

TriggerType: TypeAlias = Literal["webhook", "api", "timer", "event", "manual"]
OnFull: TypeAlias = Literal["reject", "block", "drop_oldest"]
Strategy: TypeAlias = Literal["transient", "temporary"]

_MAX_DEPTH = 32
"""How deep a trigger_config may nest; one that contains itself has no end."""


def _frozen(value: Any) -> Any:
    """A copy that nobody can change: mappings, lists and sets become Pairs, tuples and frozensets, at every depth."""
    return _frozen_at(value, 0)


def _frozen_at(value: Any, depth: int) -> Any:
    if not isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return value
    if depth == _MAX_DEPTH:
        raise ValueError(f"it nests deeper than {_MAX_DEPTH}, or contains itself")
    if isinstance(value, Mapping):
        return Pairs({key: _frozen_at(inner, depth + 1) for key, inner in value.items()})
    parts = (_frozen_at(inner, depth + 1) for inner in value)
    return tuple(parts) if isinstance(value, (list, tuple)) else frozenset(parts)


def _as_tuple(value: Any) -> Any:
    """Accept `retry_on=OSError` and `retry_on=[OSError]` for `retry_on=(OSError,)`."""
    if isinstance(value, type):
        return (value,)
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else value


_GREATEST: Final = 2**63 - 1
"""What a message and a column of the store hold."""

_Text: TypeAlias = Annotated[str, Field(min_length=1)]
_Frozen: TypeAlias = Annotated[Mapping[str, Any], AfterValidator(_frozen)]
_Exceptions: TypeAlias = Annotated[tuple[type[BaseException], ...], BeforeValidator(_as_tuple)]


class Backoff(Validated):
    """How long to wait before a restart: `initial * factor ** n` seconds, at most `maximum`, give or take `jitter`."""

    initial: NotNegative = 0.1
    """Seconds before the first restart that waits; 0 makes every restart immediate."""
    maximum: NotNegative = 30.0
    """Seconds that the growth ends at, before jitter."""
    factor: float = Field(default=2.0, ge=1)
    """By how much each wait is longer than the one before it."""
    jitter: float = Field(default=0.1, ge=0, le=1)
    """The part of the wait that chance adds or takes away, so that what failed together does not return together."""
    immediate_first: bool = True
    """The first restart does not wait, and the second one waits `initial`."""

    @model_validator(mode="after")
    def _maximum_is_no_less(self) -> Backoff:
        if self.maximum < self.initial:
            raise InvalidInput(
                what="Backoff.maximum",
                reason=f"{self.maximum:g} s is less than initial, {self.initial:g} s",
                remedy="Raise maximum or lower initial.",
            )
        return self

    def delay(self, restart: int, draw: float) -> float:
        """Seconds to wait before restart number `restart`, counted from 1. Pure.

        `draw` is a random number from 0 to 1; 0.5 is the wait without jitter. The result is never negative and never
        more than `maximum * (1 + jitter)`, whatever the number.

        Raises:
            ValueError: `restart` is below 1, or `draw` is not from 0 to 1.
        """
        if restart < 1:
            raise ValueError(f"restarts are counted from 1, not from {restart}")
        if not 0.0 <= draw <= 1.0:
            raise ValueError(f"draw is a number from 0 to 1, not {draw}")
        if self.initial == 0.0 or (self.immediate_first and restart == 1):
            return 0.0
        growths = restart - (2 if self.immediate_first else 1)
        try:
            wait = min(self.maximum, self.initial * self.factor**growths)
        except OverflowError:  # from restart 1,025 on with factor 2
            wait = self.maximum
        return wait * (1.0 + self.jitter * (2.0 * draw - 1.0))


class RestartPolicy(Validated):
    """When a failed execution is run again, and how often.

    `retry_on` and `never_on` are about exceptions that an executor raises. A death without one (a signal, an exit
    code, memory, the `timeout` of an attempt) can always be retried; a `deadline` never.
    """

    strategy: Strategy = "transient"
    """`transient`: restart what failed. `temporary`: never restart."""
    max_restarts: int = Field(default=3, ge=0)
    """Restarts in the whole life of one execution, across processes. When they are used up it is quarantined."""
    backoff: Backoff = Backoff()
    retry_on: _Exceptions = (Exception,)
    """Classes of exceptions to restart after (subclasses too). SystemExit and the like count only if named here."""
    never_on: _Exceptions = ()
    """Classes of exceptions that `retry_on` does not apply to."""

    @model_validator(mode="after")
    def _can_be_kept(self) -> RestartPolicy:
        for kind in self.retry_on:
            if issubclass(kind, PropolisError):
                never = kind is not PropolisError and not kind.retryable
            else:
                never = issubclass(kind, NonRetryable)
            if never:
                raise InvalidInput(
                    what="RestartPolicy.retry_on",
                    reason=f"{kind.__name__} is never retried, because the same run would meet it again",
                    remedy=f"Take {kind.__name__} out, or raise an exception of your own in its place.",
                )
        for kind in self.never_on:
            if kind in self.retry_on:
                raise InvalidInput(
                    what="RestartPolicy.never_on",
                    reason=f"{kind.__name__} is in retry_on too",
                    remedy="Name it in one of the two.",
                )
        return self

    def retryable(self, error: BaseException) -> bool:
        """Whether this exception may be followed by a restart. Judged beside the live one, travels as a bool.

        Never after `NonRetryable`, after what `never_on` names, and after an error of ours that says so itself
        (`PropolisError.retryable` is False: InvalidInput, StaleWriter, ReplayMismatch, ...). Otherwise after what
        `retry_on` names. A group of exceptions is retried if none in it is never retried, and `retry_on` names the
        group or every one in it.
        """
        return not self._never(error) and self._named(error)

    def _never(self, error: BaseException) -> bool:
        if isinstance(error, BaseExceptionGroup) and any(self._never(inner) for inner in error.exceptions):
            return True
        if isinstance(error, (NonRetryable, *self.never_on)):
            return True
        return isinstance(error, PropolisError) and not error.retryable

    def _named(self, error: BaseException) -> bool:
        if isinstance(error, self.retry_on):
            return True
        return isinstance(error, BaseExceptionGroup) and all(self._named(inner) for inner in error.exceptions)


class Intensity(Validated):
    """How often an actor of the system may crash: more than `max_restarts` within `within_seconds` escalates.

    The rule is that of OTP's supervisor (its intensity and period). It is about actors, not about executions.
    """

    max_restarts: int = Field(default=5, ge=0)
    within_seconds: Seconds = 10.0
    backoff: Backoff = Backoff(initial=0.05, maximum=1.0, jitter=0.0)
    """What to wait, by the number of crashes in the window. Keep its sum well below `within_seconds`."""


class StreamPolicy(Validated):
    """The circuit of a stream: more than `max_failures` executions failing within `within` seconds open it.

    While it is open new work is refused (`StreamTripped`). After `open_seconds` one execution is let through: if it
    succeeds the circuit closes, if it fails the next wait is `factor` times as long, up to `open_seconds_max`.
    """

    max_failures: int = Field(default=5, ge=0)
    """Failed executions (restarts used up or not retryable) that are still borne."""
    within: Seconds = 60.0
    """The window, in seconds."""
    open_seconds: Seconds = 5.0
    open_seconds_max: Seconds = 300.0
    factor: float = Field(default=2.0, ge=1)

    @model_validator(mode="after")
    def _longest_is_no_shorter(self) -> StreamPolicy:
        if self.open_seconds_max < self.open_seconds:
            raise InvalidInput(
                what="StreamPolicy.open_seconds_max",
                reason=f"{self.open_seconds_max:g} s is less than open_seconds, {self.open_seconds:g} s",
                remedy="Raise open_seconds_max or lower open_seconds.",
            )
        return self


class Placement(Validated):
    """Where an executor runs. Make one with `Placement.asyncio()`, `Placement.thread()` or `Placement.process()`."""

    kind: Literal["asyncio", "thread", "process"]
    workers: int | None = Field(default=None, ge=1, le=1024)
    """Of a process placement, as all that follows: executions that run at the same time, each in a worker of its own.
    None: `max_concurrent`, and no more than there are processors."""
    name: _Text | None = None
    """Streams that name the same pool share its workers. None: a pool of its own, which ends with the stream."""
    warm: int = Field(default=1, ge=0, le=1024)
    """Workers that are kept ready beyond those that run something, so that a restart does not wait for one."""
    memory_mb: int | None = Field(default=None, ge=64)
    """What a worker may allocate, in megabytes (2**20 bytes), the interpreter and imports included. Linux."""
    recycle_after: int | None = Field(default=None, ge=1)
    """Attempts after which a worker is replaced by a new one."""
    start_method: Literal["spawn", "forkserver"] = "spawn"
    """`spawn`: each worker is a new interpreter that imports the executor. `forkserver`: one such interpreter forks
    them, which is quick and shares memory, and wants a module that starts no threads when it is imported."""

    @model_validator(mode="after")
    def _options_are_of_a_process(self) -> Placement:
        given = sorted(self.model_fields_set - {"kind"})
        if self.kind != "process" and given:
            raise InvalidInput(
                what=f"Placement.{given[0]}",
                reason=f"it says nothing to Placement.{self.kind}()",
                remedy="Use Placement.process().",
            )
        return self

    @classmethod
    def asyncio(cls) -> Placement:
        """On an event loop of user code, for `async def`: a cancel ends it at its next await."""
        return cls(kind="asyncio")

    @classmethod
    def thread(cls) -> Placement:
        """On a thread, for blocking code: a cancel ends it when it looks, or at its next call on `ctx`."""
        return cls(kind="thread")

    @classmethod
    def process(
        cls,
        workers: int | None = None,
        *,
        name: str | None = None,
        warm: int = 1,
        memory_mb: int | None = None,
        recycle_after: int | None = None,
        start_method: Literal["spawn", "forkserver"] = "spawn",
    ) -> Placement:
        """In a worker process, for code that you don't trust to come back: a cancel always ends it.

        The options are as the fields of those names say. The executor, and the exceptions that `restart` names, must
        stand at the top level of an importable module.
        """
        return cls(
            kind="process",
            workers=workers,
            name=name,
            warm=warm,
            memory_mb=memory_mb,
            recycle_after=recycle_after,
            start_method=start_method,
        )

    @classmethod
    def ray(cls, **_options: Any) -> NoReturn:
        """On a Ray cluster. Raises InvalidInput: this version cannot."""
        cls._refuse("ray")

    @staticmethod
    def _refuse(name: str) -> NoReturn:
        raise InvalidInput(
            what=f"Placement.{name}()",
            reason="this placement is not available in this version",
            remedy="Use Placement.asyncio(), Placement.thread() or Placement.process().",
        )


class EntryPoint(Validated):
    """One way into your code: what opens a stream, and the rules by which the stream runs executions.

    Times are in seconds; None switches a limit off.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
    name: str = Field(default="", validate_default=True)
    """For people; the id unless said."""
    entry_node: _Text | None = None
    """The node of a graph that an execution starts at; None for the graph's own start, or without a graph."""
    trigger_type: TriggerType = "manual"
    trigger_config: _Frozen = Pairs()
    """By trigger_type. webhook: `path`. timer: one of `interval_seconds`, `cron` (with `timezone`), `run_at` (aware),
    `delay` (seconds), and `misfire`, `run_immediately`, `input_data`. event: `event_types`, and filters. See
    `docs/triggers.md`. Frozen on the way in: mappings become Pairs, lists tuples."""
    isolation_level: IsolationLevel = "isolated"
    priority: int = Field(default=0, ge=-_GREATEST, le=_GREATEST)
    """Of executions that name none; a higher one starts first."""
    max_concurrent: int = Field(default=10, ge=1, le=_GREATEST)
    """Executions that run at the same time."""
    max_pending: int | None = Field(default=10_000, ge=0, le=_GREATEST)
    """Executions that wait for a slot; None for no bound. Recovered and returning ones may exceed it."""
    on_full: OnFull = "reject"
    """What becomes of a new execution past max_pending. `reject`: StreamSaturated. `block`: its caller waits for
    room. `drop_oldest`: it takes the place of the oldest waiting one of the lowest priority, which is cancelled."""
    restart: RestartPolicy = RestartPolicy()
    placement: Placement | None = None
    """None: `Placement.asyncio()` for an `async def` executor, `Placement.thread()` for a `def`."""
    timeout: Seconds | None = None
    """Of one attempt's running; retried."""
    total_timeout: Seconds | None = None
    """From acceptance to the end, restarts and waiting included; not retried."""
    idle_timeout: Seconds | None = None
    """Without an event, checkpoint, progress or heartbeat while running."""
    result_retention_max: int = Field(default=1_000, ge=0)
    """Results kept in memory; the store keeps them all."""
    result_retention_ttl: Seconds | None = None
    """How long a result is kept in memory."""
    session_policy: SessionPolicy = "queue"
    """What becomes of an execution whose session is in use."""
    checkpoint: bool = True
    """Keep checkpoints, so that a re-run starts from the last one."""
    graph_id: _Text | None = None
    version: _Text | None = None
    """Of your code, recorded with every execution."""
    circuit: StreamPolicy | None = None
    """None: the stream takes new work however many executions fail."""

    @field_validator("name")
    @classmethod
    def _name_or_id(cls, name: str, info: ValidationInfo) -> str:
        return name or info.data.get("id", "")

    @model_validator(mode="after")
    def _trigger_is_complete(self) -> EntryPoint:
        check_trigger(self.trigger_type, self.trigger_config)
        return self
