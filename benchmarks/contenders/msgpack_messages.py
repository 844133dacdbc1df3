"""msgpack: encoding and decoding what our `Ping` carries, without a model around it. No message/s can be above it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgpack

from benchmarks.contenders.measure import Measurement, run


def main(n: int, _folder: Path) -> Iterator[Measurement]:
    pack = msgpack.Packer().pack
    unpack = msgpack.unpackb
    start = time.perf_counter()
    for i in range(n):
        unpack(pack(("bench.ping.v1", {"left": i, "note": "hello"})))
    rate = n / (time.perf_counter() - start)
    yield Measurement(name="msgpack there and back", value=rate, unit="/s", n=n, package="msgpack")


if __name__ == "__main__":
    run(main)
