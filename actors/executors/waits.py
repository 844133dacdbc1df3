"""Durable waits for something from outside: signals, and answers of people. One core for both kinds of context."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from propolis.messages import InvalidInput, Payload, StepKey

from .forms import check_answer, check_form, form_of
from .names import check_name, check_text
from .outcomes import digest_of
from .steps import Calling, begun_step, check_seconds, check_wait, wait

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["NO_DEFAULT", "ask_human", "call", "receive"]

NO_DEFAULT: Final[Any] = object()
"""There is none; None may be one."""


async def receive(attempt: Attempt, calling: Calling, topic: str, timeout: float | None) -> Any:
    """The next signal under a topic."""
    check_wait(attempt, "receive")
    check_name("topic", topic)
    check_seconds("receive.timeout", timeout)
    due_at = None if timeout is None else attempt.host.now() + timedelta(seconds=timeout)
    key, recorded = attempt.replay.next("receive", topic, b"")
    return await wait(attempt, calling, recorded or begun_step(key, b"", due_at=due_at))


async def ask_human(
    attempt: Attempt,
    calling: Calling,
    prompt: str,
    *,
    node_id: str | None,
    schema: Mapping[str, Any] | type[BaseModel] | None,
    deadline: datetime | None,
    default: Any,
) -> Any:
    """The answer of a person."""
    check_wait(attempt, "ask_human")
    check_text("node_id", node_id)
    if not isinstance(prompt, str) or not prompt:
        raise InvalidInput(what="prompt", reason=f"{prompt!r:.200} is no text", remedy="Say what you want to know.")
    if deadline is not None and (not isinstance(deadline, datetime) or deadline.utcoffset() is None):
        raise InvalidInput(
            what="deadline", reason=f"{deadline!r:.200} has no time zone", remedy="Pass an aware datetime."
        )
    if deadline is None and default is not NO_DEFAULT:
        raise InvalidInput(what="default", reason="nothing says when it counts", remedy="Pass a deadline with it.")
    form = form_of(schema)
    spec, name = attempt.begin.spec, node_id or ""
    digest = digest_of((prompt, form))
    key, recorded = attempt.replay.next("ask", name, digest)
    if form is not None and recorded is None:
        await calling.call(_check_form, (form, default), None)  # beside the event loop: an import would block it
        await calling.settle()
    about = {
        "question_id": question_id(spec.run_id, key),
        "execution_id": spec.execution_id,
        "session_id": spec.session_id,
        "stream_id": spec.stream_id,
        "prompt": prompt,
        "schema": form,
        **({} if default is NO_DEFAULT else {"default": default}),
    }
    asking = recorded or begun_step(key, digest, due_at=deadline)
    if asking.status == "begun":  # also by an execution before this one, of the same run: it is now this one's
        asking = asking.model_copy(update={"about": Payload.of(about, "question", attempt.limit)})
    return await wait(attempt, calling, asking)


async def call(attempt: Attempt, calling: Calling, stream_id: str, input_data: Any, *, wait_for_it: bool) -> Any:
    """Run an execution on another stream: what it gives, or, without waiting for it, its id."""
    check_wait(attempt, "call" if wait_for_it else "start")
    check_name("stream_id", stream_id)
    given = Payload.of(input_data, "input_data", attempt.limit)
    about = Payload.join({"input": given, "wait": Payload.of(wait_for_it)})
    digest = digest_of((input_data, wait_for_it))
    key, recorded = attempt.replay.next("call", stream_id, digest)
    return await wait(attempt, calling, recorded or begun_step(key, digest, about=about))


def question_id(run: str, key: StepKey) -> str:
    """The id of a question: the same however often its executor is run again."""
    name = hashlib.blake2b(key.name.encode(), digest_size=4).hexdigest()
    return f"{run}.q{key.segment}.{key.call}.{name}"


def _check_form(form: dict[str, Any], default: Any) -> None:
    check_form(form)
    if default is not NO_DEFAULT:
        check_answer(form, default, "default")
