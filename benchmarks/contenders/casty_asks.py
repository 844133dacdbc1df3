"""casty: `ask` round trips to one local actor, 100 outstanding; on uvloop, as ours is, which makes casty faster too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop
from casty import ActorSystem, Askable, Context, actor

from benchmarks.contenders.measure import CALLERS, Measurement, closed_loop, run


@dataclass(frozen=True)
class Ping(Askable[int]):
    number: int
    note: str


@actor(initial=0)
async def ponger(ctx: Context[int, Ping]) -> None:
    async for message in ctx.inbox:
        message.reply_to.tell(message.number)


async def measure(n: int) -> float:
    async with ActorSystem() as system:
        target = system.ref(ponger, "ponger")
        await closed_loop(10 * CALLERS, lambda i, _: target.ask(Ping(i, "hello")))
        return await closed_loop(n, lambda i, _: target.ask(Ping(i, "hello")))


def main(n: int, _folder: Path) -> Iterator[Measurement]:
    yield Measurement(name="casty asks", value=uvloop.run(measure(n)), unit="/s", n=n, package="casty")


if __name__ == "__main__":
    run(main)
