"""`propolis questions` and `propolis answer`: what executions want to know, from any terminal."""

from __future__ import annotations

import json

import click

from propolis.actors import Host, check_answer
from propolis.messages import AnswerQuestion, Payload, Question, QuestionAnswered, QuestionNotFound

from .options import json_option, limit_option, store_option
from .plain import echo, json_text, when
from .stores import changing, reading

__all__ = ["answer", "questions"]


@click.command("questions")
@store_option
@click.option("--stream", metavar="ID", help="Only of this stream.")
@limit_option("At most N questions.", default=100)
@json_option
def questions(store: str, stream: str | None, limit: int, as_json: bool) -> None:
    """List the questions that wait for an answer, the oldest first."""
    with reading(store) as opened:
        found = opened.list_questions(stream=stream, limit=limit)
    if as_json:
        echo(json_text([_document(question) for question in found]))
        return
    for question in found:
        where = question.stream_id if question.node_id is None else f"{question.stream_id}/{question.node_id}"
        until = "" if question.deadline is None else f", until {when(question.deadline)} UTC"
        echo(f"{question.id}  {where}, asked {when(question.asked_at)} UTC{until}")
        echo(f"    {question.prompt}")
        if question.schema is not None:
            echo(f"    schema: {json.dumps(question.schema, ensure_ascii=False)}")


@click.command("answer")
@click.argument("id", metavar="ID")
@click.argument("value", metavar="VALUE")
@store_option
@click.option("--text", "as_text", is_flag=True, help="Take VALUE as it is, not as JSON.")
def answer(id: str, value: str, store: str, as_text: bool) -> None:
    """Answer a question: VALUE is JSON, or plain text where it is no JSON.

    Whichever process has the execution goes on with it. The first answer counts.
    """
    host = Host()
    with changing(store, host) as opened:
        found = opened.find_question(id)
        if found is None:
            raise QuestionNotFound(question_id=id)
        if found.answered:
            raise QuestionAnswered(question_id=id)
        given = value if as_text else _parsed(value)
        if found.question.schema is not None:
            check_answer(found.question.schema, given)
        opened.post(AnswerQuestion(question_id=id, value=Payload.of(given, "answer"), created_at=host.now()))
    echo(f"Answered {id}.")


def _parsed(value: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _document(question: Question) -> dict[str, object]:
    return {
        "id": question.id,
        "execution_id": question.execution_id,
        "session_id": question.session_id,
        "stream_id": question.stream_id,
        "node_id": question.node_id,
        "prompt": question.prompt,
        "schema": question.schema,
        "deadline": question.deadline,
        "default": question.default,
        "asked_at": question.asked_at,
    }
