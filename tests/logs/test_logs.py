"""The log of a session: `runtime.logs()` and `propolis sessions logs`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from propolis import (
    Context,
    EdgeSpec,
    EntryPoint,
    GraphExecutor,
    GraphSpec,
    NodeSpec,
    Runtime,
    RuntimeConfig,
    SyncContext,
)
from propolis.cli import main
from propolis.messages import InvalidInput, LogEntry, Payload

from ..runtime.support import PATIENCE, Gate, until
from . import bodies
from .conftest import Opener


def told(entries: list[LogEntry]) -> list[tuple[int, str, str | None, str]]:
    """What they are about."""
    return [(entry.level, entry.kind, entry.name, entry.what) for entry in entries]


def shown(*args: str) -> Any:
    """What `propolis sessions logs` says."""
    return CliRunner().invoke(main, ["sessions", "logs", *args], prog_name="propolis")


WEIGHED = [
    (1, "execution", None, "started"),
    (2, "step", "double", "completed"),
    (3, "tool", "scale", "started"),
    (3, "tool", "scale", "completed"),
    (3, "log", None, "INFO"),
    (1, "execution", None, "completed"),
]


def test_the_log_of_an_execution_has_three_levels(opened: Opener, runtime: Runtime) -> None:
    """The same wherever it ran."""
    stream = opened("weigh")
    result = stream.run(4).get(timeout=PATIENCE)
    assert 8 == result.output
    for level in (1, 2, 3):
        entries = list(runtime.logs(result.session_id, level=level))
        assert [line for line in WEIGHED if line[0] <= level] == told(entries)
    step = next(entry for entry in entries if entry.kind == "step")
    assert step.duration_ms is not None
    assert {"segment": 0, "call": 0, "attempt": 1} == step.data
    assert ["weighed 4"] == [entry.text for entry in entries if entry.kind == "log"]
    end = entries[-1]
    assert result.total_latency_ms == end.duration_ms
    assert {"attempts": 1, "quality": "clean", "stream_id": "weigh"} == end.data


def test_a_failure_is_told_where_it_happened(runtime: Runtime) -> None:
    """By the step, and by the execution."""
    stream = runtime.open_stream(EntryPoint(id="fails"), bodies.fails).get(timeout=PATIENCE)
    result = stream.run(1).get(timeout=PATIENCE)
    lines = [(entry.kind, entry.what, entry.text) for entry in runtime.logs(result.session_id)]
    error = "NonRetryable: the scale is broken"
    assert [("execution", "started", ""), ("step", "failed", error), ("execution", "failed", error)] == lines


def test_nodes_of_a_graph_say_how_long_a_visit_took_and_steps_which_node_called_them(runtime: Runtime) -> None:
    """Level 2 is what each of them has done."""

    async def weigh(ctx: Context, inputs: Any) -> Any:
        return {"weight": await ctx.step("double", bodies.double, 2)}

    async def send(ctx: Context, inputs: Any) -> Any:
        return {"sent": inputs["weight"]}

    graph = GraphSpec(
        id="post",
        entry_node="weigh",
        nodes=(
            NodeSpec(id="weigh", function=weigh, output_keys=("weight",)),
            NodeSpec(id="send", function=send, input_keys=("weight",), output_keys=("sent",)),
        ),
        edges=(EdgeSpec(id="then", source="weigh", target="send"),),
        terminal_nodes=("send",),
    )
    stream = runtime.open_stream(EntryPoint(id="post"), GraphExecutor(graph)).get(timeout=PATIENCE)
    result = stream.run({}).get(timeout=PATIENCE)
    entries = list(runtime.logs(result.session_id))
    assert [
        ("node", "weigh", "started"),
        ("step", "double", "completed"),
        ("node", "weigh", "completed"),
        ("node", "send", "started"),
        ("node", "send", "completed"),
    ] == [(entry.kind, entry.name, entry.what) for entry in entries if entry.kind in ("node", "step")]
    ends = [entry for entry in entries if entry.what == "completed"]
    assert all(entry.duration_ms is not None for entry in ends)
    assert ("weigh", 1) == (ends[0].node_id, ends[0].data["visit"])
    assert ["weigh", "send"] == entries[-1].data["path"]


def test_a_step_that_was_tried_again_says_how_often(runtime: Runtime) -> None:
    """The tries are within the one call that is recorded."""
    calls: list[int] = []

    async def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("away")
        return len(calls)

    async def work(ctx: Context, _: Any) -> Any:
        return await ctx.step("flaky", flaky, retries=5)

    stream = runtime.open_stream(EntryPoint(id="work"), work).get(timeout=PATIENCE)
    result = stream.run().get(timeout=PATIENCE)
    (step,) = (entry for entry in runtime.logs(result.session_id) if entry.kind == "step")
    assert (3, 3) == (result.output, step.data["tries"])


def test_who_follows_gets_each_line_while_it_runs_and_is_let_go_at_the_end(opened: Opener, runtime: Runtime) -> None:
    """From before the first to the last."""
    stream = opened("weigh")
    execution_id = stream.execute(1).get(timeout=PATIENCE)
    lines = told(list(runtime.logs(execution_id, level=3, follow=True)))
    assert WEIGHED == [line for line in lines if line[1] != "output"]
    until(lambda: 0 == runtime.events_ref.proxy().count().get())


def test_a_log_is_followed_on_an_event_loop_too(runtime: Runtime) -> None:
    """Nothing of it blocks."""

    async def follow() -> list[LogEntry]:
        stream = await runtime.open_stream(EntryPoint(id="weigh"), bodies.weigh)
        execution_id = await stream.execute(1)
        return [entry async for entry in runtime.logs(execution_id, level=3, follow=True)]

    assert WEIGHED == told(asyncio.run(follow()))


def test_a_log_that_is_not_followed_ends_where_it_is(runtime: Runtime) -> None:
    """Also of what runs."""
    gate = Gate()

    async def waits(ctx: Context, _: Any) -> None:
        await gate.passed(ctx)

    stream = runtime.open_stream(EntryPoint(id="waits"), waits).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)
    assert [(1, "execution", None, "started")] == told(list(runtime.logs(execution_id)))
    gate.open()
    assert [(1, "execution", None, "completed")] == told(list(runtime.logs(execution_id, follow=True)))[1:]


def test_the_log_of_a_session_has_all_its_executions_and_of_one_only_that(runtime: Runtime) -> None:
    """By the id that is asked for."""
    stream = runtime.open_stream(EntryPoint(id="weigh"), bodies.weigh).get(timeout=PATIENCE)
    first = stream.run(1).get(timeout=PATIENCE)
    stream.run(3).get(timeout=PATIENCE)  # its events stand between theirs
    second = stream.run(2, session_id=first.session_id).get(timeout=PATIENCE)
    stream.run(3).get(timeout=PATIENCE)
    whole = list(runtime.logs(first.session_id, level=1))
    assert {first.execution_id, second.execution_id} == {entry.execution_id for entry in whole}
    assert {second.execution_id} == {entry.execution_id for entry in runtime.logs(second.execution_id, level=1)}


def test_nothing_is_told_of_an_unknown_id_and_a_bad_argument_is_refused(runtime: Runtime) -> None:
    """As everything that looks."""
    assert [] == list(runtime.logs("nobody", follow=True))
    for bad in ({"level": 4}, {"level": "1"}, {"follow": 1}, {"after": -1}):
        with pytest.raises(InvalidInput):
            runtime.logs("nobody", **bad)


def test_what_is_logged_below_the_level_of_the_entry_point_is_not_kept(runtime: Runtime) -> None:
    """None keeps nothing."""
    kept = {}
    for level in ("DEBUG", "ERROR", None):
        point = EntryPoint(id=f"at-{level}", log_level=level)
        stream = runtime.open_stream(point, bodies.weigh).get(timeout=PATIENCE)
        result = stream.run(1).get(timeout=PATIENCE)
        kept[level] = [entry.what for entry in runtime.logs(result.session_id, level=3) if entry.kind == "log"]
    assert {"DEBUG": ["INFO", "DEBUG"], "ERROR": [], None: []} == kept


class Wordless(Exception):
    """Says nothing when it is asked."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_a_flood_of_records_is_cut_off_and_a_bad_one_hurts_nobody(runtime: Runtime, capsys: Any) -> None:
    """A thousand of an attempt, and that there were more."""

    async def floods(ctx: Context, _: Any) -> None:
        ctx.log.info("%d and %d", 1)  # noqa: PLE1206 - the mistake that is tried
        try:
            raise ValueError("\udc80")
        except ValueError:
            ctx.log.exception("it went wrong")
        try:
            raise Wordless
        except Wordless:
            ctx.log.exception("it said nothing")
        for number in range(1_100):
            ctx.log.info("%s", number)

    stream = runtime.open_stream(EntryPoint(id="floods"), floods).get(timeout=PATIENCE)
    result = stream.run().get(timeout=PATIENCE)
    assert "completed" == result.status
    kept = [entry for entry in runtime.logs(result.session_id, level=3) if entry.kind == "log"]
    assert (1_001, "'%d and %d'", "... and more, which is not kept") == (len(kept), kept[0].text, kept[-1].text)
    assert ("it went wrong", {"error": "ValueError: \\udc80"}) == (kept[1].text, kept[1].data)
    wordless = {"error": "Wordless: <Wordless whose str() raised RuntimeError>"}
    assert ("it said nothing", wordless) == (kept[2].text, kept[2].data)


def test_a_record_of_ctx_log_says_where_it_was_written(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    """The adapter stands between the logger and the caller, and is not it."""
    stream = runtime.open_stream(EntryPoint(id="weigh"), bodies.weigh).get(timeout=PATIENCE)
    with caplog.at_level("INFO", "propolis.execution"):
        result = stream.run(1).get(timeout=PATIENCE)
    (record,) = (record for record in caplog.records if record.name == "propolis.execution")
    assert ("weigh", "bodies.py") == (record.funcName, record.filename)
    assert result.execution_id == record.execution_id  # type: ignore[attr-defined]


# -- from another terminal -------------------------------------------------------------------------------------------


def test_the_command_prints_a_line_each_and_no_more_than_the_limit(runtime: Runtime, url: str) -> None:
    """Of thousands, the last ones; how many there were before goes to stderr."""

    def tells(ctx: SyncContext, _: Any) -> None:  # on a thread: it takes so long that an event loop would be blocked
        events = [ctx._attempt.event("custom", Payload.of({"n": n})) for n in range(2_500)]
        from propolis.actors import ask
        from propolis.messages import EmitEvents

        ask(ctx._attempt.ref, EmitEvents(epoch=ctx.epoch, events=tuple(events))).get(timeout=PATIENCE)

    stream = runtime.open_stream(EntryPoint(id="tells"), tells).get(timeout=PATIENCE)
    session_id = stream.run().get(timeout=PATIENCE).session_id
    result = shown(session_id, "--store", url, "--level", "3", "--limit", "7")
    assert (0, 7) == (result.exit_code, len(result.stdout.splitlines()))
    assert "execution completed" in result.stdout.splitlines()[-1]
    assert 'custom  {"n": 2499}' in result.stdout.splitlines()[-2]
    assert "2495 lines before these; --limit N shows N.\n" == result.stderr
    lines = [json.loads(line) for line in shown(session_id, "--store", url, "--json").stdout.splitlines()]
    assert ["started", "completed"] == [line["what"] for line in lines]
    assert {"tells"} == {line["stream_id"] for line in lines}


def test_an_unknown_id_is_status_1_and_one_line(runtime: Runtime, url: str) -> None:
    """Followed or not."""
    for more in ([], ["--follow"]):
        result = shown("nobody", "--store", url, *more)
        assert (1, "", 1) == (result.exit_code, result.stdout, len(result.stderr.splitlines()))
        assert "nobody" in result.stderr


def test_the_command_follows_a_program_in_another_process_until_its_execution_has_ended(
    runtime: Runtime, url: str
) -> None:
    """It sees a line before the next one is there."""
    gate = Gate()

    async def waits(ctx: Context, _: Any) -> str:
        await ctx.step("first", lambda: 1)
        await gate.passed(ctx)
        await ctx.step("second", lambda: 2)
        return "through"

    stream = runtime.open_stream(EntryPoint(id="waits"), waits).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)
    command = [sys.executable, "-m", "propolis", "sessions", "logs", execution_id, "--store", url, "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        before = [json.loads(process.stdout.readline())["name"] for _ in range(2)]
        assert [None, "first"] == before
        gate.open()
        after = [json.loads(line) for line in process.stdout]
        assert 0 == process.wait(PATIENCE)
    assert [("second", "completed"), (None, "completed")] == [(line["name"], line["what"]) for line in after]


def test_a_log_goes_with_its_session_when_retention_takes_it(tmp_path: Path) -> None:
    """It is nothing besides the events."""
    config = RuntimeConfig(session_retention_max=1, retention_every_seconds=0.05)
    with Runtime(f"sqlite:///{tmp_path}/short.db", config=config) as runtime:
        stream = runtime.open_stream(EntryPoint(id="weigh"), bodies.weigh).get(timeout=PATIENCE)
        first, second = (stream.run(number).get(timeout=PATIENCE) for number in (1, 2))
        until(lambda: not list(runtime.logs(first.session_id)))
        assert list(runtime.logs(second.session_id))
