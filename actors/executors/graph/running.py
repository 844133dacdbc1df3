"""One run of a graph in one attempt: tokens go from node to node, and behind every node is a checkpoint.

One task, the driver, changes the position; the visits of nodes are tasks beside it. What has been done is committed
before anything behind it begins, so an attempt that goes on from the last checkpoint repeats no node that is done, and
every one that was under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from propolis.messages import (
    EmitEvents,
    EventDraft,
    InvalidInput,
    NoEdgeTaken,
    Payload,
    PayloadTooLarge,
    encoder,
    line_of,
    name_of,
    text_of,
)

from ...core import ask
from ..context import Context
from ..signals import Parked, Paused
from .chart import Chart, visit_begins
from .choosing import best, open_edges
from .place import Place
from .position import Position, Token
from .runners import NodeRunner
from .spec import EdgeSpec
from .visiting import Outcome, Visits

__all__ = ["Run"]

_encode_emit: Final = encoder(EmitEvents)

TEXT_CHARS: Final = 500
"""Of an error, in an event."""


class Run:
    """Of one attempt. `key`: where in the session's memory the position is kept."""

    def __init__(
        self, chart: Chart, ctx: Context, position: Position, runners: Mapping[str, NodeRunner], key: str
    ) -> None:
        self._chart = chart
        self._ctx = ctx
        self._memory = ctx.memory
        self._attempt = ctx._attempt
        self._position = position
        self._key = key
        self._visits = Visits(chart, ctx, position, runners)
        self._running: dict[asyncio.Task[Outcome], Token] = {}
        self._ended: list[asyncio.Task[Outcome]] = []
        """Visits that have ended since it last looked."""
        self._waiting: asyncio.Future[None] | None = None
        self._stuck: list[Token] = []
        """Tokens of branches that have failed, while the others go on as far as they can."""
        self._borne: list[Exception] = []
        """Failures of branches that the others go on without."""
        self._errors: list[Exception] = []
        """What the run fails with."""
        self._parked: list[Token] = []
        """Tokens whose node waits for what may take long, its stack unwound."""
        self._unwinding: BaseException | None = None
        """What a node raised to end the attempt: a pause of its own, a SystemExit, …"""
        self._pause_at: str | None = None
        """No node is entered any more; when those that are under way are done, the execution pauses here."""
        self._stopping = False
        """No further visit begins."""
        self._events: list[EventDraft] = []

    async def run(self) -> None:
        """To the end, or the next pause. Raises what ends it otherwise."""
        await self._begin()
        try:
            while self._running:
                await self._settle(await self._some_end())
                self._start()
        finally:
            await self._end_what_runs()
            self._attempt.figures = self._position.report()
        self._attempt.told += tuple(self._events)
        if self._errors:
            text = f"branches of graph {self._chart.graph.id!r} failed"
            raise self._errors[0] if len(self._errors) == 1 else ExceptionGroup(text, self._errors)
        if self._unwinding is not None:
            if isinstance(self._unwinding, Paused):
                await self._keep()  # there may have been no checkpoint yet
            raise self._unwinding
        if self._parked:
            self._attempt.waits = tuple(self._visits.waits)
            raise Parked
        if self._position.tokens:
            raise Paused(self._pause_at)  # what was committed last is what it pauses at

    async def _some_end(self) -> list[asyncio.Task[Outcome]]:
        """Wait until a visit has ended: those that have by then."""
        if not self._ended:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        ended, self._ended = self._ended, []
        return ended

    def _has_ended(self, task: asyncio.Task[Outcome]) -> None:
        self._ended.append(task)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _begin(self) -> None:
        position = self._position
        paused = [token for token in position.tokens if token.done]
        if position.execution != self._ctx.execution_id:  # a resume
            position.execution, position.since = self._ctx.execution_id, 0
            for token in paused:
                await self._go_on_behind(token)
        elif paused:  # its process died when that was committed, and the pause was not
            self._pause_at = paused[0].node
        self._enter(self._attempt.replay.segment)
        if self._attempt.begin.announced:
            self._events.clear()  # the visit of the entry node: `GraphExecutor.announce` has said it
        self._emit_noted()
        self._start()

    async def _go_on_behind(self, token: Token) -> None:
        """A pause is over: choose among the edges with the data as it is now."""
        resumes_at = self._chart.resumes_at(token.node)
        if resumes_at is not None:
            self._position.go_to(token, resumes_at)
            return
        outputs = {key: self._attempt.memory.read(key) for key in self._chart.places[token.node].outputs}
        try:
            await self._leave(token, Outcome(outputs=outputs))
        except Exception as error:  # noqa: BLE001 - the way behind it is a part of the branch
            self._branch_failed(token, error)

    # -- visits begin and end ----------------------------------------------------------------------------------------

    def _enter(self, segment: int) -> None:
        """Count the visits that begin behind this checkpoint of the run, and say so with what is committed next."""
        while not self._stopping:
            pausing = self._pause_at is not None
            waiting = (token for token in self._startable() if token.entered or not pausing)
            token = next((token for token in waiting if not token.announced), None)
            if token is None:
                return
            token.announced = True
            try:
                visit = self._position.enter(token, self._chart, segment)
            except Exception as error:  # noqa: BLE001 - there have been enough
                self._branch_failed(token, error)
                continue
            self._events.append(visit_begins(token.node, visit))
            if visit > 1:
                self._note("node_loop_iteration", token.node, {"iteration": visit})

    def _startable(self) -> list[Token]:
        return self._position.startable(self._chart, self._running.values(), (*self._stuck, *self._parked))

    def _start(self) -> None:
        """Begin the visits that have been counted."""
        if not self._stopping:
            for token in self._startable():
                if token.announced:
                    task = asyncio.get_running_loop().create_task(self._visits.visit(token))
                    task.add_done_callback(self._has_ended)
                    self._running[task] = token

    async def _settle(self, done: Iterable[asyncio.Task[Outcome]]) -> None:
        """Take in what has ended, in the order of the path. What succeeded is kept though another one ends the run."""
        ended = [(self._running.pop(task), task) for task in done]
        outcomes = [(token, task.result()) for token, task in ended if not task.cancelled()]
        outcomes.sort(key=lambda pair: pair[0].order)
        settled = [token.node for token, outcome in outcomes if await self._take_in(token, outcome)]
        if settled and not self._is_over():
            await self._checkpoint(settled[-1])

    def _is_over(self) -> bool:
        """Whether what comes next is the end, which commits the memory as a checkpoint does. Of a joined session it is
        its owner's checkpoints that count, so there it is kept in one too.
        """
        return not self._position.tokens and not self._errors and self._ctx.origin != "join"

    async def _take_in(self, token: Token, outcome: Outcome) -> bool:
        """Go on behind a visit that has ended. Whether there is something to commit."""
        error = outcome.error
        if outcome.parked or outcome.refused:
            self._parked += [token] if outcome.parked else []
            return False
        if error is not None and not isinstance(error, Exception):
            self._unwind(token, error)
            return False
        try:
            if error is None:
                error = await self._write(token, outcome)
            if error is not None:
                await self._go_on_failed(token, error)
            elif self._chart.places[token.node].pauses:
                token.done, self._pause_at = True, token.node
            else:
                await self._leave(token, outcome)
        except Exception as problem:  # noqa: BLE001 - of the node, or of the way behind it: the branch has failed
            return self._branch_failed(token, problem)
        return True

    async def _write(self, token: Token, outcome: Outcome) -> Exception | None:
        """Write what the node returned. The error, when that cannot be kept: the node has failed."""
        written = self._position.written(token, outcome.outputs, self._chart)
        try:
            await self._memory.write_batch(written)
        except (InvalidInput, PayloadTooLarge) as error:
            return error
        self._events += map(self._chart.places[token.node].key_set.__getitem__, written)
        self._note("node_loop_completed", token.node, {**self._visited(token), "success": True})
        return None

    async def _leave(self, token: Token, outcome: Outcome) -> None:
        """The node has succeeded: end there, or go on over the edges that are open. Raises NoEdgeTaken."""
        place = self._chart.places[token.node]
        if place.is_end:
            self._position.end(token)
            return
        names = await self._names(place, outcome.outputs, None)
        taken = best(place.node, open_edges(place.edges, names, success=True), outcome.picked)
        if not taken:
            raise NoEdgeTaken(node_id=token.node)
        self._traverse(token, taken)

    async def _go_on_failed(self, token: Token, error: Exception) -> None:
        """Go on over the edges for failures. Raises the error when there is none."""
        about = {"node": token.node, "kind": name_of(type(error)), "message": text_of(error, TEXT_CHARS)}
        place = self._chart.places[token.node]
        names = await self._names(place, {}, about)
        taken = best(place.node, open_edges(place.edges, names, success=False), None)
        if not taken:
            raise error
        await self._memory.write("error", about)
        self._note_failure(token, error)
        self._traverse(token, taken)

    def _traverse(self, token: Token, edges: list[EdgeSpec]) -> None:
        self._events += (self._chart.traversed[edge.id] for edge in edges)
        self._position.leave(token, edges, self._attempt.host.monotonic())

    async def _names(self, place: Place, outputs: Mapping[str, Any], error: dict[str, str] | None) -> dict[str, Any]:
        """The values that the expressions of the edges behind a node may ask for. What is not there is None."""
        if not place.names:
            return {}
        names: dict[str, Any] = {"output": dict(outputs), "visits": dict(self._position.visits), "error": error}
        for name in place.names - set(names):
            names[name] = await self._memory.read(name)
        return names

    # -- branches that fail ------------------------------------------------------------------------------------------

    def _branch_failed(self, token: Token, error: Exception) -> bool:
        """What becomes of the others is the graph's policy. Whether there is something to commit."""
        policy, position = self._chart.graph.parallel.on_failure, self._position
        error.add_note(f"in node {token.node!r} of graph {self._chart.graph.id!r}")
        self._note_failure(token, error)
        if policy == "continue_others" and (len(position.tokens) > 1 or position.ends):
            position.drop(token, self._chart)
            self._borne.append(error)
            return True
        self._errors += [*self._borne, error]
        self._stuck.append(token)
        if policy != "wait_all":
            self._stopping = True
            self._interrupt()
        return False

    def _note_failure(self, token: Token, error: Exception) -> None:
        self._position.failed(token.node)
        ended = {**self._visited(token), "success": False, "error": line_of(error, TEXT_CHARS)}
        self._note("node_loop_completed", token.node, ended)

    def _visited(self, token: Token) -> dict[str, int]:
        took = {} if token.took_ms is None else {"ms": token.took_ms, "attempt": self._attempt.begin.attempt}
        return {"visit": self._position.visits.get(token.node, 0), **took}

    def _unwind(self, token: Token, error: BaseException) -> None:
        """The node ends the attempt. Before it pauses, the other branches get to where they can be kept."""
        self._stopping = True
        if not isinstance(error, Paused):
            self._interrupt()
        self._unwinding = self._unwinding or error

    def _interrupt(self) -> None:
        for task in self._running:
            task.cancel()

    async def _end_what_runs(self) -> None:
        """Whatever ends the run, nothing of it is left."""
        self._interrupt()
        cancelled: asyncio.CancelledError | None = None
        while any(not task.done() for task in self._running):
            try:
                await asyncio.wait(self._running)
            except asyncio.CancelledError as error:  # once more: that makes a function on a thread no quicker
                cancelled = error
        if cancelled is not None:
            raise cancelled

    # -- checkpoints and events --------------------------------------------------------------------------------------

    async def _checkpoint(self, node: str) -> None:
        """Commit what is done, with the news of it and of what begins next."""
        self._enter(self._attempt.replay.segment + 1)
        await self._keep()
        self._attempt.figures = self._position.report()
        self._visits.gather_waits()
        events, self._events = tuple(self._events), []
        saved = await self._attempt.ask_checkpoint(node, None, events)
        if saved.pause_requested:
            self._stopping, self._pause_at = True, self._pause_at or node  # also what has just been entered waits

    async def _keep(self) -> None:
        """Into the memory of the session, for the next checkpoint or the pause."""
        await self._memory.write_batch({self._key: self._position.to_data()})

    def _note(self, type: str, node: str, data: Mapping[str, Any]) -> None:
        """An event for the next commit."""
        self._events.append((type, node, Payload.of(dict(data)).data))

    def _emit_noted(self) -> None:
        noted, self._events = self._events, []
        if noted:
            events = tuple(self._attempt.event(type, Payload(data or b""), node) for type, node, data in noted)
            ask(self._attempt.ref, _encode_emit(epoch=self._attempt.begin.epoch, events=events), timeout=None)
