"""The names of the front door: what programs are written against, and nobody is to rename by the way."""

from __future__ import annotations

import inspect
from typing import Any, Final

import pytest
from propolis.actors.executors.remembering import Memory, SyncMemory

from propolis import Context, Runtime, Stream, SyncContext
from propolis.actors import StreamActor

WORK: Final = (
    "input_data=None, *, correlation_id=None, session_id=None, memory=None, "
    "priority, idempotency_key=None, deadline=None"
)
CONTEXT: Final = {
    "step": "name, fn, *args, on_doubt, retries",
    "checkpoint": "node=None, memory=None",
    "emit": "type, data",
    "progress": "fraction, note",
    "receive": "topic, *, timeout",
    "ask_human": "prompt, *, node_id=None, schema=None, deadline=None, default",
    "call": "stream_id, input",
    "pause": "node",
    "sleep": "seconds",
    "decide": "",
    "record_outcome": "",
    "report_problem": "",
}
MEMORY: Final = {
    "read": "key",
    "write": "key, value, *, scope='execution'",
    "update": "key, fn, *, scope",
    "write_batch": "items",
    "read_all": "",
    "delete": "key",
}
CALLS: Final[dict[type[Any], dict[str, str]]] = {
    Runtime: {
        "__init__": "store='memory:', *, config",
        "start": "",
        "stop": "cancel=False",
        "drain": "timeout",
        "open_stream": "entry_point, executor, *, goal=None",
        "close_stream": "stream_id",
        "stream": "stream_id",
        "streams": "",
        "trigger": "entry_point_id, input_data",
        "trigger_and_wait": "entry_point_id, input_data",
        "subscribe": "types, handler_or_ref, *, stream=None, node=None, execution=None, graph=None",
        "unsubscribe": "subscription_id",
        "events": "after=None",
        "sessions": "*, status, stream, goal, limit",
        "session": "session_id",
        "executions": "",
        "delete_session": "session_id",
        "quarantined": "",
        "replay": "session_id",
        "goal_progress": "",
        "stats": "",
        "supervision_tree": "",
        "why_stuck": "session_id",
    },
    Stream: {
        "execute": WORK,
        "run": WORK,
        "resume": "session_id, *, input_data=None, memory=None, checkpoint_id=None",
        "wait_for_completion": "execution_id, timeout=None",
        "get_result": "execution_id",
        "get_context": "execution_id",
        "cancel_execution": "execution_id, grace",
        "pause_execution": "execution_id",
        "send": "execution_id, topic, value",
        "inject_input": "node_id, content, *, execution_id=None",
        "open_questions": "",
        "answer": "question_id, value",
        "get_active_count": "",
        "get_stats": "",
        "events": "",
        "start": "",
        "stop": "cancel=False",
        "drain": "timeout",
    },
    StreamActor: {"start": "entry_point, executor, *, sessions, events"},
    Context: CONTEXT,
    SyncContext: CONTEXT,
    Memory: MEMORY,
    SyncMemory: MEMORY,
}


@pytest.mark.parametrize("kind", CALLS, ids=lambda kind: kind.__name__)
def test_every_call_takes_what_the_contract_says(kind: type[Any]) -> None:
    """Names, their order, what is given by keyword only, and defaults where they are said. There may be more."""
    for name, said in CALLS[kind].items():
        has = inspect.signature(getattr(kind, name)).parameters
        given = [parameter for parameter in has.values() if parameter.name not in ("self", "cls")]
        by_place = [each.name for each in given if each.kind is each.POSITIONAL_OR_KEYWORD]
        place, _, keyword = said.partition("*")
        wanted = [each.strip() for each in place.split(",") if each.strip()]
        assert [each.partition("=")[0] for each in wanted] == by_place[: len(wanted)], (kind, name)
        for each in (*wanted, *(each.strip() for each in keyword.lstrip(", ").split(",") if each.strip())):
            parameter, equals, default = each.partition("=")
            assert parameter in has, (kind, name, parameter)
            assert not equals or repr(has[parameter].default) == default, (kind, name, parameter)


def test_what_stands_without_parentheses_is_a_property() -> None:
    """It reads what was published last, and never blocks."""
    context = (
        "execution_id session_id correlation_id stream_id attempt epoch input session_state deadline cancelled "
        "pause_requested step_key memory log"
    )
    for kind, names in (
        (Stream, "active_execution_ids is_awaiting_input ref"),
        (Runtime, "ref"),
        (Context, context),
        (SyncContext, context),
    ):
        for name in names.split():
            assert isinstance(inspect.getattr_static(kind, name), property), name
