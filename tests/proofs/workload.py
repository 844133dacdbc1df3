"""What a process of the proofs does until it is killed: every kind of stream, and a word to its parent of all that.

The parent believes nothing but these words, the files that steps have appended to, and the store.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from propolis import Backoff, EntryPoint, Placement, RestartPolicy, Runtime, RuntimeConfig, Stream
from propolis.actors import Host
from propolis.messages import PropolisError

from ..runtime.support import run_plainly, until

__all__ = ["CONFIG", "Job", "Mouth", "work"]

CONFIG = RuntimeConfig(lease_seconds=6.0, grace_seconds=5.0)
RESTART = RestartPolicy(max_restarts=5, backoff=Backoff(initial=0.0))
STREAMS = {"async": Placement.asyncio(), "thread": Placement.thread(), "process": Placement.process(workers=2, warm=0)}


class Job(NamedTuple):
    """One execution that the parent wants."""

    key: str
    stream: str
    steps: int = 4
    looks: bool = False
    """It goes on behind its last checkpoint; else it runs through from its top."""
    checkpoint: int | None = None
    sleep: int | None = None
    emits: bool = False
    fails: bool = False
    """Its first attempt."""
    joins: str | None = None
    """The session of an execution that was acknowledged before."""
    cancel: bool = False
    counts: bool = False
    """It counts its steps in memory that all executions share."""


class Mouth:
    """Tells the parent, in one write for each word: what it has heard before the kill was said before the kill."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def say(self, *word: Any) -> None:
        """Say it."""
        os.write(self._pipe, json.dumps(word).encode() + b"\n")


def append(file: str, execution_id: str, epoch: int, at: int) -> int:
    """The effect of a step."""
    line = f"{execution_id} {epoch} {at}\n".encode()
    out = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        assert os.write(out, line) == len(line)
    finally:
        os.close(out)
    return at + 1


async def body(ctx: Any, data: Any) -> Any:
    """Take steps, each of which leaves a line; in between whatever the job says."""
    job = Job(**data["job"])
    at = await ctx.memory.read("at", 0) if job.looks and job.joins is None else 0
    while at < job.steps:
        at = await ctx.step("append", partial(append, data["file"], ctx.execution_id, ctx.epoch), at)
        if job.counts:
            await ctx.memory.update("steps", lambda steps: steps + 1, default=0, scope="global")
        if at == job.sleep:
            await ctx.sleep(0.12)
        if at == job.checkpoint:
            await ctx.checkpoint("half", memory={"at": at})
        if at == 1 and job.emits:
            await ctx.emit("order", {"key": job.key})
    if job.fails and ctx.attempt == 1:
        raise OSError("the first attempt")
    return {"key": job.key, "steps": at}


def plain(ctx: Any, data: Any) -> Any:
    """The same, blocking."""
    return run_plainly(body, ctx, data)


async def react(ctx: Any, data: Any) -> Any:
    """Of the timer and the event trigger."""
    return None


def open_streams(runtime: Runtime, triggers: bool, names: Iterable[str]) -> dict[str, Stream]:
    """Open them all, and have what was left taken over."""
    streams = {}
    for name in names:
        width = 50 if name == "async" else 4
        point = EntryPoint(
            id=name,
            max_concurrent=width,
            placement=STREAMS[name],
            restart=RESTART,
            isolation_level="synchronized",
        )
        streams[name] = runtime.open_stream(point, body if name == "async" else plain).get()
    if triggers:
        tick = EntryPoint(id="tick", trigger_type="timer", trigger_config={"delay": 0.05})
        react_to = EntryPoint(id="react", trigger_type="event", trigger_config={"event_types": ["order"]})
        for point in (tick, react_to):
            runtime.open_stream(point, react).get()
    return streams


def work(
    folder: str,
    mouth: Mouth,
    jobs: list[Job],
    *,
    host: Host | None = None,
    names: Iterable[str] = ("async", "thread"),
    triggers: bool = False,
    second: bool = False,
    linger: bool = False,
) -> None:
    """Recover what is there, submit the jobs, say what comes of it; return when all has ended.

    `second`: a second runtime beside the first, which asks for the cancels. `linger`: and stay.
    """
    store = f"sqlite:///{folder}/store.db"
    began = time.monotonic()
    with Runtime(store, config=CONFIG, host=host) as runtime:
        streams = open_streams(runtime, triggers, names)
        mouth.say("opened", time.monotonic() - began)
        other = Runtime(store, config=CONFIG, host=host) if second else None
        try:
            if other is not None:
                other.start().get()
            asked = open_streams(other, False, names) if other is not None else streams
            _submit(folder, mouth, jobs, streams, asked)
            until(lambda: _is_over(runtime, triggers), "the end of all executions")
        finally:
            if other is not None:
                other.stop().get()
        mouth.say("over", time.monotonic() - began)
        if linger:  # a beat of its own has only a runtime that commits nothing else, and streams look for work
            for stream in runtime.streams():
                runtime.close_stream(stream.id).get()
            until(lambda: False, "the end of this process")


def _submit(folder: str, mouth: Mouth, jobs: list[Job], streams: dict[str, Stream], asked: dict[str, Stream]) -> None:
    effects = str(Path(folder) / "effects")
    calls = []
    for job in jobs:
        data = {"file": effects, "job": job._asdict()}
        calls.append((job, streams[job.stream].execute(data, idempotency_key=job.key, session_id=job.joins)))
    ends: list[tuple[str, Any]] = []
    cancels: list[tuple[str, Any]] = []
    for job, call in calls:
        execution_id = call.get()
        mouth.say("ack", job.key, execution_id)
        ends.append((execution_id, streams[job.stream].wait_for_completion(execution_id)))
        if job.cancel:
            cancels.append((execution_id, asked[job.stream].cancel_execution(execution_id, grace=5.0)))
    for execution_id, cancel in cancels:
        mouth.say("cancel", execution_id, cancel.get().outcome)
    for execution_id, end in ends:
        result = end.get()
        mouth.say("end", execution_id, result.status, result.output)


def _is_over(runtime: Runtime, triggers: bool) -> bool:
    counts = _counts(lambda: runtime.executions(limit=100_000).get())
    if any(status not in ("completed", "failed", "cancelled") for _, status in counts):
        return False
    return not triggers or (
        ("tick", "completed") in counts and sum(1 for stream, _ in counts if stream == "react") == _orders(runtime)
    )


def _counts(read: Callable[[], Any]) -> list[tuple[str, str]]:
    try:
        return [(row.stream_id, row.status) for row in read()]
    except PropolisError:
        return [("", "unread")]


def _orders(runtime: Runtime) -> int:
    store = runtime._running().threads.store
    assert store is not None
    from propolis.messages import EventFilter

    return len(store.events_after(0, EventFilter(types=("order",)), 100_000))
