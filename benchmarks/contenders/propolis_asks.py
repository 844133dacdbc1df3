"""Propolis: `ask` round trips from one AsyncioActor to another, 100 outstanding, request and reply both encoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pykka

from benchmarks.contenders.measure import CALLERS, Measurement, closed_loop, run
from propolis.actors import AsyncioActor, ask
from propolis.messages import Message, Request


class Pong(Message, tag="bench.pong.v1"):
    number: int


class Ping(Request[Pong], tag="bench.ask.v1"):
    number: int
    note: str


class Measure(Request[float], tag="bench.measure.v1"):
    n: int


class Ponger(AsyncioActor):
    def on_ping(self, message: Ping) -> Pong:
        return Pong(number=message.number)

    handlers = {Ping: on_ping}  # noqa: RUF012 - a table, declared ClassVar by the base


class Pinger(AsyncioActor):
    def __init__(self, target: pykka.ActorRef[Any]) -> None:
        super().__init__()
        self.target = target

    async def on_measure(self, message: Measure) -> float:
        return await closed_loop(message.n, lambda i, _: ask(self.target, Ping(number=i, note="hello")))

    handlers = {Measure: on_measure}  # noqa: RUF012 - as above


def main(n: int, _folder: Path) -> Iterator[Measurement]:
    pinger = Pinger.start(Ponger.start())
    ask(pinger, Measure(n=10 * CALLERS)).get()
    rate = ask(pinger, Measure(n=n), timeout=None).get()
    yield Measurement(name="Propolis asks", value=rate, unit="/s", n=n, package="propolis")


if __name__ == "__main__":
    run(main)
