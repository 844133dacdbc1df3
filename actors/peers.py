"""Which runtimes on the same store are gone: who this process is, and a judgement of the others. No wall clocks."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from propolis.messages import RuntimeRow

from .host import Host

__all__ = ["Look", "Peers", "is_running", "my_row", "process_started"]


def my_row(runtime_id: str, host: Host) -> RuntimeRow:
    """The row of the runtime that this process is."""
    pid = os.getpid()
    return RuntimeRow(
        runtime_id=runtime_id, host=machine(), pid=pid, pid_started=process_started(pid) or 0, started_at=host.now()
    )


def machine() -> str:
    """The machine and its boot; a pid means something only where this is the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - the link's text, which names no file
    except OSError:
        boot = space = ""
    return f"{platform.node()}/{boot}/{space}"


def process_started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is no such process, or it is a zombie.

    0 where the system does not say; then only the pid counts. Source: proc(5), /proc/pid/stat, fields 3 and 22.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _started_without_proc(pid)
    except OSError:
        return 0
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _started_without_proc(pid: int) -> int | None:
    if os.name != "posix":
        return 0  # there, a signal 0 would end the process: leave it to the lease
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return 0
    return 0


def is_running(row: RuntimeRow, here: str | None = None) -> bool | None:
    """Whether the process of a runtime is; None when it is on another machine, of which nobody here can tell."""
    if row.host != (here or machine()):
        return None
    started = process_started(row.pid)
    return started is not None and (started == 0 or row.pid_started in (0, started))


class _Seen(NamedTuple):
    """A peer's beat: which it was, since when, and for how long it stood still while this runtime beat."""

    beat: int
    since: float
    still: float


class Look(NamedTuple):
    """What became of the peers since the look before."""

    gone: tuple[RuntimeRow, ...]
    """Dead, or taken for it: nobody has said so in the store yet."""
    left: bool
    """One is no longer there that was: what it had is free."""


class Peers:
    """Watches the beats of the other runtimes.

    A peer is gone at once when the OS says that its process is; else when its beat has stood still for a whole lease
    in which this runtime kept beating (D5). Only the time between two of its own beats counts, and of that never more
    than half a lease at once: a runtime that was itself stopped, or a store that let nobody commit, says nothing of
    the others. Measured on this process's own monotonic clock.
    """

    def __init__(self, me: RuntimeRow, lease_seconds: float) -> None:
        self._me = me
        self._lease = lease_seconds
        self._mine: tuple[int, float] | None = None
        self._seen: dict[str, _Seen] = {}

    def look(self, rows: Iterable[RuntimeRow], now: float) -> Look:
        """Judge by the rows that are in the store at `now` (monotonic seconds)."""
        others = {row.runtime_id: row for row in rows}
        mine = others.pop(self._me.runtime_id, None)
        before = self._my_last_beat(mine, now)
        gone: list[RuntimeRow] = []
        left = bool(self._seen.keys() - others.keys())
        seen: dict[str, _Seen] = {}
        for row in others.values():
            known = self._seen.get(row.runtime_id)
            if known is None or known.beat != row.beat:
                known = _Seen(row.beat, now, 0.0)
            elif before is not None:
                counted = min(now - max(before, known.since), self._lease / 2)
                known = known._replace(still=known.still + counted)
            seen[row.runtime_id] = known
            if self._is_dead(row) or known.still > self._lease:
                gone.append(row)
        self._seen = seen
        return Look(tuple(gone), left)

    def _my_last_beat(self, mine: RuntimeRow | None, now: float) -> float | None:
        """When this runtime was seen to beat before, if it has beaten since. Then the time in between counts."""
        if mine is None:  # declared lost itself
            self._mine = None
            return None
        if self._mine is not None and self._mine[0] == mine.beat:
            return None
        before, self._mine = self._mine, (mine.beat, now)
        return None if before is None else before[1]

    def still(self, runtime_id: str) -> float | None:
        """Seconds that count of its beat standing still, against its lease; None for one that was never seen."""
        seen = self._seen.get(runtime_id)
        return None if seen is None else seen.still

    def _is_dead(self, row: RuntimeRow) -> bool:
        return is_running(row, self._me.host) is False
