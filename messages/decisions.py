"""Decisions that an executor takes, what came of them, and problems that it reports: rows among its recorded steps."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import Field

from .base import Message, Request
from .payload import Payload

__all__ = ["Decision", "GetDecision", "Severity"]

Severity: TypeAlias = Literal["minor", "warning", "critical"]


class Decision(Message, tag="decision.v1"):
    """A decision as it was recorded, with the outcomes that the same session has recorded for it."""

    decision_id: str
    made_at: datetime
    data_payload: Payload = Field(serialization_alias="data")
    """What the event `decision_made` says."""
    outcome_payloads: tuple[Payload, ...] = ()
    """What the events `outcome_recorded` say, in order."""

    @property
    def data(self) -> dict[str, Any]:
        """A fresh copy: `intent`, `options`, `chosen`, `reasoning`, `context`."""
        value: dict[str, Any] = self.data_payload.value()
        return value

    @property
    def intent(self) -> str:
        """What was to be decided."""
        return str(self.data["intent"])

    @property
    def chosen(self) -> Any:
        """What was chosen."""
        return self.data["chosen"]

    @property
    def outcomes(self) -> tuple[dict[str, Any], ...]:
        """Fresh copies: `success`, `result`, `summary`, `tokens`, `latency_ms`."""
        return tuple(payload.value() for payload in self.outcome_payloads)


class GetDecision(Request[Decision | None], tag="decision.get.v1"):
    """To an ExecutionActor, or the SessionActor: a decision by its id, without outcomes; None when there is none."""

    decision_id: str
