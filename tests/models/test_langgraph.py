"""Whole LangGraph graphs as executors: their checkpoints are theirs, the session is ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import pytest

pytest.importorskip("langgraph", reason="needs the extra [langgraph]")

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from propolis import EntryPoint, Placement, Runtime, Stream
from propolis.ai import LangGraphExecutor
from propolis.messages import Event

from ..graph.conftest import NEVER, QUICK
from ..runtime.support import PATIENCE, until
from .workers import count, note


class State(TypedDict, total=False):
    """What the nodes share."""

    folder: str
    seen: list[str]
    answer: str


def compiled(last: Callable[[State], Any], saver: Any) -> Any:
    """first, then second."""

    async def first(state: State) -> State:
        note(state["folder"], "first")
        return {"seen": [*state.get("seen", []), "first"]}

    builder = StateGraph(State)
    builder.add_node("first", first)
    builder.add_node("second", last)
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    builder.add_edge("second", END)
    return builder.compile(checkpointer=saver)


async def plainly(state: State) -> State:
    """Goes through."""
    return {"seen": [*state["seen"], "second"]}


async def stumbling(state: State) -> State:
    """Raises the first time."""
    if note(state["folder"], "second") == 1:
        raise ConnectionError
    return {"seen": [*state["seen"], "second"]}


async def asking(state: State) -> State:
    """Asks two people, one after the other."""
    note(state["folder"], "second")
    once = interrupt("Once?")
    return {"answer": f"{once} {interrupt({'text': 'Twice?'})}"}


def opened(runtime: Runtime, graph: Any, **fields: Any) -> Stream:
    """A stream of it."""
    point = EntryPoint(**{"id": "flow", "restart": NEVER, **fields})
    return runtime.open_stream(point, LangGraphExecutor(graph)).get(timeout=PATIENCE)


BOTH = pytest.mark.parametrize("placement", [Placement.asyncio(), Placement.thread()], ids=["asyncio", "thread"])


@BOTH
@pytest.mark.parametrize("saver", [InMemorySaver, lambda: None], ids=["checkpointer", "none"])
def test_its_state_is_the_output_and_its_nodes_are_told(
    runtime: Runtime, tmp_path: Path, placement: Placement, saver: Any
) -> None:
    """With a checkpointer or without."""
    seen: list[Event] = []
    runtime.subscribe(["node_loop_completed"], seen.append).get(timeout=PATIENCE)
    stream = opened(runtime, compiled(plainly, saver()), placement=placement)
    result = stream.run({"folder": str(tmp_path)}).get(timeout=PATIENCE)
    assert {"folder": str(tmp_path), "seen": ["first", "second"]} == result.output, result
    until(lambda: len(seen) == 2)
    assert ["first", "second"] == [event.node_id for event in seen]


@BOTH
@pytest.mark.parametrize(("saver", "firsts"), [(InMemorySaver, 1), (lambda: None, 2)], ids=["checkpointer", "none"])
def test_a_restart_goes_on_where_its_checkpoints_stand(
    runtime: Runtime, tmp_path: Path, placement: Placement, saver: Any, firsts: int
) -> None:
    """The node that was done is not run again; without a checkpointer nobody knows of it."""
    stream = opened(runtime, compiled(stumbling, saver()), placement=placement, restart=QUICK)
    result = stream.run({"folder": str(tmp_path)}).get(timeout=PATIENCE)
    assert (["first", "second"], 1) == (result.output["seen"], result.restarts), result
    assert (firsts, 2) == (count(tmp_path, "first"), count(tmp_path, "second"))


def test_what_it_had_finished_is_not_run_again(runtime: Runtime, tmp_path: Path) -> None:
    """Its end was in its checkpoints, and not in our store yet: a resume finds it there."""
    graph = compiled(plainly, InMemorySaver())

    class Late(LangGraphExecutor):
        async def execute(self, ctx: Any, input: Any) -> Any:
            output = await super().execute(ctx, input)
            if note(tmp_path, "late") == 1:
                raise ConnectionError
            return output

    stream = runtime.open_stream(EntryPoint(id="flow", restart=NEVER), Late(graph)).get(timeout=PATIENCE)
    failed = stream.run({"folder": str(tmp_path)}).get(timeout=PATIENCE)
    execution_id = stream.resume(failed.session_id).get(timeout=PATIENCE)
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert (["first", "second"], 1) == (result.output["seen"], count(tmp_path, "first"))


@BOTH
def test_its_interrupts_are_questions_to_people(runtime: Runtime, tmp_path: Path, placement: Placement) -> None:
    """Two of one node, one after the other; in a thread each unwinds the stack."""
    stream = opened(runtime, compiled(asking, InMemorySaver()), placement=placement)
    execution_id = stream.execute({"folder": str(tmp_path)}).get(timeout=PATIENCE)
    for prompt, answer in (("Once?", "yes"), ("Twice?", "indeed")):
        open_now = until(
            lambda prompt=prompt: [
                question for question in stream.open_questions().get(timeout=PATIENCE) if prompt in question.prompt
            ],
            prompt,
        )
        stream.answer(open_now[0].id, answer).get(timeout=PATIENCE)
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ("completed", "yes indeed") == (result.status, (result.output or {}).get("answer")), result
    assert (1, 3) == (count(tmp_path, "first"), count(tmp_path, "second"))


def test_who_joins_the_session_goes_on_with_its_thread(runtime: Runtime, tmp_path: Path) -> None:
    """What was there before is there; the input begins a new turn."""
    stream = opened(runtime, compiled(plainly, InMemorySaver()))
    first = stream.run({"folder": str(tmp_path)}).get(timeout=PATIENCE)
    second = stream.run({"folder": str(tmp_path)}, session_id=first.session_id).get(timeout=PATIENCE)
    assert ["first", "second", "first", "second"] == second.output["seen"]
