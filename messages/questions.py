"""Questions to people: what an execution asks and waits for, and how it is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from .base import Message, Request
from .payload import Payload

__all__ = ["AnswerQuestion", "Question", "QuestionRow"]


class Question(Message, tag="question.v1"):
    """An open question of an execution that is parked until it is answered, or its deadline has come."""

    id: str
    execution_id: str
    session_id: str
    stream_id: str
    node_id: str | None = None
    prompt: str
    schema_payload: Payload | None = Field(default=None, serialization_alias="schema")
    deadline: datetime | None = None
    default_payload: Payload | None = Field(default=None, serialization_alias="default")
    asked_at: datetime

    @property
    def schema(self) -> dict[str, Any] | None:  # type: ignore[override] # BaseModel's own is deprecated
        """The JSON schema that an answer has to satisfy."""
        value: dict[str, Any] | None = None if self.schema_payload is None else self.schema_payload.value()
        return value

    @property
    def has_default(self) -> bool:
        """Whether its deadline answers it."""
        return self.default_payload is not None

    @property
    def default(self) -> Any:
        """What counts as the answer when the deadline has come."""
        return None if self.default_payload is None else self.default_payload.value()


class QuestionRow(Message, tag="question.row.v1"):
    """A question as the store has it, and whether it is `answered` already (or its time is over)."""

    question: Question
    answered: bool = False


class AnswerQuestion(Request[None], tag="write.answer.v1"):
    """Leave an answer for the owner of the execution that asked.

    Errors: QuestionNotFound (unknown, or its execution has ended), QuestionAnswered.
    """

    question_id: str
    value: Payload
    created_at: datetime
