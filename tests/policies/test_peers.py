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


def gone(peers: Peers, rows: list[RuntimeRow], now: float) -> tuple[str, ...]:
    """The names of those that are."""
    return tuple(row.runtime_id for row in peers.look(rows, now).gone)


def looked_at(peers: Peers, me: RuntimeRow, *, until: float, since: float = 0.0, beats: int = 0) -> list[float]:
    """Look once a second at a peer that does not beat, beating oneself each time; when it was gone."""
    return [
        now
        for n in range(int(until - since) + 1)
        if gone(peers, [me.model_copy(update={"beat": beats + n}), elsewhere(5)], now := since + n)
    ]


def test_a_beat_that_stands_still_for_a_lease_is_that_of_one_who_is_gone(me: RuntimeRow) -> None:
    """Counted from when this process first saw it, whatever any wall clock says; not before a whole lease is over."""
    assert [1_000.0 + LEASE + 1, 1_000.0 + LEASE + 2] == looked_at(
        Peers(me, LEASE), me, since=1_000.0, until=1_000.0 + LEASE + 2
    )


def test_it_counts_from_when_it_stood_still_and_not_from_ones_own_beat_before(me: RuntimeRow) -> None:
    """A peer that beats just after this one, which beats seldom, has its whole lease."""
    peers = Peers(me, LEASE)
    beats = [(0.0, 1, 1), (3.9, 1, 2)]  # when, one's own, the peer's last
    beats += [(4.0 * n, 1 + n, 2) for n in range(1, 4)]
    for now, mine, its in beats:
        assert () == gone(peers, [me.model_copy(update={"beat": mine}), elsewhere(its)], now)
    assert ("peer",) == gone(peers, [me.model_copy(update={"beat": 9}), elsewhere(2)], 14.0)


def test_a_beat_that_moves_is_that_of_a_living_one_however_slowly(me: RuntimeRow) -> None:
    """Also when it moves backwards: it moved."""
    peers = Peers(me, LEASE)
    for n, beat in enumerate((5, 6, 7, 3)):
        assert () == gone(peers, [me.model_copy(update={"beat": n}), elsewhere(beat)], LEASE * n)


def test_who_does_not_beat_himself_says_nothing_of_the_others(me: RuntimeRow) -> None:
    """A store that lets nobody commit, for an hour, is nobody's death; nor is it when one has been declared lost."""
    peers = Peers(me, LEASE)
    for now in range(0, 3_600, 2):
        assert () == gone(peers, [me, elsewhere(5)], float(now))
    for now in range(3_600, 7_200, 2):
        assert () == gone(peers, [elsewhere(5)], float(now))


def test_who_was_stopped_himself_gives_the_others_time_to_show_that_they_live(me: RuntimeRow) -> None:
    """All of a machine were frozen for an hour: what one sees first is that nobody has beaten since."""
    peers = Peers(me, LEASE)
    assert [] == looked_at(peers, me, until=3.0)
    assert () == gone(peers, [me.model_copy(update={"beat": 4}), elsewhere(5)], 3_600.0)
    assert () == gone(peers, [me.model_copy(update={"beat": 5}), elsewhere(6)], 3_601.0)


def test_one_that_came_back_under_its_name_is_seen_anew(me: RuntimeRow) -> None:
    """What was known of the one before counts for nothing; that it was gone in between is told."""
    peers = Peers(me, LEASE)
    assert not peers.look([me, elsewhere(5)], 0.0).left
    assert peers.look([me], 1.0).left
    assert not peers.look([me], 2.0).left
    assert [3.0 + LEASE + 1] == looked_at(peers, me, since=3.0, until=3.0 + LEASE + 1, beats=7)


def test_nobody_is_gone_to_himself(me: RuntimeRow) -> None:
    """However long his beat stands still."""
    peers = Peers(me, LEASE)
    for now in (0.0, LEASE * 10):
        assert () == gone(peers, [me], now)


def test_a_process_that_has_ended_here_is_gone_at_once(me: RuntimeRow, process: subprocess.Popen[bytes]) -> None:
    """As long as it lives it is not; and a zombie is not alive."""
    started = process_started(process.pid)
    assert started is not None
    row = me.model_copy(update={"runtime_id": "peer", "pid": process.pid, "pid_started": started})
    peers = Peers(me, LEASE)
    assert () == gone(peers, [row], 0.0)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ("peer",) == gone(peers, [row], 0.0)
    process.wait()
    assert ("peer",) == gone(peers, [row], 0.0)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the system does not say")  # noqa: PTH110
def test_another_process_under_the_same_pid_is_another_process(me: RuntimeRow) -> None:
    """It began at another time."""
    reused = me.model_copy(update={"runtime_id": "peer", "pid_started": me.pid_started + 1})
    assert ("peer",) == gone(Peers(me, LEASE), [reused], 0.0)
    unknown = me.model_copy(update={"runtime_id": "peer", "pid_started": 0})
    assert () == gone(Peers(me, LEASE), [unknown], 0.0)


def test_a_pid_says_nothing_about_another_machine(me: RuntimeRow) -> None:
    """Nor about one of before the last boot; there only the beat counts."""
    assert process_started(elsewhere().pid) is None
    assert () == gone(Peers(me, LEASE), [elsewhere()], 0.0)
