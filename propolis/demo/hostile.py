"""What the demo runs beside the audit under `--hostile`: code that nobody should have in their own process.

Read it as an example too. An execution here crashes, hangs, eats memory or leaves without a word, and all that
protects the audit, which runs on threads of the program itself, is the placement on the entry point below.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Literal, NoReturn, TypeAlias

from pydantic import BaseModel, ConfigDict

from propolis.actors import Backoff, EntryPoint, Placement, RestartPolicy, SyncContext

__all__ = ["KINDS", "MAX_RESTARTS", "STREAM_ID", "WORKERS", "Attack", "Kind", "attack", "entry_point", "plan_attacks"]

Kind: TypeAlias = Literal["segfault", "spin", "memory", "exit", "garbage"]

STREAM_ID = "hostile"
WORKERS = 2
MAX_RESTARTS = 1
MEMORY_MB = 256
"""What a worker may allocate, and about a quarter of it is the interpreter with its imports."""
MODULES_PER_ATTACK = 10
MOST = 25
MEGABYTE = 2**20


class Attack(BaseModel):
    """The input of one hostile execution."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    number: int
    """Counted from 1 among those of its kind."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.kind} {self.number}"

    @property
    def key(self) -> str:
        """Its idempotency key: it happens once in a store, however often the demo is killed and run again."""
        return f"attack {self.name}"


def entry_point() -> EntryPoint:
    """How attacks are run: each in a worker process, for a short time, with one restart.

    What is said here holds for code that never calls back: time and memory are watched from outside of it.
    """
    return EntryPoint(
        id=STREAM_ID,
        name="Hostile code",
        max_concurrent=WORKERS,
        max_pending=None,
        # One worker more than can be busy is kept warm, so that a restart finds it ready. Nearly every attempt costs a
        # worker, and on two processors the attacks take a third of the time with forked ones.
        placement=Placement.process(workers=WORKERS, warm=1, memory_mb=MEMORY_MB, start_method="forkserver"),
        restart=RestartPolicy(max_restarts=MAX_RESTARTS, backoff=Backoff(initial=0.1)),
        timeout=2.0,
    )


def attack(ctx: SyncContext, attack: Attack) -> str:
    """Do harm. Only garbage lives to tell."""
    ctx.progress(0.0, attack.kind)
    return KINDS[attack.kind]()


def segfault() -> str:
    """Read at address 0, as a bug in somebody's C extension would: the system ends the process with SIGSEGV."""
    ctypes.string_at(0)
    return "there is something at address 0"


def spin() -> NoReturn:
    """Never come back, and never look whether somebody wants that. The entry point's `timeout` ends it."""
    while True:
        pass


def eat_memory() -> str:
    """Take more than the placement allows, until there is no more. Comes to an end where the system knows no limit."""
    eaten = [bytearray(b"x") * (16 * MEGABYTE) for _ in range(4 * MEMORY_MB // 16)]
    return f"{len(eaten) * 16} MB were there for the taking"


def leave() -> NoReturn:
    """Exit without a word. The exit status says that all is well, and it is not."""
    os._exit(0)


def print_garbage() -> str:
    """Write bytes that are no text to stdout, past Python. They become events, and hit no protocol."""
    for _ in range(100):
        os.write(1, b"\x00\xff\xc1{garbage\x1b[2J\n")
    return "printed"


KINDS: dict[Kind, Callable[[], str]] = {
    "segfault": segfault,
    "spin": spin,
    "memory": eat_memory,
    "exit": leave,
    "garbage": print_garbage,
}


def plan_attacks(modules: int) -> tuple[Attack, ...]:
    """The attacks on an audit of so many modules: one for every ten, of each kind at least one, not over 25 in all."""
    kinds = tuple(KINDS)
    count = min(MOST, max(len(kinds), modules // MODULES_PER_ATTACK))
    return tuple(Attack(kind=kinds[n % len(kinds)], number=n // len(kinds) + 1) for n in range(count))
