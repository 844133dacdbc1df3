"""A thousand executions on four workers, a fifth of them hostile: nobody else notices, and nothing is left.

PROPOLIS_CHAOS_EXECUTIONS (1000) says how many.
"""

from __future__ import annotations

import gc
import os
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.contenders.measure import resident_bytes
from propolis import Backoff, EntryPoint, Placement, RestartPolicy, Runtime, RuntimeConfig, Stream
from propolis.messages import ExecutionResult

from ..placements import hostile
from ..processes import is_gone
from ..runtime.support import until

EXECUTIONS = int(os.environ.get("PROPOLIS_CHAOS_EXECUTIONS", "1000"))
pytestmark = pytest.mark.chaos

WORKERS = 4
AT_ONCE = 16
PATIENCE = 120.0
MEGABYTE = 2**20
FLAT = 8 * MEGABYTE
"""What the runtime's process may have more at the end than after its first fifth."""


class Kind(NamedTuple):
    """A hostile executor, how it ends (the failure's code, or "" for one that completes), and what it is given."""

    body: Callable[..., Any]
    code: str
    takes_path: bool = False
    restarts: int = 1


KINDS = (
    Kind(hostile.segfaults, "worker_signal"),
    Kind(hostile.spins, "timeout", takes_path=True),
    Kind(hostile.leaves_without_a_word, "worker_exit"),
    Kind(hostile.eats_memory, "out_of_memory"),
    Kind(hostile.leaves_children, "", takes_path=True),
    Kind(hostile.dies_with_children, "worker_signal", takes_path=True),
    Kind(hostile.closes_everything, "worker_exit"),
    Kind(hostile.exits, "crashed", restarts=0),
)


class Run(NamedTuple):
    """One that was asked for."""

    reply: Any
    kind: Kind | None
    number: int


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_the_good_ones_complete_and_every_hostile_one_ends_as_its_policy_says(
    tmp_path: Path, start_method: str
) -> None:
    """With one restart each (a SystemExit is not retried). No process or descriptor is left, and memory is flat."""
    config = RuntimeConfig(grace_seconds=0.5)
    how: Any = start_method
    placement = Placement.process(workers=WORKERS, name="all", memory_mb=256, start_method=how)
    restart = RestartPolicy(max_restarts=1, backoff=Backoff(initial=0.01))
    ends: Counter[str] = Counter()
    sizes: list[int] = []
    with Runtime(f"sqlite:///{tmp_path}/chaos.db", config=config) as runtime:
        streams: dict[str, Stream] = {}
        for body in (hostile.good, *(kind.body for kind in KINDS)):
            limit = 0.5 if body is hostile.spins else None
            point = EntryPoint(
                id=body.__name__, placement=placement, restart=restart, max_concurrent=WORKERS, timeout=limit
            )
            streams[body.__name__] = runtime.open_stream(point, body).get(timeout=PATIENCE)
        waiting: deque[Run] = deque()
        for number in range(EXECUTIONS):
            kind = KINDS[number // 5 % len(KINDS)] if number % 5 == 0 else None
            body = hostile.good if kind is None else kind.body
            data = f"{tmp_path}/{number}" if kind is not None and kind.takes_path else number
            waiting.append(Run(streams[body.__name__].run(data), kind, number))
            if len(waiting) >= AT_ONCE:
                look_at(waiting.popleft(), ends)
            if number % (EXECUTIONS // 5) == 0:
                gc.collect()
                sizes.append(resident_bytes())
        while waiting:
            look_at(waiting.popleft(), ends)
        gc.collect()
        sizes.append(resident_bytes())
        until(lambda: WORKERS + 1 >= len(runtime.workers()), "the end of workers that are replaced")
    print(start_method, dict(ends), "MB:", [size // MEGABYTE for size in sizes])  # noqa: T201 - what the run has shown
    assert EXECUTIONS - EXECUTIONS // 5 == ends["good"]
    assert sizes[-1] - sizes[1] < FLAT, sizes
    for file in tmp_path.iterdir():
        if file.suffix == "" and file.name.isdecimal():
            for pid in map(int, file.read_text().split()):
                until(lambda pid=pid: is_gone(pid), f"the end of {pid}")  # type: ignore[misc]


def look_at(run: Run, ends: Counter[str]) -> None:
    """Whether it ended as it should."""
    result: ExecutionResult = run.reply.get(timeout=PATIENCE)
    if run.kind is None:
        assert ("completed", run.number * 2, 0) == (result.status, result.output, result.restarts)
        ends["good"] += 1
    elif run.kind.code == "":
        assert ("completed", "done") == (result.status, result.output)
        ends[run.kind.body.__name__] += 1
    else:
        assert result.failure is not None, result
        assert ("failed", run.kind.code, run.kind.restarts) == (result.status, result.failure.code, result.restarts)
        ends[run.kind.body.__name__] += 1
