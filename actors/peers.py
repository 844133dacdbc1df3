"""Which runtimes on the same store are gone: who this process is, and a judgement of the others. No wall clocks."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from propolis.messages import RuntimeRow

from .host import Host

__all__ = ["Peers", "my_row", "process_started"]


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


class Peers:
    """Watches the beats of the other runtimes.

    A peer is gone at once when the OS says that its process is; else when its beat has stood still while this one
    kept beating over a whole lease, measured on this process's own monotonic clock (D5).
    """

    def __init__(self, me: RuntimeRow, lease_seconds: float) -> None:
        self._me = me
        self._lease = lease_seconds
        self._seen: dict[str, tuple[int, float]] = {}

    def gone(self, rows: Iterable[RuntimeRow], now: float) -> tuple[str, ...]:
        """The ids of those that are gone, judged at `now` (monotonic seconds)."""
        lost = []
        seen: dict[str, tuple[int, float]] = {}
        for row in rows:
            if row.runtime_id == self._me.runtime_id:
                continue
            beat, since = self._seen.get(row.runtime_id, (row.beat, now))
            if beat != row.beat:
                beat, since = row.beat, now
            seen[row.runtime_id] = (beat, since)
            if self._is_dead(row) or now - since > self._lease:
                lost.append(row.runtime_id)
        self._seen = seen
        return tuple(lost)

    def _is_dead(self, row: RuntimeRow) -> bool:
        if row.host != self._me.host:
            return False
        started = process_started(row.pid)
        return started is None or (started != 0 and row.pid_started not in (0, started))
