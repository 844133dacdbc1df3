"""Errors of questions to people."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import PropolisError

__all__ = ["QuestionAnswered", "QuestionExpired", "QuestionNotFound"]


@dataclass(eq=False, kw_only=True)
class QuestionNotFound(PropolisError, LookupError):
    """There is no open question of that id."""

    sentence = "Question {question_id!r}: {reason}. See stream.open_questions()."
    question_id: str
    reason: str = "there is none of that id"


@dataclass(eq=False, kw_only=True)
class QuestionAnswered(PropolisError):
    """It has its answer already; the first one counts."""

    sentence = "Question {question_id!r} has been answered already, or its time is over. The first answer counts."
    question_id: str


@dataclass(eq=False, kw_only=True)
class QuestionExpired(PropolisError, TimeoutError):
    """Nobody answered before the deadline, and there is no default."""

    sentence = "Nobody answered question {question_id!r} before its deadline. Give it a default, or catch this."
    question_id: str
