"""casty: one durable write on SQLite per message, for a closed loop of 100 callers.

Two measurements. Each caller with a key of its own writes to an actor that is already there: a bare durable write,
the faster one, and the one that we compare with. A new key for every message is nearer to what an execution is: the
key is looked up, its actor started, its state written. On uvloop, as ours is, which makes casty faster too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop
from casty import ActorSystem, Askable, Context, actor
from casty.stores import SQL

from benchmarks.contenders.measure import CALLERS, Measurement, closed_loop, run


@dataclass(frozen=True)
class Write(Askable[int]):
    number: int


@actor(initial=0, durable="write")
async def entity(ctx: Context[int, Write]) -> None:
    async for message in ctx.inbox:
        await ctx.state.set(message.number)
        message.reply_to.tell(message.number)


async def measure(n: int, folder: Path) -> tuple[float, float]:
    async with SQL(f"sqlite://{folder / 'casty.sqlite'}?mode=rwc") as store, ActorSystem(store=store) as system:
        own = [system.ref(entity, f"caller-{who}") for who in range(CALLERS)]
        await closed_loop(2 * CALLERS, lambda i, who: own[who].ask(Write(i)))
        writes = await closed_loop(n, lambda i, who: own[who].ask(Write(i)))
        entities = await closed_loop(n, lambda i, _: system.ref(entity, f"entity-{i}").ask(Write(i)))
    return writes, entities


def main(n: int, folder: Path) -> Iterator[Measurement]:
    writes, entities = uvloop.run(measure(n, folder))
    yield Measurement(name="casty writes", value=writes, unit="/s", n=n, package="casty")
    yield Measurement(name="casty new entities", value=entities, unit="/s", n=n, package="casty")


if __name__ == "__main__":
    run(main)
