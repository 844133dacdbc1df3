"""Propolis: `ask` round trips from one AsyncioActor to another, 100 outstanding, request and reply both encoded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pykka

from benchmarks.contenders.measure import CALLERS, Measurement, run
from propolis.actors import LATER, AsyncioActor, ask
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
    """Keeps CALLERS requests under way, each answered by a turn of its own: how an actor here asks another."""

    def __init__(self, target: pykka.ActorRef[Any]) -> None:
        super().__init__()
        self.target = target
        self.asked = self.answered = self.n = 0
        self.reply: Any = None

    def on_measure(self, message: Measure) -> object:
        self.asked = self.answered = 0
        self.n, self.reply, self.began = message.n, self.keep_reply(), time.perf_counter()
        for _ in range(min(CALLERS, message.n)):
            self.ask_next()
        return LATER

    def ask_next(self) -> None:
        self.asked += 1
        self.request(self.target, Ping(number=self.asked, note="hello"), self.on_pong)

    def on_pong(self, _pong: Pong) -> None:
        self.answered += 1
        if self.asked < self.n:
            self.ask_next()
        elif self.answered == self.n:
            self.reply.set(self.n / (time.perf_counter() - self.began))

    handlers = {Measure: on_measure}  # noqa: RUF012 - as above


def main(n: int, _folder: Path) -> Iterator[Measurement]:
    pinger = Pinger.start(Ponger.start())
    ask(pinger, Measure(n=10 * CALLERS)).get()
    rate = ask(pinger, Measure(n=n), timeout=None).get()
    yield Measurement(name="Propolis asks", value=rate, unit="/s", n=n, package="propolis")


if __name__ == "__main__":
    run(main)
