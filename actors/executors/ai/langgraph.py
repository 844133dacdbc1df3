"""A whole LangGraph graph as an executor. Its checkpoints stay its own, ours hold the session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from propolis.messages import InvalidInput

from ..context import Context
from ..protocol import Preparing
from .libraries import need_langgraph

__all__ = ["LangGraphExecutor"]

RUN: Final = "propolis_run"
"""In the metadata of LangGraph's checkpoints: the run that made them."""

QUESTION: Final = "interrupt"


class LangGraphExecutor(Preparing):
    """Runs a compiled graph: `open_stream(entry_point, LangGraphExecutor(builder.compile(checkpointer=…)))`.

    For worker processes it is a class at the top level of a module, with `graph = builder.compile(…)`.

    The session's id is the thread's. With a checkpointer a restart, a recovery or a resume goes on where LangGraph's
    checkpoints stand, `interrupt(…)` asks a person as `ctx.ask_human` does, and a session that is joined goes on with
    its thread. Without one a restart begins at the beginning. The checkpointer has to be one for async code, such as
    AsyncSqliteSaver. `config` is LangGraph's, as for `ainvoke`.

    Each node that is done emits `node_loop_completed`; what chat models say is published live (`llm_text_delta`).

    Raises:
        ExtraMissing: LangGraph is not installed.
        InvalidInput: it is no compiled graph.
    """

    graph: ClassVar[Any] = None

    def __init__(self, graph: Any = None, *, config: Mapping[str, Any] | None = None) -> None:
        need_langgraph("a LangGraphExecutor")
        self._graph = graph if graph is not None else type(self).graph
        if not all(hasattr(self._graph, name) for name in ("astream", "aget_state")):
            reason = "there is none" if self._graph is None else f"{self._graph!r:.100} is no compiled graph"
            remedy = "Pass LangGraphExecutor(builder.compile(…)), or make a subclass with `graph = builder.compile(…)`."
            raise InvalidInput(what="LangGraphExecutor.graph", reason=reason, remedy=remedy)
        self._config = dict(config or {})

    async def execute(self, ctx: Context, input: Any) -> Any:
        """Run the graph to its end: the values of its state."""
        types = need_langgraph("a LangGraphExecutor")
        config = self._config_of(ctx)
        given, waiting, values = input, [], None
        if self._graph.checkpointer is not None:
            ctx._attempt.replay.look()  # what has been asked before the last interrupt is behind us
            state = await self._graph.aget_state(config)
            if (state.metadata or {}).get(RUN) == ctx._attempt.begin.spec.run_id:
                given, waiting, values = None, list(state.interrupts), state.values
                if not waiting and not state.next:
                    return values  # it was done, and that was not committed yet
        while True:
            if waiting:
                given = types.Command(resume={each.id: await self._answer(ctx, each) for each in waiting})
            values, waiting = await self._run(ctx, given, config)
            if not waiting:
                return values
            await ctx.checkpoint(QUESTION)  # the next questions are other ones

    def _config_of(self, ctx: Context) -> dict[str, Any]:
        configurable = {**self._config.get("configurable", {}), "thread_id": ctx.session_id}
        metadata = {**self._config.get("metadata", {}), RUN: ctx._attempt.begin.spec.run_id}
        return {**self._config, "configurable": configurable, "metadata": metadata}

    async def _answer(self, ctx: Context, interrupt: Any) -> Any:
        value = interrupt.value
        prompt = value if isinstance(value, str) and value else f"The graph asks: {value!r:.2000}"
        return await ctx.ask_human(prompt, node_id=f"{QUESTION}:{interrupt.id}")

    async def _run(self, ctx: Context, given: Any, config: dict[str, Any]) -> tuple[Any, list[Any]]:
        """To its end, or to where it asks: its values, and what it asks."""
        values, waiting = None, []
        async for mode, data in self._graph.astream(given, config, stream_mode=["updates", "messages", "values"]):
            if mode == "values":
                values = {key: value for key, value in data.items() if key != "__interrupt__"} if _maps(data) else data
            elif mode == "messages":
                text = getattr(data[0], "text", "")
                if isinstance(text, str) and text:
                    await ctx.emit("llm_text_delta", {"text": str(text)}, node_id=data[1].get("langgraph_node"))
            else:
                for node, update in data.items():
                    if node == "__interrupt__":
                        waiting += update
                    else:
                        keys = sorted(map(str, _keys_of(update)))
                        await ctx.emit("node_loop_completed", {"keys": keys, "success": True}, node_id=node)
        return values, waiting


def _maps(data: Any) -> bool:
    return isinstance(data, Mapping)


def _keys_of(update: Any) -> Iterable[Any]:
    return update.keys() if isinstance(update, Mapping) else ()
