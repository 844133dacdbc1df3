"""Recorded steps and a durable sleep: killed in the middle, the next process repeats nothing that was recorded.

Run it: it starts itself a second time as a victim, which dies behind its charge, and then goes on from the file.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from propolis import Context, EntryPoint, Runtime


def reserve(item: str) -> dict[str, str]:
    print(f"  reserve {item}", flush=True)
    return {"item": item, "shelf": "B7"}


async def charge(account: str, cents: int, key: str) -> str:
    print(f"  charge {account} {cents}", flush=True)
    return f"receipt {key.rpartition(':')[0].rpartition(':')[2]}"


def pack(shelf: str) -> str:
    print(f"  pack from {shelf}", flush=True)
    return "parcel 1"


async def order(ctx: Context, item: str) -> list[str]:
    print(f"attempt {ctx.attempt}", flush=True)
    place = await ctx.step("reserve", reserve, item)
    # A key of our own making, so that the bank takes it once, whatever becomes of us before it is recorded.
    receipt = await ctx.step("charge", charge, "ada", 1999, f"{ctx.execution_id}:charge:0", retries=3)
    if "victim" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    await ctx.sleep(0.5)  # could be a month: it waits in the store, and takes no slot
    return [receipt, await ctx.step("pack", pack, place["shelf"])]


async def main(store: str) -> None:
    async with Runtime(store) as runtime:
        stream = await runtime.open_stream(EntryPoint(id="orders"), order)
        execution_id = await stream.execute("a lamp", idempotency_key="order-17")
        result = await stream.wait_for_completion(execution_id, timeout=30)
    assert result is not None
    print(f"{result.status}: {result.output}")


if __name__ == "__main__":
    if "victim" in sys.argv:
        asyncio.run(main(sys.argv[1]))
    else:
        with TemporaryDirectory() as folder:
            store = f"sqlite:///{Path(folder) / 'orders.db'}"
            subprocess.run([sys.executable, __file__, store, "victim"], check=False)  # noqa: S603 - this file
            print("killed")
            asyncio.run(main(store))
