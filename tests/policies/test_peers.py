"""Who is gone: by the operating system at once, else by a beat that stood still for a lease of one's own (D5)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from propolis.actors.host import Host
from propolis.actors.peers import Peers, my_row, process_started

from propolis.messages import RuntimeRow

LEASE = 10.0


@pytest.fixture
def me() -> RuntimeRow:
    """The row of the process at hand."""
    return my_row("me", Host())


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this machine, which lives until its input ends."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        yield other


def elsewhere(beat: int = 0, id: str = "peer") -> RuntimeRow:
    """A runtime on another machine, with the pid of nobody here."""
    row = RuntimeRow(
        runtime_id=id, host="elsewhere", pid=2**22 + 1, pid_started=1, started_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    return row.model_copy(update={"beat": beat})


def test_a_beat_that_stands_still_for_a_lease_is_that_of_one_who_is_gone(me: RuntimeRow) -> None:
    """Counted from when this process first saw it, whatever any wall clock says; not one moment earlier."""
    peers = Peers(me, LEASE)
    assert () == peers.gone([me, elsewhere(5)], now=1_000.0)
    assert () == peers.gone([me, elsewhere(5)], now=1_000.0 + LEASE)
    assert ("peer",) == peers.gone([me, elsewhere(5)], now=1_000.1 + LEASE)


def test_a_beat_that_moves_is_that_of_a_living_one_however_slowly(me: RuntimeRow) -> None:
    """Also when it moves backwards: it moved."""
    peers = Peers(me, LEASE)
    for n, beat in enumerate((5, 6, 7, 3)):
        assert () == peers.gone([elsewhere(beat)], now=LEASE * n)
    assert ("peer",) == peers.gone([elsewhere(3)], now=LEASE * 4 + 0.1)


def test_one_that_came_back_under_its_name_is_seen_anew(me: RuntimeRow) -> None:
    """What was known of the one before counts for nothing."""
    peers = Peers(me, LEASE)
    peers.gone([elsewhere(5)], now=0.0)
    peers.gone([], now=1.0)
    assert () == peers.gone([elsewhere(5)], now=LEASE + 1.0)


def test_nobody_is_gone_to_himself(me: RuntimeRow) -> None:
    """However long his beat stands still."""
    peers = Peers(me, LEASE)
    for now in (0.0, LEASE * 10):
        assert () == peers.gone([me], now=now)


def test_a_process_that_has_ended_here_is_gone_at_once(me: RuntimeRow, process: subprocess.Popen[bytes]) -> None:
    """As long as it lives it is not; and a zombie is not alive."""
    started = process_started(process.pid)
    assert started is not None
    row = me.model_copy(update={"runtime_id": "peer", "pid": process.pid, "pid_started": started})
    peers = Peers(me, LEASE)
    assert () == peers.gone([row], now=0.0)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ("peer",) == peers.gone([row], now=0.0)
    process.wait()
    assert ("peer",) == peers.gone([row], now=0.0)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the system does not say")  # noqa: PTH110
def test_another_process_under_the_same_pid_is_another_process(me: RuntimeRow) -> None:
    """It began at another time."""
    reused = me.model_copy(update={"runtime_id": "peer", "pid_started": me.pid_started + 1})
    assert ("peer",) == Peers(me, LEASE).gone([reused], now=0.0)
    unknown = me.model_copy(update={"runtime_id": "peer", "pid_started": 0})
    assert () == Peers(me, LEASE).gone([unknown], now=0.0)


def test_a_pid_says_nothing_about_another_machine(me: RuntimeRow) -> None:
    """Nor about one of before the last boot; there only the beat counts."""
    assert process_started(elsewhere().pid) is None
    assert () == Peers(me, LEASE).gone([elsewhere()], now=0.0)
