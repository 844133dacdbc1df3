"""Propolis: two AsyncioActors hand encoded messages back and forth, with one in flight and with 100 in flight."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Semaphore
from typing import Any

import pykka

from benchmarks.contenders.measure import Measurement, run
from propolis.actors import AsyncioActor
from propolis.messages import Message


class Ping(Message, tag="bench.ping.v1"):
    left: int
    note: str


class Player(AsyncioActor):
    def __init__(self, players: list[pykka.ActorRef[Any]], me: int, finished: Semaphore) -> None:
        super().__init__()
        self.players, self.other, self.finished = players, 1 - me, finished

    def on_ping(self, message: Ping) -> None:
        if message.left:
            self.players[self.other].tell(Ping(left=message.left - 1, note=message.note))
        else:
            self.finished.release()

    handlers = {Ping: on_ping}  # noqa: RUF012 - a table, declared ClassVar by the base


def rally(n: int, in_flight: int) -> float:
    """Messages per second of `n` in all, `in_flight` at a time."""
    players: list[pykka.ActorRef[Any]] = []
    finished = Semaphore(0)
    players.extend(Player.start(players, me, finished) for me in (0, 1))
    start = time.perf_counter()
    for _ in range(in_flight):
        players[0].tell(Ping(left=n // in_flight - 1, note="hello"))
    for _ in range(in_flight):
        finished.acquire()
    return n / (time.perf_counter() - start)


def main(n: int, _folder: Path) -> Iterator[Measurement]:
    rally(n // 10, 1)
    for name, in_flight in (("Propolis messages", 1), ("Propolis messages, 100 in flight", 100)):
        yield Measurement(name=name, value=rally(n, in_flight), unit="/s", n=n, package="propolis")


if __name__ == "__main__":
    run(main)
