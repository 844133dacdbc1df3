"""Nodes of graphs and memory: their functions use what their nodes declare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from propolis import EdgeSpec, GraphExecutor, GraphSpec, NodeSpec, Runtime
from propolis.messages import KeyNotPermitted

from ..runtime.support import PATIENCE
from .conftest import opened


def run(runtime: Runtime, function: Any, **fields: Any) -> Any:
    """The result of a graph of two nodes, the second with this function and these fields."""

    async def first(ctx: Any, inputs: Any) -> dict[str, Any]:
        return {"a": 1, "hidden": 2}

    nodes = [
        NodeSpec(id="first", function=first, output_keys=["a", "hidden"]),
        NodeSpec(id="second", function=function, input_keys=["a"], output_keys=["b"], **fields),
    ]
    graph = GraphSpec(id="g", entry_node="first", nodes=nodes, edges=[EdgeSpec(source="first", target="second")])
    return opened(runtime, GraphExecutor(graph), "synchronized").run().get(timeout=PATIENCE)


READS = [lambda m: m.read("hidden"), lambda m: m.read("hidden", scope="global"), lambda m: m.update("hidden", str)]
WRITES = [
    lambda m: m.write("a", 1),
    lambda m: m.write_batch({"b": 1, "a": 1}, scope="stream"),
    lambda m: m.update("a", str, scope="global"),
    lambda m: m.delete("__graph__"),
]


@pytest.mark.parametrize(("access", "call"), [*[("read", c) for c in READS], *[("write", c) for c in WRITES]])
def test_a_key_that_its_node_does_not_declare_is_refused(
    runtime: Runtime, access: str, call: Callable[..., Any]
) -> None:
    """In every scope, by an error that says where to declare it."""

    async def second(ctx: Any, inputs: Any) -> int:
        with pytest.raises(KeyNotPermitted, match=f"Node 'second' may not {access} .*memory_keys") as refused:
            await call(ctx.memory)
        assert ("second", access) == (refused.value.node_id, refused.value.access)
        return 3

    result = run(runtime, second)
    assert (None, {"b": 3}) == (result.error, result.output)
    assert {} == runtime.state().get(timeout=PATIENCE)


def test_a_checkpoint_of_a_node_writes_no_more_than_the_node_may(runtime: Runtime) -> None:
    """Nor does a `def`."""

    def second(ctx: Any, inputs: Any) -> int:
        with pytest.raises(KeyNotPermitted):
            ctx.checkpoint(memory={"hidden": 0})
        with pytest.raises(KeyNotPermitted):
            ctx.memory.write("hidden", 0)
        return 3

    result = run(runtime, second)
    assert (None, 2) == (result.error, result.session_state["hidden"])


def test_a_node_sees_and_changes_what_it_declares(runtime: Runtime) -> None:
    """Its inputs, its outputs, and its `memory_keys`, in every scope; its changes are told as the node's."""
    from .test_shared import events

    async def second(ctx: Any, inputs: Any) -> Any:
        await ctx.memory.update("count", lambda n: (n or 0) + 1, scope="global")
        await ctx.memory.write("b", 5)
        return [await ctx.memory.read("count"), await ctx.memory.read_all(), ctx.session_state]

    result = run(runtime, second, memory_keys=["count"])
    assert (None, [1, {"a": 1, "b": 5, "count": 1}, {"a": 1, "b": 5}]) == (result.error, result.output["b"])
    (changed,) = events(runtime, "state_changed")
    assert ("second", "count") == (changed.node_id, changed.data["key"])
    assert {"count": 1} == runtime.state().get(timeout=PATIENCE)


def test_an_update_of_a_node_that_is_tried_again_is_made_once(runtime: Runtime) -> None:
    """Within one attempt, too."""
    tries: list[int] = []

    async def second(ctx: Any, inputs: Any) -> int:
        tries.append(await ctx.memory.update("count", lambda n: (n or 0) + 1, scope="global"))
        if len(tries) < 3:
            raise ConnectionError
        return len(tries)

    result = run(runtime, second, memory_keys=["count"], retries=3)
    assert (None, {"b": 3}, [1, 1, 1]) == (result.error, result.output, tries)
    assert {"count": 1} == runtime.state().get(timeout=PATIENCE)
