"""Propolis in a threaded program: every call has a `.get(timeout=…)`, and any thread may make it."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

from propolis import EntryPoint, Runtime, SyncContext


def digest(ctx: SyncContext, text: str) -> str:
    """A blocking executor: a plain `def`, on a thread of its own while it runs."""
    data = text.encode()
    for count in range(1_000):
        if ctx.cancelled:  # a thread cannot be stopped from outside: look now and then
            break
        data = hashlib.sha256(data).digest()
        if count % 500 == 0:
            ctx.progress(count / 1_000, "hashing")
    return data.hex()[:8]


def main() -> None:
    """Eight worker threads share one stream, while another thread follows its events."""
    with Runtime() as runtime:
        stream = runtime.open_stream(EntryPoint(id="digest", max_concurrent=4), digest).get(timeout=5)
        seen: list[str] = []
        events = stream.events(after=0, types=["execution_completed"])

        def follow() -> None:
            seen.extend(event.type for event in events)  # ends when the iterator is closed, or the runtime stops

        follower = threading.Thread(target=follow)
        follower.start()

        def work(number: int) -> str:
            result = stream.run(f"document {number}").get(timeout=5)
            return f"{number} {result.output}"

        with ThreadPoolExecutor(max_workers=8) as pool:
            for line in pool.map(work, range(1, 6)):
                print(line)

        stats = stream.get_stats().get(timeout=5)
        print(f"{stats.completed_executions} of {stats.total_executions} executions have ended")
    follower.join(timeout=5)
    print(f"{len(seen)} events seen")


if __name__ == "__main__":
    main()
