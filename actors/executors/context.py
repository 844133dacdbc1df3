"""`Context` and `SyncContext`: what an executor gets. The same calls, awaited or plain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from propolis.messages import ExecutionReport, Origin

from ..core import Reply
from ..specs import Backoff
from . import steps, waits
from .access import Access, permitted
from .attempt import Attempt
from .calling import AsyncCalling, PlainCalling
from .deciding import Deciding, SyncDeciding
from .remembering import Memory, Scope, SyncMemory, check_cancelled
from .steps import OnDoubt, run_plainly, step_key

__all__ = ["Context", "Memory", "Scope", "SyncContext", "SyncMemory"]

R = TypeVar("R")
_BACKOFF: Final = Backoff()


class _Shared:
    """What both kinds of context only read."""

    __slots__ = ("_access", "_attempt")

    def __init__(self, attempt: Attempt, access: Access | None = None) -> None:
        self._attempt = attempt
        self._access = access

    @property
    def execution_id(self) -> str:
        """Of this execution; the same through restarts and recoveries."""
        return self._attempt.begin.spec.execution_id

    @property
    def session_id(self) -> str:
        """Of the session it works on."""
        return self._attempt.begin.spec.session_id

    @property
    def correlation_id(self) -> str:
        """What the caller named, or the execution's id."""
        return self._attempt.begin.spec.correlation_id

    @property
    def stream_id(self) -> str:
        """Of the stream that runs it."""
        return self._attempt.begin.spec.stream_id

    @property
    def attempt(self) -> int:
        """Which run of the executor this is, counted from 1."""
        return self._attempt.begin.attempt

    @property
    def epoch(self) -> int:
        """Grows with every attempt and takeover: a fencing token for outside systems."""
        return self._attempt.begin.epoch

    @property
    def input(self) -> Any:
        """The input, as the executor declared it."""
        return self._attempt.input

    @property
    def session_state(self) -> dict[str, Any]:
        """A fresh copy of the whole memory, of scope "execution"."""
        self._attempt.replay.look()
        memory = self._attempt.memory.read_all()
        return memory if self._access is None else self._access.visible(memory)

    @property
    def deadline(self) -> datetime | None:
        """When the execution must have ended (aware)."""
        return self._attempt.begin.spec.deadline

    @property
    def resumed_from(self) -> str | None:
        """The node of the checkpoint that this attempt starts from, if it has one."""
        self._attempt.replay.look()
        return self._attempt.begin.resume_from

    @property
    def origin(self) -> Origin:
        """Whether it opened its session, joined it, resumes it, or branches off from a checkpoint of it."""
        return self._attempt.begin.spec.origin

    @property
    def entry_node(self) -> str | None:
        """The node of a graph that this execution is to start at (`EntryPoint.entry_node`)."""
        return self._attempt.entry_point.entry_node

    @property
    def step_key(self) -> str | None:
        """Of the step whose function runs here: the same however often that is run again. For an outside system that
        can deduplicate. None outside of a step's function.
        """
        return step_key(self._attempt)

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants it to end. Look at it in long loops of blocking code."""
        return self._attempt.cancelled or self._attempt.superseded

    @property
    def pause_requested(self) -> bool:
        """Whether somebody wants it to pause; the next `checkpoint()` does."""
        return self._attempt.pause_requested

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry the execution's ids."""
        return self._attempt.logger()


class Context(_Shared, Deciding):
    """What an `async def` executor gets; every call that does something is awaited.

    Used on the event loop that the executor runs on. Once the attempt has been superseded (a takeover, a timeout, the
    end) every call raises `StaleWriter`.
    """

    __slots__ = ()

    @property
    def memory(self) -> Memory:
        """The session's memory, and what is shared with other executions."""
        return Memory(self._attempt, access=self._access)

    async def checkpoint(self, node: str | None = None, memory: Mapping[str, Any] | None = None) -> str:
        """Commit the memory, with `memory` on top, as the point to start from again. Returns the checkpoint's id.

        Pauses here when a pause was asked for: the executor does not get to the next line.

        Raises:
            StaleWriter: another attempt or owner has taken over.
        """
        saved = await self._attempt.ask_checkpoint(node, permitted(memory, self._access))
        return self._attempt.after_checkpoint(saved)

    async def emit(self, type: str, data: Mapping[str, Any] | None = None, *, node_id: str | None = None) -> None:
        """Publish an event; committed before this returns, except for the live-only types."""
        await self._attempt.ask_emit(type, data, node_id)

    async def progress(self, fraction: float, note: str = "") -> None:
        """Say how far it is, from 0 to 1. Published live, kept with the next commit."""
        self._attempt.tell_progress(fraction, note)

    async def heartbeat(self) -> None:
        """A sign of life, for `idle_timeout`."""
        self._attempt.tell_progress(None, "")

    async def report(self, report: ExecutionReport) -> None:
        """Say what the result is to say of the way: path, retries, tokens. In place of what was said before; it goes
        with the next checkpoint and with the attempt's end, however that is.
        """
        self._attempt.take_report(report)

    async def pause(self, node: str | None = None) -> None:
        """A checkpoint, then the end of this execution as paused; `stream.resume()` goes on from here."""
        self._attempt.pause(node)

    async def step(
        self,
        name: str,
        fn: Callable[..., Any],
        *args: Any,
        on_doubt: OnDoubt = "rerun",
        retries: int = 0,
        backoff: Backoff = _BACKOFF,
        timeout: float | None = None,
    ) -> Any:
        """Call `fn(*args)` once in the life of the run, and commit what it gave before the next line runs (D4).

        When the executor is run again, the call returns what was recorded, or raises it. Steps are known by the
        checkpoints behind them, their name, and which call of that name it is; several may run side by side. An
        `async def` runs on this event loop, a `def` on a thread of its own; of one that gives a reply, as `stream.run`
        does, the answer is waited for. What it gives comes back as plain data.

        `retries`: how often to call it again when it raises what the entry point's `retry_on` names, after `backoff`.
        `timeout`: seconds for each call; a `def` that takes longer is left behind on its thread. `on_doubt`: of a step
        that was begun, and whose end a death of the process left unknown: "rerun" calls it again, "fail" raises
        StepInDoubt, a function gets the arguments and returns `Done(value)`, or anything else to have it called again.
        With the last two, that the step begins is committed before it does.

        An exception that the executor catches is recorded like a value. One that ends the attempt is forgotten with
        it: the restart calls the function again.

        Raises:
            ReplayMismatch: it is recorded with other arguments.
            StepInDoubt: see `on_doubt`.
            InvalidInput: a bad argument, or a value that cannot be encoded.
            StaleWriter: another attempt or owner has taken over.
        """
        calling = AsyncCalling(self._attempt.host)
        options: Any = {"on_doubt": on_doubt, "retries": retries, "backoff": backoff, "timeout": timeout}
        return await steps.step(self._attempt, calling, name, fn, args, **options)

    async def sleep(self, seconds: float) -> None:
        """Wait for so long, also beyond the end of this process. Slot and worker are given back meanwhile.

        Once begun it is over at that time, however often the executor is run again.
        """
        await steps.sleep(self._attempt, AsyncCalling(self._attempt.host), seconds)

    async def receive(self, topic: str, *, timeout: float | None = None) -> Any:
        """The next signal that is sent to this execution under a topic (`stream.send`), parked until there is one.

        In the order in which they were sent, each once, also those that came while nobody waited, or no process was
        there. A call that is cancelled, as by `asyncio.wait_for`, takes none from then on; what it has just taken is
        gone with it, which a `timeout` avoids.

        Raises:
            TimeoutError: none came within `timeout` seconds.
        """
        return await waits.receive(self._attempt, AsyncCalling(self._attempt.host), topic, timeout)

    async def call(self, stream_id: str, input: Any = None) -> Any:
        """Run an execution on a stream and return its output, parked meanwhile.

        It is started once, however often this executor is run again, has a session of its own, this one's correlation
        id and deadline, and is cancelled with it.

        Raises:
            ChildFailed: it did not complete.
            StreamNotFound: no stream of that id is open in this runtime.
            InvalidInput, StreamSaturated, StreamTripped: it was not accepted.
        """
        calling = AsyncCalling(self._attempt.host)
        return await waits.call(self._attempt, calling, stream_id, input, wait_for_it=True)

    async def start(self, stream_id: str, input: Any = None) -> str:
        """As `call`, but go on as soon as it is accepted: its execution id. It goes on by itself."""
        calling = AsyncCalling(self._attempt.host)
        started: str = await waits.call(self._attempt, calling, stream_id, input, wait_for_it=False)
        return started

    async def ask_human(
        self,
        prompt: str,
        *,
        node_id: str | None = None,
        schema: Mapping[str, Any] | type[BaseModel] | None = None,
        deadline: datetime | None = None,
        default: Any = waits.NO_DEFAULT,
    ) -> Any:
        """The answer of a person, parked until there is one: no slot, no thread, and no process is needed meanwhile.

        `stream.open_questions()` and `propolis questions` show it, `stream.answer()` and `propolis answer` answer it.
        `schema`: a JSON schema, or a pydantic model, that an answer must satisfy. At the `deadline` (aware) the
        `default` counts as the answer.

        Raises:
            QuestionExpired: the deadline has come, and there is no default.
            InvalidInput: a bad argument, or a default that its own schema refuses.
        """
        options: Any = {"node_id": node_id, "schema": schema, "deadline": deadline, "default": default}
        return await waits.ask_human(self._attempt, AsyncCalling(self._attempt.host), prompt, **options)


class SyncContext(_Shared, SyncDeciding):
    """What a `def` executor gets: the calls of `Context`, plain. Used on the thread that the executor runs on.

    Once it is cancelled, every call raises `Cancelled`, which unwinds the executor; let it pass.
    """

    __slots__ = ()

    @property
    def memory(self) -> SyncMemory:
        """As `Context.memory`."""
        return SyncMemory(self._attempt, self._access)

    def checkpoint(self, node: str | None = None, memory: Mapping[str, Any] | None = None) -> str:
        """As `Context.checkpoint`; blocks until it is committed."""
        self._look()
        saved = _wait(self._attempt.ask_checkpoint(node, permitted(memory, self._access)))
        return self._attempt.after_checkpoint(saved)

    def emit(self, type: str, data: Mapping[str, Any] | None = None, *, node_id: str | None = None) -> None:
        """As `Context.emit`; blocks until it is committed."""
        self._look()
        _wait(self._attempt.ask_emit(type, data, node_id))

    def progress(self, fraction: float, note: str = "") -> None:
        """As `Context.progress`."""
        self._look()
        self._attempt.tell_progress(fraction, note)

    def heartbeat(self) -> None:
        """As `Context.heartbeat`."""
        self._look()
        self._attempt.tell_progress(None, "")

    def report(self, report: ExecutionReport) -> None:
        """As `Context.report`."""
        self._look()
        self._attempt.take_report(report)

    def pause(self, node: str | None = None) -> None:
        """As `Context.pause`."""
        self._look()
        self._attempt.pause(node)

    def step(
        self,
        name: str,
        fn: Callable[..., Any],
        *args: Any,
        on_doubt: OnDoubt = "rerun",
        retries: int = 0,
        backoff: Backoff = _BACKOFF,
        timeout: float | None = None,
    ) -> Any:
        """As `Context.step`; the function runs on this thread, with a `timeout` on one of its own."""
        self._look()
        calling = PlainCalling(self._attempt.host)
        options: Any = {"on_doubt": on_doubt, "retries": retries, "backoff": backoff, "timeout": timeout}
        return run_plainly(steps.step(self._attempt, calling, name, fn, args, **options))

    def sleep(self, seconds: float) -> None:
        """As `Context.sleep`: unwinds the executor, which is run again when the time is over."""
        self._look()
        run_plainly(steps.sleep(self._attempt, PlainCalling(self._attempt.host), seconds))

    def receive(self, topic: str, *, timeout: float | None = None) -> Any:
        """As `Context.receive`; unwinds the executor while it waits."""
        self._look()
        return run_plainly(waits.receive(self._attempt, PlainCalling(self._attempt.host), topic, timeout))

    def call(self, stream_id: str, input: Any = None) -> Any:
        """As `Context.call`; unwinds the executor while it waits."""
        self._look()
        calling = PlainCalling(self._attempt.host)
        return run_plainly(waits.call(self._attempt, calling, stream_id, input, wait_for_it=True))

    def start(self, stream_id: str, input: Any = None) -> str:
        """As `Context.start`; unwinds the executor until it is accepted."""
        self._look()
        calling = PlainCalling(self._attempt.host)
        started: str = run_plainly(waits.call(self._attempt, calling, stream_id, input, wait_for_it=False))
        return started

    def ask_human(
        self,
        prompt: str,
        *,
        node_id: str | None = None,
        schema: Mapping[str, Any] | type[BaseModel] | None = None,
        deadline: datetime | None = None,
        default: Any = waits.NO_DEFAULT,
    ) -> Any:
        """As `Context.ask_human`; unwinds the executor while it waits."""
        self._look()
        options: Any = {"node_id": node_id, "schema": schema, "deadline": deadline, "default": default}
        return run_plainly(waits.ask_human(self._attempt, PlainCalling(self._attempt.host), prompt, **options))

    def _look(self) -> None:
        check_cancelled(self._attempt)


def _wait(reply: Reply[R]) -> R:
    return reply.get()
