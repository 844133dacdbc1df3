"""The policies of an entry point: when to restart, how long to wait, when to refuse.

They hold classes, so they are no messages: they stay in the process that made them. All are frozen, and checked when
they are made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from propolis.messages import InvalidInput, NonRetryable, PropolisError

from .validated import NotNegative, Seconds, Validated

__all__ = ["Backoff", "Intensity", "RestartPolicy", "Strategy", "StreamPolicy"]

Strategy: TypeAlias = Literal["transient", "temporary"]


def _as_tuple(value: Any) -> Any:
    """Accept `retry_on=OSError` and `retry_on=[OSError]` for `retry_on=(OSError,)`."""
    if isinstance(value, type):
        return (value,)
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else value


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
