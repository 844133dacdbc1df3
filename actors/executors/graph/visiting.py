"""One visit of a node: its inputs, its tries, and what came of it. Runs in a task of its own, and never raises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from propolis.messages import BranchTimedOut, RecordedStep

from ..calling import AsyncCalling
from ..context import Context
from ..figures import NODE, elapsed_ms
from ..outcomes import causes
from ..replay import SCOPE, Scope
from ..signals import Parked
from ..spans import run_below_node
from .calling import NodeContext, call_function, limited, within
from .chart import MOST_CALLS, Chart
from .choosing import routed
from .data import access_of, inputs_of, origins_of, outputs_of
from .position import Position, Token
from .runners import ModelRunner, NodeCall, NodeRunner
from .spec import NodeSpec

__all__ = ["Outcome", "Visits"]

_MISSING = object()


@dataclass(slots=True)
class Outcome:
    """How a visit ended. `error`: what the node raised on its last try, or what unwinds the whole run."""

    outputs: dict[str, Any] = field(default_factory=dict)
    picked: frozenset[str] | None = None
    """The ids of the edges that a router, or a model, has picked."""
    error: BaseException | None = None
    parked: bool = False
    """The node waits for what may take long, and is to be visited again when that is over."""
    refused: bool = False
    """It was interrupted because another node began to wait, and is to be visited again at once."""


class Visits:
    """Makes the visits of one run."""

    def __init__(self, chart: Chart, ctx: Context, position: Position, runners: Mapping[str, NodeRunner]) -> None:
        self._chart = chart
        self._ctx = ctx
        self._position = position
        self._runners = runners
        self.waits: list[RecordedStep] = []
        """What nodes wait for that have been unwound meanwhile."""

    def gather_waits(self) -> None:
        """Take over what the attempt is to be unwound for: other branches go on first, as far as they can."""
        attempt = self._ctx._attempt
        waits, attempt.waits = attempt.waits, ()
        self.waits += waits

    def _tell(self, type: str, node: str, data: dict[str, Any]) -> None:
        """An event that is committed by itself, and not waited for: the end of the attempt is heard behind it."""
        self._ctx._attempt.ask_emit(type, data, node)

    async def visit(self, token: Token) -> Outcome:
        """Try the node until it succeeds, or has failed for good."""
        node, host = self._chart.nodes[token.node], self._ctx._attempt.host
        limit, left = self._chart.graph.parallel.branch_timeout, None
        if limit is not None and token.forked:
            token.began = host.monotonic() if token.began is None else token.began
            left = max(0.0, limit - (host.monotonic() - token.began))
        scope = Scope(token.segment, self._chart.first_call(node.id, self._position.visits[node.id]))
        SCOPE.set(scope)
        NODE.set((node.id, self._position.visits[node.id]))
        run_below_node(self._ctx._attempt, node.id, self._position.visits[node.id])
        since = host.monotonic()
        self._ctx._attempt.replay.run_again()
        timer: asyncio.Timeout | None = None
        try:
            if left is None:
                return await self._tries(node, token)
            async with limited(host, left) as timer:
                return await self._tries(node, token)
        except TimeoutError as error:
            if limit is None or timer is None or not timer.expired():
                return Outcome(error=error)
            return Outcome(error=BranchTimedOut(node_id=node.id, seconds=limit))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return Outcome(error=error)  # the node's own doing
        except Parked:
            self.gather_waits()
            mine = any(scope.first_call <= step.call < scope.first_call + MOST_CALLS for step in self.waits)
            return Outcome(parked=mine, refused=not mine)
        except BaseException as error:  # noqa: BLE001 - a SystemExit must not get to the event loop
            return Outcome(error=error)
        finally:
            token.took_ms = elapsed_ms(host, since)

    async def _tries(self, node: NodeSpec, token: Token) -> Outcome:
        attempt = self._ctx._attempt
        tried = 0
        while True:
            spent: list[int] = []
            try:
                outcome = await self._try(token, node, spent.append)
                self._position.spent_tokens += sum(spent)
                return outcome
            except Exception as error:
                attempt.check()
                tried += 1
                if tried > node.retries or not attempt.entry_point.restart.retryable(error):
                    self._position.spent_tokens += sum(spent)  # else the next try comes by the same answers
                    raise
                after = max(node.backoff.delay(tried, attempt.host.draw()), getattr(error, "retry_after", 0.0))
                keys = (attempt.raised[id(each)][1] for each in causes(error) if id(each) in attempt.raised)
                attempt.replay.run_again(keys)
                self._position.retried(node.id)
                about = {"retry": tried, "after": after, "error": f"{type(error).__name__}: {error}"[:500]}
                self._tell("node_retry", node.id, about)
                await AsyncCalling(attempt.host).pause(after)

    async def _try(self, token: Token, node: NodeSpec, spend: Callable[[int], None]) -> Outcome:
        via = [self._chart.edges[edge] for edge in token.via if edge in self._chart.edges]
        origins, host = origins_of(node, via), self._ctx._attempt.host
        inputs, access = await self._inputs(node, origins), access_of(node, origins)
        context = NodeContext(self._ctx, node.id)  # a runner keeps what is its own there
        call = NodeCall(graph=self._chart.graph, node=node, ctx=context, inputs=inputs, spend=spend)
        runner = self._runners.get(node.kind)
        if runner is not None:
            value = await within(host, node.timeout, node.id, runner.run(call))
        else:
            assert callable(node.function), "a graph is checked before it runs"
            value = await call_function(
                self._ctx,
                node.id,
                node.function,
                inputs,
                node.timeout,
                lambda: self._tell("node_stalled", node.id, {"seconds": node.timeout}),
                access,
            )
        edges = self._chart.edges_from[node.id]
        if node.kind == "router":
            return Outcome(picked=routed(node, edges, value))
        outputs = outputs_of(node, value)
        undecided = [edge for edge in edges if edge.condition == "model_decides"]
        if not undecided:
            return Outcome(outputs=outputs)
        decider = cast("ModelRunner", self._runners["model"])  # a graph is checked before it runs
        picked = await within(host, node.timeout, node.id, decider.decide(call, undecided, outputs))
        return Outcome(outputs=outputs, picked=frozenset(picked))

    async def _inputs(self, node: NodeSpec, origins: Mapping[str, str]) -> Any:
        memory, values = self._ctx.memory, {}
        for key, origin in origins.items():
            value = await memory.read(origin, _MISSING)
            if value is not _MISSING:
                values[key] = value
        return inputs_of(node, values)
