"""What a user configures: an entry point, and the policies on it.

They hold classes, so they are no messages: they stay in the process that made them. All are frozen and checked when
they are made; a bad or unknown field raises `InvalidInput` with the field's name (see `validated.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NoReturn, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo, field_validator, model_validator

from propolis.messages import InvalidInput, IsolationLevel, Pairs, SessionPolicy

from .checkpointing import CheckpointConfig
from .policies import Backoff, Intensity, RestartPolicy, Strategy, StreamPolicy
from .triggers.config import check_trigger
from .validated import Seconds, Validated

__all__ = [
    "Backoff",
    "EntryPoint",
    "Intensity",
    "OnFull",
    "OnVersionMismatch",
    "Placement",
    "RestartPolicy",
    "Strategy",
    "StreamPolicy",
    "TriggerType",
]

TriggerType: TypeAlias = Literal["webhook", "api", "timer", "event", "manual"]
OnFull: TypeAlias = Literal["reject", "block", "drop_oldest"]
OnVersionMismatch: TypeAlias = Literal["run", "park", "fail"]

_MAX_DEPTH = 32
"""How deep a trigger_config may nest; one that contains itself has no end."""


def frozen(value: Any) -> Any:
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


def thawed(value: Any) -> Any:
    """Plain dicts and lists of what `frozen` gave."""
    if isinstance(value, Mapping):
        return {key: thawed(inner) for key, inner in value.items()}
    return [thawed(inner) for inner in value] if isinstance(value, tuple) else value


def _checkpoint(value: object) -> bool | CheckpointConfig:
    if not isinstance(value, (bool, CheckpointConfig)):
        raise ValueError("it is True, False or a CheckpointConfig")  # noqa: TRY004 - what pydantic makes an error of
    return value


_GREATEST: Final = 2**63 - 1
"""What a message and a column of the store hold."""

_Checkpoint: TypeAlias = Annotated[bool | CheckpointConfig, PlainValidator(_checkpoint)]
_Text: TypeAlias = Annotated[str, Field(min_length=1)]
_Frozen: TypeAlias = Annotated[Mapping[str, Any], AfterValidator(frozen)]


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
    """From acceptance, or a replay, to the end, restarts and waiting included; not retried."""
    idle_timeout: Seconds | None = None
    """Without an event, checkpoint, progress or heartbeat while running."""
    result_retention_max: int = Field(default=1_000, ge=0)
    """Results kept in memory; the store keeps them all."""
    result_retention_ttl: Seconds | None = None
    """How long a result is kept in memory."""
    session_policy: SessionPolicy = "queue"
    """What becomes of an execution that joins a session in use: `queue` waits for its turn, `reject` is refused,
    `parallel` runs beside the others, whoever has the session then: it begins with the memory as it is, and changes in
    it the keys that it has written or deleted (of one that several have changed the last one wins)."""
    checkpoint: _Checkpoint = True
    """Keep checkpoints, so that a re-run starts from the last one, and a resume from any; which ones, and for how long.
    False keeps none."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None = "INFO"
    """Records of `ctx.log` from this level on are kept with the session, up to 1,000 of an attempt. None: none are."""
    graph_id: _Text | None = None
    version: _Text | None = None
    """Of your code, recorded with every execution."""
    on_version_mismatch: OnVersionMismatch = "run"
    """What becomes of an execution that began under another version, when it is taken over after a stop or a death.
    `run`: it runs. `park`: it waits, owned by its version, until a runtime opens the entry point with that version, or
    `replay()` runs it under this one. `fail`: it has failed (`version_mismatch`), and can be replayed."""
    circuit: StreamPolicy | None = None
    """None: the stream takes new work however many executions fail."""

    @property
    def checkpoints(self) -> CheckpointConfig | None:
        """What `checkpoint` says of them; None: none are kept."""
        if isinstance(self.checkpoint, CheckpointConfig):
            return self.checkpoint
        return CheckpointConfig() if self.checkpoint else None

    @field_validator("name")
    @classmethod
    def _name_or_id(cls, name: str, info: ValidationInfo) -> str:
        return name or info.data.get("id", "")

    @model_validator(mode="after")
    def _trigger_is_complete(self) -> EntryPoint:
        check_trigger(self.trigger_type, self.trigger_config)
        return self
