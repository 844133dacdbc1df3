"""A program that tests run in a process of its own: `python -m tests.runtime.program ROLE STORE [ARGUMENT]`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from propolis import EntryPoint, Placement, RestartPolicy, Runtime, RuntimeConfig
from propolis.messages import StaleWriter

from ..processes import in_forks


def die(store: str, placement: str) -> None:
    """Run ten executions, the odd ones behind a checkpoint, five of which never end; then SIGKILL this process."""
    arrived = threading.Semaphore(0)

    def body(ctx: Any, n: int) -> int:
        if n < 5:
            return n
        if n % 2:
            ctx.checkpoint("half", memory={"half": n})
        arrived.release()
        threading.Event().wait()
        return n

    async def async_body(ctx: Any, n: int) -> int:
        import asyncio

        if n < 5:
            return n
        if n % 2:
            await ctx.checkpoint("half", memory={"half": n})
        arrived.release()
        await asyncio.Event().wait()
        return n

    runtime = Runtime(store)
    runtime.start().get()
    entry_point = EntryPoint(id="work", max_concurrent=5, placement=getattr(Placement, placement)())
    stream = runtime.open_stream(entry_point, async_body if placement == "asyncio" else body).get()
    ids = [stream.execute(n).get() for n in range(12)]
    for _ in range(5):
        arrived.acquire()
    sys.stdout.write(json.dumps(ids))
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def suicides(store: str, times: str) -> None:
    """Have so many processes do `suicide`."""
    sys.stdout.write(json.dumps(in_forks(lambda _: suicide(store), int(times))))


def suicide(store: str) -> None:
    """Take up what is there with an executor that kills its process."""

    def body(ctx: Any, data: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with Runtime(store) as runtime:
        stream = runtime.open_stream(EntryPoint(id="work", restart=RestartPolicy(max_restarts=0)), body).get()
        if not stream.active_execution_ids and not runtime.executions().get():
            stream.execute().get()
        for id in stream.active_execution_ids:
            stream.wait_for_completion(id).get()


def submit(store: str, name: str) -> None:
    """Submit 1,000 keys that another process submits too; write down what each call gave, and what ran."""
    ran: list[int] = []

    async def body(ctx: Any, n: int) -> int:
        ran.append(n)
        return n * 2

    with Runtime(store) as runtime:
        stream = runtime.open_stream(EntryPoint(id="work", max_concurrent=50), body).get(timeout=60)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        order = list(range(1_000)) if name == "one" else list(range(999, -1, -1))
        calls = [(n, stream.execute(n, idempotency_key=f"k{n}")) for n in order]
        ids = {n: call.get(timeout=60) for n, call in calls}
        waits = [(n, stream.wait_for_completion(id)) for n, id in ids.items()]
        outputs = {n: wait.get(timeout=60).output for n, wait in waits}  # type: ignore[union-attr]
    told = json.dumps({"ids": ids, "outputs": outputs, "ran": ran})
    Path(f"{store.removeprefix('sqlite:///')}.{name}").write_text(told)


def deaf(store: str, _: str) -> None:
    """Run an execution that does not end; print its id, and a word when somebody wants it cancelled."""
    looked = threading.Event()

    def body(ctx: Any, data: Any) -> None:
        looked.set()
        while not ctx.cancelled:
            threading.Event().wait(0.01)
        sys.stdout.write("heard\n")
        sys.stdout.flush()
        threading.Event().wait()

    runtime = Runtime(store)
    runtime.start().get()
    stream = runtime.open_stream(EntryPoint(id="work", placement=Placement.thread()), body).get()
    execution_id = stream.execute().get()
    looked.wait()
    sys.stdout.write(f"{execution_id}\n")
    sys.stdout.flush()
    threading.Event().wait()


def zombie(store: str, _: str) -> None:
    """Run an execution until this process has been stopped and let go on, then say what its late writes met."""
    arrived = threading.Event()
    told = threading.Lock()

    def say(text: str) -> None:
        with told:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    async def body(ctx: Any, data: str) -> str:
        import asyncio

        if data == "again":
            return data
        arrived.set()
        clock = asyncio.get_running_loop().time
        last = clock()
        while (now := clock()) - last < 0.9:  # until this process was stopped for longer than its lease
            last = now
            with contextlib.suppress(asyncio.CancelledError):  # a stubborn one
                await asyncio.sleep(0.02)
        while True:
            try:
                await ctx.memory.write("by", "zombie")
                await ctx.checkpoint("late")
                say(f"attempt {ctx.attempt}: not refused")
            except asyncio.CancelledError:
                continue
            except StaleWriter:
                say(f"attempt {ctx.attempt}: StaleWriter")
                raise

    with Runtime(store, config=RuntimeConfig(lease_seconds=1.0)) as runtime:
        stream = runtime.open_stream(EntryPoint(id="work"), body).get()
        execution_id = stream.execute("x").get()
        arrived.wait()
        say(execution_id)
        result = stream.wait_for_completion(execution_id).get()
        say(f"heir's result: {result.output}")  # type: ignore[union-attr]
        say(f"goes on: {stream.run('again').get().output}")


def steps(store: str, how: str) -> None:
    """Take ten steps, each of which writes a line, and be killed inside the fourth and the seventh one.

    In one fork after the other, until one is through and tells the result; and then how all of them ended.
    """
    sys.stdout.write(json.dumps(in_forks(lambda _: take_steps(store, how), 4)))


def take_steps(store: str, how: str) -> None:
    """One of these processes."""
    kind, _, name = how.partition(",")

    def write(n: int) -> int:
        with Path(name).open("a") as file:
            file.write(f"line-{n}\n")
        if n in (3, 6) and Path(name).read_text().count(f"line-{n}") == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return n + 1

    def body(ctx: Any, data: Any) -> int:
        at = 0
        while at < 10:
            at = ctx.step("write", write, at)
        return at

    async def async_body(ctx: Any, data: Any) -> int:
        at = 0
        while at < 10:
            at = await ctx.step("write", write, at)
        return at

    with Runtime(store) as runtime:
        entry_point = EntryPoint(id="work", placement=getattr(Placement, kind)())
        stream = runtime.open_stream(entry_point, async_body if kind == "asyncio" else body).get(timeout=60)
        known = stream.active_execution_ids or (stream.execute().get(timeout=60),)
        result = stream.wait_for_completion(known[0]).get(timeout=60)
        assert result is not None
        sys.stdout.write(json.dumps({"status": result.status, "output": result.output}) + "\n")


def sleepers(store: str, count: str) -> None:
    """Have so many executions fall asleep for an hour, then kill this process."""

    async def body(ctx: Any, n: int) -> None:
        await ctx.sleep(3_600.0)

    runtime = Runtime(store)
    runtime.start().get()
    stream = runtime.open_stream(EntryPoint(id="work"), body).get(timeout=60)
    ids = [stream.execute(n).get(timeout=60) for n in range(int(count))]
    for id in ids:
        for event in runtime.events(0, execution=id):
            if event.type == "execution_parked":
                break
    sys.stdout.write(json.dumps(ids))
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def cramped(store: str, _: str) -> None:
    """Go on accepting while no file may grow any more; lift that, and tell what became of it all."""
    import resource

    heard = threading.Semaphore(0)

    async def body(ctx: Any, n: int) -> int:
        return n

    config = RuntimeConfig(lease_seconds=1.5)
    with Runtime(store, config=config) as runtime:
        runtime.subscribe(("store_unavailable",), lambda _: heard.release()).get(timeout=60)
        stream = runtime.open_stream(EntryPoint(id="work"), body).get(timeout=60)
        stream.run(0).get(timeout=60)
        log = Path(store.removeprefix("sqlite:///") + "-wal").stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log + 32_768, limits[1]))
        calls = [stream.execute(n) for n in range(1_000)]
        unavailable = heard.acquire(timeout=60)
        done = sum(call.done() for call in calls)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        ids = [call.get(timeout=60) for call in calls]
        results = [stream.wait_for_completion(id).get(timeout=60) for id in ids]
        completed = sum(result is not None and result.output == n for n, result in enumerate(results))
    told = {"unavailable": int(unavailable), "done before it was lifted": done, "accepted": len(ids)}
    sys.stdout.write(json.dumps({**told, "completed": completed}))


def crowd(store: str, how: str) -> None:
    """Make so many commits, in company; tell what was accepted, what ran here, and what trouble there was."""
    name, _, commits = how.partition(",")
    ran: list[str] = []
    trouble: list[str] = []

    async def body(ctx: Any, n: int) -> int:
        ran.append(ctx.execution_id)
        return n

    with Runtime(store) as runtime:
        types = ("store_unavailable", "runtime_rejoined", "dead_letter")
        runtime.subscribe(types, lambda event: trouble.append(event.type)).get(timeout=60)
        stream = runtime.open_stream(EntryPoint(id="work", max_concurrent=4), body).get(timeout=60)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        accepted: list[str] = []
        while runtime.stats().get(timeout=60).commits < int(commits):
            results = [stream.run(n).get(timeout=600) for _ in range(5) for n in range(4)]
            accepted += [result.execution_id for result in results]
        made = runtime.stats().get(timeout=60).commits
    told = json.dumps({"accepted": accepted, "ran": ran, "commits": made, "trouble": trouble})
    Path(f"{store.removeprefix('sqlite:///')}.{name}").write_text(told)


if __name__ == "__main__":
    roles = {
        "crowd": crowd,
        "cramped": cramped,
        "deaf": deaf,
        "die": die,
        "sleepers": sleepers,
        "steps": steps,
        "submit": submit,
        "suicides": suicides,
        "zombie": zombie,
    }
    roles[sys.argv[1]](sys.argv[2], sys.argv[3])
