"""pykka: two ThreadingActors hand messages back and forth, with one in flight and with 100 in flight."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from typing import Any

import pykka

from benchmarks.contenders.measure import Measurement, run


@dataclass(frozen=True)
class Ping:
    left: int
    note: str


class Player(pykka.ThreadingActor):
    def __init__(self, players: list[pykka.ActorRef[Any]], me: int, finished: Semaphore) -> None:
        super().__init__()
        self.players, self.other, self.finished = players, 1 - me, finished

    def on_receive(self, message: Ping) -> None:
        if message.left:
            self.players[self.other].tell(Ping(message.left - 1, message.note))
        else:
            self.finished.release()


def rally(n: int, in_flight: int) -> float:
    """Messages per second of `n` in all, `in_flight` at a time."""
    players: list[pykka.ActorRef[Any]] = []
    finished = Semaphore(0)
    players.extend(Player.start(players, me, finished) for me in (0, 1))
    start = time.perf_counter()
    for _ in range(in_flight):
        players[0].tell(Ping(n // in_flight - 1, "hello"))
    for _ in range(in_flight):
        finished.acquire()
    return n / (time.perf_counter() - start)


def main(n: int, _folder: Path) -> Iterator[Measurement]:
    rally(n // 10, 1)
    for name, in_flight in (("pykka messages", 1), ("pykka messages, 100 in flight", 100)):
        yield Measurement(name=name, value=rally(n, in_flight), unit="/s", n=n, package="pykka")


if __name__ == "__main__":
    run(main)
