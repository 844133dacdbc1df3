"""One visit of a node: its inputs, its tries, and what came of it. Runs in a task of its own, and never raises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from propolis.messages import BranchTimedOut, RecordedStep, line_of

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
from .place import Place
from .position import Position, Token
from .runners import ModelRunner, NodeCall, NodeRunner

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
        self._memory = ctx.memory
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
        place, attempt = self._chart.places[token.node], self._ctx._attempt
        node, host, number = place.node, attempt.host, self._position.visits[token.node]
        limit, left = self._chart.graph.parallel.branch_timeout, None
        if limit is not None and token.forked:
            token.began = host.monotonic() if token.began is None else token.began
            left = max(0.0, limit - (host.monotonic() - token.began))
        scope = Scope(token.segment, self._chart.first_call(node.id, number))
        SCOPE.set(scope)
        NODE.set((node.id, number))
        run_below_node(attempt, node.id, number)
        since = host.monotonic()
        attempt.replay.run_again()
        timer: asyncio.Timeout | None = None
        try:
            if left is None:
                return await self._tries(place, token)
            async with limited(host, left) as timer:
                return await self._tries(place, token)
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

    async def _tries(self, place: Place, token: Token) -> Outcome:
        attempt, node = self._ctx._attempt, place.node
        tried = 0
        while True:
            spent: list[int] = []
            try:
                outcome = await self._try(token, place, spent.append)
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
                about = {"retry": tried, "after": after, "error": line_of(error)}
                self._tell("node_retry", node.id, about)
                await AsyncCalling(attempt.host).pause(after)

    async def _try(self, token: Token, place: Place, spend: Callable[[int], None]) -> Outcome:
        node, host = place.node, self._ctx._attempt.host
        origins = place.origins(self._chart.edges[edge] for edge in token.via if edge in self._chart.edges)
        inputs = await self._inputs(place, origins)
        runner = self._runners.get(node.kind)
        call: Any = None
        if runner is not None or place.undecided:  # a runner keeps what is its own there
            context = NodeContext(self._ctx, node.id)
            call = NodeCall(graph=self._chart.graph, node=node, ctx=context, inputs=inputs, spend=spend)
        if runner is not None:
            value = await within(host, node.timeout, node.id, runner.run(call))
        else:
            value = await call_function(
                self._ctx,
                place,
                inputs,
                place.access(origins),
                lambda: self._tell("node_stalled", node.id, {"seconds": node.timeout}),
            )
        if node.kind == "router":
            return Outcome(picked=routed(node, place.edges, value))
        outputs = place.give(value)
        if not place.undecided:
            return Outcome(outputs=outputs)
        decider = cast("ModelRunner", self._runners["model"])  # a graph is checked before it runs
        picked = await within(host, node.timeout, node.id, decider.decide(call, place.undecided, outputs))
        return Outcome(outputs=outputs, picked=frozenset(picked))

    async def _inputs(self, place: Place, origins: Mapping[str, str]) -> Any:
        values = {}
        for key, origin in origins.items():
            value = await self._memory.read(origin, _MISSING)
            if value is not _MISSING:
                values[key] = value
        return place.take(values)
