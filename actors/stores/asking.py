"""Questions to people: open ones, and answers that are left for the owner of whoever asked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, select

from propolis.messages import (
    AdvanceExecution,
    AnswerQuestion,
    ExecutionNotFound,
    MessageError,
    Payload,
    PostToInbox,
    Question,
    QuestionAnswered,
    QuestionNotFound,
    QuestionRow,
)

from .moments import from_micros
from .posting import post_to_inbox
from .rows import checked, readable
from .schema import OPEN_WAIT, UNFINISHED, executions, inbox, steps

__all__ = ["answer_question", "check_given_up", "find_question", "gives_up", "list_questions"]

_PAGE: Final = 500
"""Rows that are looked at in one go."""


def list_questions(connection: Connection, stream: str | None, limit: int) -> tuple[Question, ...]:
    """Those that wait for an answer, the oldest first. One whose answer waits for the owner does not any more."""
    query = select(steps).where(steps.c.kind == "ask", OPEN_WAIT).order_by(steps.c.at)
    wanted: list[Question] = []
    for rows in connection.execute(query).mappings().partitions(_PAGE):
        found = list(readable(rows, _question_of, "run"))
        ids = {each.execution_id for each in found}
        unfinished = select(executions.c.execution_id).where(executions.c.execution_id.in_(ids), UNFINISHED)
        asking = set(connection.execute(unfinished).scalars())
        answered = _answered(connection, ids)
        wanted += (
            each
            for each in found
            if each.execution_id in asking and each.id not in answered and stream in (None, each.stream_id)
        )
        if len(wanted) >= limit:
            break
    return tuple(wanted[:limit])


def find_question(connection: Connection, question_id: str) -> QuestionRow | None:
    """One question, open or not."""
    run = question_id.rpartition(".q")[0]
    query = select(steps).where(steps.c.run == run, steps.c.kind == "ask")
    for row in connection.execute(query).mappings():
        question = _question_of(row)
        if question.id == question_id:
            return QuestionRow(question=question, answered=row["status"] != "begun")
    return None


def answer_question(connection: Connection, write: AnswerQuestion) -> None:
    """Leave the answer. Raises QuestionNotFound, QuestionAnswered."""
    found = find_question(connection, write.question_id)
    if found is None:
        raise QuestionNotFound(question_id=write.question_id)
    deadline = found.question.deadline
    is_late = deadline is not None and write.created_at >= deadline
    if found.answered or is_late or write.question_id in _answered(connection, {found.question.execution_id}):
        raise QuestionAnswered(question_id=write.question_id)
    body = Payload.join({"question_id": Payload.of(write.question_id), "value": write.value})
    post = PostToInbox(execution_id=found.question.execution_id, kind="answer", body=body, created_at=write.created_at)
    try:
        post_to_inbox(connection, post)
    except ExecutionNotFound:
        raise QuestionNotFound(question_id=write.question_id, reason="its execution has ended") from None


def gives_up(write: AdvanceExecution) -> bool:
    """Whether a question may end by this write although nobody has answered it: its time was over."""
    ended = [step.kind for step in write.steps if step.status != "begun" and step.kind in ("ask", "receive")]
    return "ask" in ended and len(ended) > len(write.inbox)


def check_given_up(connection: Connection, write: AdvanceExecution) -> None:
    """An answer that was left in time counts, also when the owner has yet to hear of it. Raises QuestionAnswered."""
    answered = _answered(connection, {write.execution_id}, but=write.inbox)
    for step in write.steps if answered else ():
        question = step.about.value()["question_id"] if step.kind == "ask" and step.about is not None else None
        if step.status != "begun" and question in answered:
            raise QuestionAnswered(question_id=question)


def _answered(connection: Connection, ids: Collection[str], but: Collection[int] = ()) -> set[str]:
    """The questions of some executions whose answers wait for their owner, in other rows than these."""
    left = select(inbox.c.body).where(inbox.c.execution_id.in_(ids), inbox.c.kind == "answer", inbox.c.id.not_in(but))
    answered = set()
    for body in connection.execute(left).scalars():
        try:
            if body is not None:
                answered.add(Payload(body).split()["question_id"].value())
        except (MessageError, KeyError):  # whoever left that
            continue
    return answered


@checked
def _question_of(row: RowMapping) -> Question:
    about: dict[str, Any] = Payload(row["about"]).value()
    schema, default = about["schema"], about.get("default")
    return Question(
        id=about["question_id"],
        execution_id=about["execution_id"],
        session_id=about["session_id"],
        stream_id=about["stream_id"],
        node_id=row["name"] or None,
        prompt=about["prompt"],
        schema_payload=None if schema is None else Payload.of(schema),
        deadline=from_micros(row["due_at"]),
        default_payload=Payload.of(default) if "default" in about else None,
        asked_at=from_micros(int(row["at"])),
    )
