"""The part of a Stream that reaches into executions which wait: signals, and answers to their questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from propolis.actors import check_answer
from propolis.messages import (
    AnswerQuestion,
    InvalidInput,
    Payload,
    PostToInbox,
    Question,
    QuestionAnswered,
    QuestionNotFound,
    QuestionRow,
)

from .calls import Call, call, then
from .checks import text, whole

if TYPE_CHECKING:
    from .looking import Looking
    from .runtime import Runtime

__all__ = ["Reaching", "answer_question", "list_questions"]


def list_questions(runtime: Looking, stream: str | None, limit: int) -> Call[tuple[Question, ...]]:
    """Those that wait for an answer, the oldest first."""
    whole("limit", limit, 0)
    return runtime.read(lambda store: store.list_questions(stream=stream, limit=limit))


def answer_question(runtime: Looking, question_id: str, value: Any, stream: str | None) -> Call[None]:
    """Check an answer, and leave it for whoever asked, in whichever process."""
    text("question_id", question_id)
    payload = Payload.of(value, "answer", runtime.config.max_payload_bytes)

    def leave(found: QuestionRow | None) -> Call[None]:
        if found is None or stream not in (None, found.question.stream_id):
            raise QuestionNotFound(question_id=question_id)
        if found.answered:
            raise QuestionAnswered(question_id=question_id)
        if found.question.schema is not None:
            check_answer(found.question.schema, payload.value())
        request = AnswerQuestion(question_id=question_id, value=payload, created_at=runtime.now())
        return call(runtime.sessions_ref, request, what="The runtime", timeout=runtime.config.ask_timeout)

    return then(runtime.read(lambda store: store.find_question(question_id)), leave)


class Reaching:
    """What a Stream says to executions that are parked."""

    _runtime: Runtime
    _limit: int

    @property
    def id(self) -> str:
        """The stream's."""
        raise AssertionError("the Stream knows its id")

    def send(self, execution_id: str, topic: str, value: Any = None) -> Call[None]:
        """Send a signal to an execution, which gets it from `ctx.receive(topic)`; the reply comes when it is durable.

        In order, delivered once; also to one that is queued, parked, or whose process is down, of any stream and any
        process on the store.

        Raises:
            ExecutionNotFound: there is none of that id, or it has ended.
            InvalidInput: a bad topic, or a value that cannot be encoded.
        """
        text("execution_id", execution_id)
        if not text("topic", topic):
            raise InvalidInput(what="topic", reason="it is empty", remedy="Name one.")
        body = Payload.join({"topic": Payload.of(topic), "value": Payload.of(value, "value", self._limit)})
        post = PostToInbox(execution_id=execution_id, kind="signal", body=body, created_at=self._runtime.now())
        timeout = self._runtime.config.ask_timeout
        return call(self._runtime.sessions_ref, post, what="The runtime", timeout=timeout, convert=lambda _: None)

    def open_questions(self, *, limit: int = 100) -> Call[tuple[Question, ...]]:
        """The questions of this stream's executions that wait for an answer, the oldest first."""
        return list_questions(self._runtime, self.id, limit)

    def answer(self, question_id: str, value: Any) -> Call[None]:
        """Answer a question; the reply comes when the answer is durable. The first answer counts.

        Raises:
            QuestionNotFound: there is none of that id in this stream, or its execution has ended.
            QuestionAnswered: it has its answer, or its time is over.
            InvalidInput: not what the question's schema asks for, in the schema's words.
        """
        return answer_question(self._runtime, question_id, value, self.id)

    def inject_input(self, node_id: str, content: Any, *, execution_id: str | None = None) -> Call[bool]:
        """Answer the oldest open question of a node (`ctx.ask_human(node_id=…)`); of one execution, if it is named.

        False when there is none. Raises InvalidInput when its schema refuses the content.
        """
        text("node_id", node_id)
        if execution_id is not None:
            text("execution_id", execution_id)

        def answer(questions: Sequence[Question]) -> Call[bool]:
            for question in questions:
                if question.node_id == node_id and execution_id in (None, question.execution_id):
                    return _told(self.answer(question.id, content))
            return _told(None)

        return then(self.open_questions(limit=1_000_000), answer)


def _told(answering: Call[None] | None) -> Call[bool]:
    """True when it was answered; False when there was nothing to answer, or somebody else was first."""
    told: Call[bool] = Call()

    def came() -> None:
        assert answering is not None
        try:
            answering.result()
        except (QuestionAnswered, QuestionNotFound):
            told.set(False)
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            told.offer_error(error)
        else:
            told.set(True)

    if answering is None:
        told.set(False)
    else:
        answering.on_done(came)
    return told
