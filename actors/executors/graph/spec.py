"""What a graph is: nodes, edges, where it begins and ends. Frozen, and whole: one that is wrong cannot be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, Field, model_validator

from propolis.messages import GraphInvalid, InvalidInput, Pairs

from ...specs import Backoff, EntryPoint, frozen
from ...validated import Seconds, Validated
from .validation import problems_of

__all__ = ["Condition", "EdgeSpec", "GraphSpec", "NodeKind", "NodeSpec", "ParallelPolicy"]

NodeKind: TypeAlias = Literal["function", "model", "router", "human"]
Condition: TypeAlias = Literal["always", "on_success", "on_failure", "conditional", "model_decides"]


_Id: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
_Key: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
_Keys: TypeAlias = Annotated[Sequence[_Key], AfterValidator(tuple)]
_Ids: TypeAlias = Annotated[Sequence[str], AfterValidator(tuple)]
"""Lists, as YAML has them, are taken too; what is kept is a tuple."""
_Names: TypeAlias = Annotated[Mapping[str, str], AfterValidator(Pairs)]
_Settings: TypeAlias = Annotated[Mapping[str, Any], AfterValidator(frozen)]


class NodeSpec(Validated):
    """A node: what it does, and what it reads and writes of the data that the nodes of a graph share.

    `function` is called with `(ctx, inputs)`, `async def` or `def`; a `def` runs on a thread of its own and gets a
    `SyncContext`. What it returns is a dict with the output keys or, of a node with one output key, the value itself.
    A router's function returns which way to go: a target, the id of an edge, a label of `routes`, or several of them.
    """

    id: _Id
    kind: NodeKind = "function"
    name: str = ""
    description: str = ""
    function: Callable[..., Any] | str | None = None
    """Of a function or router. As text, `module:name`: what `resolve_graph` is to look up."""
    input_keys: _Keys = ()
    """What it reads. It gets these, and nothing else."""
    output_keys: _Keys = ()
    """What it writes."""
    optional_keys: _Keys = ()
    """Of both: what may be missing."""
    memory_keys: _Keys = ()
    """What its function reads and writes of `ctx.memory`, in any scope, beside its inputs and outputs."""
    input_model: type[BaseModel] | None = None
    """Inputs come as this model, and its fields are input keys; those with a default may be missing."""
    output_model: type[BaseModel] | None = None
    """What is returned has to fit, and its fields are output keys."""
    retries: int = Field(default=0, ge=0)
    """How often it is tried again within an attempt, after a failure that may pass."""
    backoff: Backoff = Backoff()
    """How long to wait before that."""
    timeout: Seconds | None = None
    """Of one try, in seconds."""
    max_visits: int | None = Field(default=None, ge=1)
    """How often a run may come to it; to come once more is a failure."""
    routes: _Names = Pairs()
    """Of a router: the target for each label that its function may return."""
    prompt: str = ""
    """Of a human node: the question. Of a model node: what the model is asked. `$key` stands for an input."""
    model: str | None = None
    """Of a model node, or one whose edges a model decides about: its name, if it is not the graph's `default_model`."""
    tools: Annotated[Sequence[Callable[..., Any] | str], AfterValidator(tuple)] = ()
    """Of a model node: functions that the model may call. As text, `module:name`, as `function`."""
    settings: _Settings = Pairs()
    """For whoever runs nodes of its kind."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every key that it reads."""
        return _with_fields(self.input_keys, self.input_model)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every key that it writes."""
        return _with_fields(self.output_keys, self.output_model)

    @property
    def required_inputs(self) -> tuple[str, ...]:
        """What it cannot run without."""
        fields = {} if self.input_model is None else self.input_model.model_fields
        free = {name for name, field in fields.items() if not field.is_required()} | set(self.optional_keys)
        return tuple(key for key in self.inputs if key not in free)

    @property
    def required_outputs(self) -> tuple[str, ...]:
        """What it has to return."""
        return tuple(key for key in self.outputs if key not in self.optional_keys)


def _with_fields(keys: Sequence[str], model: type[BaseModel] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*keys, *(() if model is None else model.model_fields))))


class EdgeSpec(Validated):
    """A way from one node to another, and when it is taken.

    `always`, `on_success`, `on_failure`: by how the node ended. `conditional`: when it succeeded and `expression` is
    true. `model_decides`: when it succeeded and the runner of model nodes picks it. Of the edges that are open those
    of the highest `priority` are taken, all of them; several begin parallel branches.
    """

    id: str = ""
    """`source->target` unless said."""
    source: str
    target: str
    condition: Condition = "on_success"
    expression: str | None = None
    """What has to be true besides: see docs/graphs.md for the language and the names."""
    priority: int = 0
    input_mapping: _Names = Pairs()
    """Input key of the target to the key whose value it gets."""
    description: str = ""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and not data.get("id"):
            return {**data, "id": f"{data.get('source')}->{data.get('target')}"}
        return data

    @model_validator(mode="after")
    def _has_an_expression(self) -> EdgeSpec:
        if self.condition == "conditional" and self.expression is None:
            raise InvalidInput(
                what="EdgeSpec.expression",
                reason=f"edge {self.id!r} is conditional and has none",
                remedy='Pass one, such as expression="score > 0.5".',
            )
        return self


class ParallelPolicy(Validated):
    """What holds for parallel branches."""

    on_failure: Literal["fail_all", "continue_others", "wait_all"] = "fail_all"
    """`fail_all`: the others are interrupted. `wait_all`: they go on as far as they can, then the graph has failed.
    `continue_others`: they go on, and the graph succeeds, degraded, if one of them gets to an end."""
    on_conflict: Literal["last_wins", "first_wins", "error"] = "last_wins"
    """When two branches write the same key."""
    branch_timeout: Seconds | None = None
    """How long a branch may run, from its fork to its join or end, in seconds."""


class GraphSpec(Validated):
    """A whole graph.

    Raises:
        GraphInvalid: nodes, edges or ends do not fit together; `problems` lists everything that is wrong.
        InvalidInput: a field is no such thing at all.
    """

    id: _Id
    goal_id: str | None = None
    """The goal that its streams pursue: what `open_stream(goal=…)` gets must be that one."""
    version: Annotated[str, Field(min_length=1)] | None = None
    description: str = ""
    entry_node: str
    """Where an execution begins, unless its entry point says otherwise (`EntryPoint.entry_node`)."""
    entry_points: _Names = Pairs()
    """Further ways in, by name. `NODE_resume`: where a resume goes on after the pause node NODE."""
    async_entry_points: Annotated[Sequence[EntryPoint], AfterValidator(tuple)] = ()
    """Streams of the same graph with triggers of their own (`propolis.open_entry_points`)."""
    terminal_nodes: _Ids = ()
    """Where it ends. None named: wherever no edge leads on."""
    pause_nodes: _Ids = ()
    """Behind these the execution ends as paused; a resume chooses among their edges and goes on."""
    nodes: Annotated[Sequence[NodeSpec], AfterValidator(tuple)]
    edges: Annotated[Sequence[EdgeSpec], AfterValidator(tuple)] = ()
    parallel: ParallelPolicy = ParallelPolicy()
    max_steps: int = Field(default=1_000, ge=1)
    """Visits of nodes in one go: from the start, or from a resume, to the end or the next pause."""
    default_model: str | None = None
    """Of model nodes that name none. What follows is of model nodes, too."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Of one answer, at most."""
    token_budget: int | None = Field(default=None, ge=1)
    """How many tokens a session may use, over all its executions. Then a person is asked, and may give more."""
    loop_config: _Settings = Pairs()
    """Settings of all of them; a node's own go before."""
    conversation_mode: Literal["isolated", "continuous"] = "isolated"
    """Whether each begins a conversation of its own, or goes on with that of the one before."""
    identity_prompt: str = ""
    """What each is told first."""

    @model_validator(mode="after")
    def _fits_together(self) -> GraphSpec:
        problems = problems_of(self)
        if problems:
            raise GraphInvalid(graph_id=self.id, problems=problems)
        return self

    def node(self, node_id: str) -> NodeSpec | None:
        """The node of that id."""
        return next((node for node in self.nodes if node.id == node_id), None)

    def edges_from(self, node_id: str) -> tuple[EdgeSpec, ...]:
        """The edges out of a node, in the order that they were written in."""
        return tuple(edge for edge in self.edges if edge.source == node_id)

    @property
    def entry_nodes(self) -> tuple[str, ...]:
        """Every node that an execution may begin at."""
        asynchronous = (point.entry_node for point in self.async_entry_points if point.entry_node is not None)
        return tuple(dict.fromkeys((self.entry_node, *self.entry_points.values(), *asynchronous)))

    @property
    def ends(self) -> frozenset[str]:
        """Where it ends: the terminal nodes, or, with none named, those without an edge out."""
        if self.terminal_nodes:
            return frozenset(self.terminal_nodes)
        return frozenset(node.id for node in self.nodes) - {edge.source for edge in self.edges}

    def entered_at(self, node_id: str | None) -> GraphSpec:
        """The same graph with another entry node; its own one stays a way in. Raises GraphInvalid: no such node."""
        if node_id is None or node_id == self.entry_node:
            return self
        points = {"start": node_id, "primary": self.entry_node, **self.entry_points}
        return self.model_copy(update={"entry_node": node_id, "entry_points": points})
