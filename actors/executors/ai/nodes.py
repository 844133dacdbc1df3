"""Model nodes of graphs: what `GraphExecutor` runs them with, unless it is given something else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from string import Template
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from pydantic import BaseModel, create_model

from propolis.messages import GraphProblem

from ...specs import thawed
from ..remembering import Memory
from .libraries import need_models
from .providers import Models

if TYPE_CHECKING:
    from ..graph.runners import NodeCall
    from ..graph.spec import EdgeSpec, GraphSpec, NodeSpec

__all__ = ["ModelNodes"]

OURS: Final[Mapping[str, tuple[type, int | None, str]]] = {
    "instructions": (str, None, "text"),
    "output_retries": (int, 0, "a number from 0 on"),
    "request_limit": (int, 1, "a number from 1 on"),
    "stream": (bool, None, "true or false"),
}
"""Settings that are ours to follow: of which type each is, the least of a number, and that in words."""

PASSED_ON: Final = frozenset(
    {"frequency_penalty", "max_tokens", "presence_penalty", "seed", "stop_sequences", "temperature", "thinking"}
    | {"timeout", "top_k", "top_p"}
)
"""Settings that a provider gets, as pydantic-ai names them."""

CONVERSATION: Final = "__conversation__"
"""Where in the memory of a session its conversation is kept, in the mode "continuous"."""


class ModelNodes:
    """Asks language models through pydantic-ai (`pip install 'propolis[ai]'`).

    A node's `prompt` is what the model is asked, with `$key` for an input; inputs that it does not name follow it. Its
    `model`, else the graph's `default_model`, is a name of pydantic-ai's, such as "openai:gpt-5", or one in `models`: a
    mapping from names to other names, to models of pydantic-ai's, or to functions that make one. A function is better
    for what has connections: they belong to an event loop, so there is one model for each loop, closed with it.

    Every request is a recorded step, and so is every call of a tool: a re-run asks nobody again.
    """

    def __init__(self, models: Mapping[str, Any] | None = None) -> None:
        self._named = dict(models or {})
        self._models = Models()

    def check(self, graph: GraphSpec) -> Iterator[GraphProblem]:
        """What is wrong with the model nodes of a graph.

        Raises:
            ExtraMissing: pydantic-ai is not installed.
        """
        need_models(f"graph {graph.id!r}, which has model nodes,")
        deciding = {edge.source for edge in graph.edges if edge.condition == "model_decides"}
        for node in graph.nodes:
            where = f"node {node.id!r}"
            if node.kind != "model" and node.id not in deciding:
                continue
            name = node.model or graph.default_model
            if not name:
                yield GraphProblem("no_model", where, "neither it nor the graph names a model; pass model=…")
            elif reason := _no_model(self._named.get(name, name)):
                yield GraphProblem("no_model", where, f"its model {name!r} {reason}")
            if node.kind == "model":
                for problem in _bad_settings(_settings(graph, node)):
                    yield GraphProblem("bad_setting", where, problem)
                if not node.prompt:
                    yield GraphProblem("no_prompt", where, "a model node needs something to ask; pass prompt=…")

    async def run(self, call: NodeCall) -> Any:
        """Ask what the node says. Raises what `Asking.run` does."""
        node, graph, settings = call.node, call.graph, _settings(call.graph, call.node)
        instructions = "\n\n".join(filter(None, (graph.identity_prompt, settings.get("instructions"))))
        continuous = graph.conversation_mode == "continuous"
        memory = Memory(call.ctx._attempt)  # the session's own, and not what a node may see of it
        history = await memory.read(CONVERSATION, scope="execution") if continuous else None
        result, plain = await self._ask(
            call, _output_of(node), _prompt_of(node, call.inputs), instructions, node.tools, history
        )
        if continuous:
            await memory.write(CONVERSATION, plain)
        return result if node.outputs else None

    async def decide(self, call: NodeCall, edges: Sequence[EdgeSpec], outputs: Any) -> Collection[str]:
        """Have the model choose one of the edges."""
        ids = tuple(edge.id for edge in edges)
        choice: Any = create_model("Choice", edge=(cast("Any", Literal[ids]), ...))
        ways = "\n".join(f"- {edge.id}: {edge.description or f'go on at {edge.target}'}" for edge in edges)
        asked = f"Choose where to go on behind {call.node.id}:\n{ways}\n\n{_lines({**_plain(call.inputs), **outputs})}"
        chosen, _ = await self._ask(call, choice, asked, call.graph.identity_prompt, (), None)
        return [chosen.edge]

    async def _ask(
        self,
        call: NodeCall,
        output_type: Any,
        prompt: str,
        instructions: str,
        tools: Sequence[Callable[..., Any] | str],
        history: Any,
    ) -> tuple[Any, Any]:
        recording = need_models(f"node {call.node.id!r}")
        settings, name = _settings(call.graph, call.node), call.node.model or call.graph.default_model or ""
        asking = recording.Asking(
            call.ctx,
            call.node.id,
            self._models,
            budget=call.graph.token_budget,
            stream=settings.get("stream", True),
            spend=call.spend,
        )
        passed_on = {key: value for key, value in settings.items() if key in PASSED_ON}
        if call.graph.max_tokens is not None:
            passed_on.setdefault("max_tokens", call.graph.max_tokens)
        agent = recording.agent_of(
            output_type, instructions, tuple(tools), ctx=call.ctx, retries=settings.get("output_retries", 1)
        )
        result = await asking.run(
            agent,
            self._named.get(name, name),
            prompt,
            message_history=recording.history_of(history),
            model_settings={"max_retries": 0, **passed_on},  # it is the node that is tried again
            usage_limits=recording.limits_of(settings.get("request_limit", 50)),
        )
        return result.output, recording.messages_of(result)


def _settings(graph: GraphSpec, node: NodeSpec) -> dict[str, Any]:
    """The node's, over those that hold for all nodes of the graph."""
    settings: dict[str, Any] = {**thawed(graph.loop_config), **thawed(node.settings)}
    return settings


def _bad_settings(settings: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(settings):
        if name in OURS:
            kind, least, words = OURS[name]
            if type(settings[name]) is not kind or (least is not None and settings[name] < least):
                yield f"its setting {name} is {settings[name]!r:.100}, and has to be {words}"
        elif name not in PASSED_ON:
            yield f"settings has {name!r}, and a model node knows {', '.join(sorted(PASSED_ON.union(OURS)))}"


def _prompt_of(node: NodeSpec, inputs: Any) -> str:
    """With the inputs in their places; those that have none follow."""
    plain, template = _plain(inputs), Template(node.prompt)
    named = set(template.get_identifiers())
    rest = _lines({key: value for key, value in plain.items() if key not in named})
    return template.safe_substitute(plain) + (f"\n\n{rest}" if rest else "")


def _lines(values: Mapping[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in values.items())


def _plain(inputs: Any) -> dict[str, Any]:
    return inputs.model_dump(mode="json") if isinstance(inputs, BaseModel) else dict(inputs)


def _no_model(named: Any) -> str:
    """Why this cannot be a model; "" when it may be one."""
    from pydantic_ai.models import Model  # noqa: PLC0415 - of the extra

    if isinstance(named, str):
        known = ":" in named or named == "test"  # as pydantic-ai says it
        return "" if known else "is not among those of ModelNodes(…), and names no provider, as 'openai:gpt-5' does"
    return "" if callable(named) or isinstance(named, Model) else f"is {named!r:.100}, no model, name, or function"


def _output_of(node: NodeSpec) -> Any:
    """What the model is to answer: the node's model, text, or an object with a text for each key."""
    if node.output_model is not None and set(node.outputs) == set(node.output_model.model_fields):
        return node.output_model
    if node.output_model is None and len(node.outputs) <= 1:
        return str
    known = {} if node.output_model is None else node.output_model.model_fields
    fields: dict[str, Any] = {
        key: (str, ...) if key in node.required_outputs else (str | None, None)
        for key in node.outputs
        if key not in known
    }
    return create_model(f"{node.id}_output", __base__=node.output_model, **fields)
