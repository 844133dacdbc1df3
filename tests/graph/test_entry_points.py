"""Streams that a graph asks for itself."""

from __future__ import annotations

from typing import Any

import pytest

from propolis import EntryPoint, GraphExecutor, Placement, Runtime, open_entry_points
from propolis.messages import DuplicateStream, ExecutorNotImportable

from ..runtime.support import PATIENCE
from .test_running import gives, graph, node

POINTS = [EntryPoint(id="hook", entry_node="b"), EntryPoint(id="api", entry_node="a", max_concurrent=2)]


def spec(points: list[EntryPoint]) -> Any:
    """Two nodes, and these ways in."""
    return graph([node("a"), node("b", gives(1), writes="x")], "a>b", async_entry_points=points)


class Doors(GraphExecutor):
    """A graph with streams of its own."""

    graph = spec(POINTS)


@pytest.mark.parametrize("executor", [Doors, GraphExecutor(spec(POINTS))], ids=["class", "object"])
def test_each_gets_a_stream_that_begins_at_its_node(runtime: Runtime, executor: Any) -> None:
    """In their order."""
    hook, api = open_entry_points(runtime, executor).get(timeout=PATIENCE)
    assert ("hook", "api", 2) == (hook.id, api.id, api.entry_point.max_concurrent)
    assert ("b",) == hook.run().get(timeout=PATIENCE).path
    assert ("a", "b") == api.run().get(timeout=PATIENCE).path


def test_a_graph_without_any_opens_none(runtime: Runtime) -> None:
    """It is no error."""
    assert () == open_entry_points(runtime, GraphExecutor(spec([]))).get(timeout=PATIENCE)


def test_one_that_is_open_already_stays_and_no_other_is_opened(runtime: Runtime) -> None:
    """It is somebody else's."""
    runtime.open_stream(EntryPoint(id="api"), Doors).get(timeout=PATIENCE)
    with pytest.raises(DuplicateStream, match="api"):
        open_entry_points(runtime, Doors).get(timeout=PATIENCE)
    assert ["api"] == [stream.id for stream in runtime.streams()]


def test_when_one_cannot_be_opened_none_is(runtime: Runtime) -> None:
    """An object has no name that a worker could import it by."""
    points = [*POINTS, EntryPoint(id="worker", entry_node="a", placement=Placement.process())]
    with pytest.raises(ExecutorNotImportable):
        open_entry_points(runtime, GraphExecutor(spec(points))).get(timeout=PATIENCE)
    assert () == runtime.streams()
