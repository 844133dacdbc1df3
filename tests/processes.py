"""What tests that start processes of their own share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from propolis import EntryPoint, Runtime

__all__ = ["ROOT", "compile_once", "in_forks", "is_gone", "marked", "ready_to_fork", "unmeasured"]

ROOT = Path(__file__).resolve().parents[1]


def unmeasured() -> dict[str, str]:
    """The environment of a process that coverage leaves alone, where the tests themselves run under it.

    Measuring makes a process take twice as long, and one that is killed has no time to write down what was measured.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def is_gone(pid: int) -> bool:
    """Whether no process of that number runs; a zombie that its new parent has yet to bury does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def marked(mark: str) -> set[int]:
    """Every process whose environment, when it began or when its ancestor that was no fork did, had this in it."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if mark.encode() in (folder / "environ").read_bytes() and not is_gone(int(folder.name)):
                    found.add(int(folder.name))
            except OSError:
                continue
    return found


class CompiledOnce(dict[Any, Any]):
    """What SQLAlchemy has compiled, by statement and class of dialect.

    Its own keys begin with the dialect of an engine, so every store would compile anew what all stores ask for: of the
    time of a test with a runtime, a sixth.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        """What SQLAlchemy reads with."""
        dialect, *statement = key
        return super().get((type(dialect), *statement), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        dialect, *statement = key
        super().__setitem__((type(dialect), *statement), compiled)


def compile_once() -> None:
    """From now on, whatever store of this process asks for it."""
    compiled = CompiledOnce()

    @event.listens_for(Engine, "engine_connect")
    def share(connection: Connection) -> None:
        connection.execution_options(compiled_cache=compiled)


def ready_to_fork() -> None:
    """Do what each fork of this process would else do anew: the imports of a store, and compiling its statements.

    There is no thread afterwards.
    """

    async def body(ctx: Any, data: Any) -> None:
        await ctx.step("once", dict)
        await ctx.checkpoint("half", {})

    compile_once()
    with Runtime() as runtime:
        runtime.open_stream(EntryPoint(id="ready"), body).get().run().get()


def in_forks(role: Callable[[int], None], most: int) -> list[int]:
    """Have forks of this process, one after the other, do this until one comes to its end: how each of them ended.

    Each gets its number. Forks of a process without a thread: what takes most of the time of a new one, its imports,
    they have.
    """
    ready_to_fork()
    ends: list[int] = []
    while len(ends) < most and 0 not in ends:
        child = os.fork()
        if child == 0:
            role(len(ends))
            sys.stdout.flush()
            os._exit(0)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return ends
