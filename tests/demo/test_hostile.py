"""The audit with hostile executions beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from propolis.demo import (
    Aftermath,
    Attack,
    Board,
    Ending,
    Interrupted,
    Module,
    PlainView,
    Report,
    Snapshot,
    View,
    catalogue,
    make_aftermath,
    picture,
    plan_attacks,
    print_report,
    run_demo,
)
from propolis.messages import RuntimeStats, SupervisionTree, WorkerInfo

from ..processes import unmeasured
from .views import Seen, printed, text_console

PATIENCE = 100.0
ENDINGS = (
    (Ending("segfault", "failed", "worker_signal", "SIGSEGV", 1), 1),
    (Ending("spin", "failed", "timeout", "", 1), 1),
    (Ending("memory", "failed", "out_of_memory", "", 1), 1),
    (Ending("exit", "failed", "worker_exit", "exit status 0", 1), 1),
    (Ending("garbage", "completed"), 1),
)


def run(
    modules: Sequence[Module], attacks: Sequence[Attack], store: str = "memory:", view: View | None = None
) -> Report:
    """Run it quietly."""
    board = Board()
    shown = view or PlainView(text_console(), board)
    return run_demo(modules, store, workers=3, board=board, view=shown, attacks=attacks)


def without_ids(report: Report) -> Report:
    """What two runs have in common."""
    return replace(report, failed=tuple(replace(failed, session_id="") for failed in report.failed), aftermath=None)


def is_gone(pid: int) -> bool:
    """Whether no process of that number runs; what has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except ProcessLookupError:
        return True
    except OSError:  # no such folder here, or it has ended just now, which the next look shows
        return False


def all_gone(pids: set[int], within: float) -> bool:
    """Whether none of them runs, after at most so many seconds."""
    deadline = time.monotonic() + within
    while not all(map(is_gone, pids)):
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


def workers_of(view: Seen) -> set[int]:
    """Every worker process that was shown."""
    return {worker.pid for snapshot in view.snapshots for worker in snapshot.workers if worker.pid is not None}


def test_every_attack_ends_for_its_own_reason_and_the_audit_is_untouched(library: Path, tmp_path: Path) -> None:
    """No worker is left; a second run on the same store attacks nobody and reports the same."""
    modules, attacks = catalogue(library), plan_attacks(0)
    store = f"sqlite:///{tmp_path}/demo.db"
    view, again = Seen(), Seen()
    report = run(modules, attacks, store, view)
    assert Aftermath(ENDINGS) == report.aftermath
    assert report.is_complete
    assert without_ids(run(modules, ())) == without_ids(report)
    assert len(workers_of(view)) > 1
    assert all_gone(workers_of(view), within=2.0)

    assert report == run(modules, attacks, store, again)
    assert 0 == again.snapshots[-1].stream("hostile").completed_executions
    assert all_gone(workers_of(again), within=2.0)


def test_without_attacks_no_second_stream_and_no_worker(library: Path) -> None:
    """The demo is then what it was."""
    view = Seen()
    assert run(catalogue(library), (), view=view).aftermath is None
    assert ["audit"] == [stream.stream_id for stream in view.snapshots[-1].stats.streams]
    assert set() == workers_of(view)


def test_an_interrupted_run_takes_its_attacks_up_again(library: Path, tmp_path: Path) -> None:
    """In the middle of one that spins."""
    modules, attacks = catalogue(library), (Attack(kind="spin", number=1), Attack(kind="exit", number=1))
    store = f"sqlite:///{tmp_path}/demo.db"
    view = Seen(interrupt_at=6)
    with pytest.raises(Interrupted):
        run(modules, attacks, store, view)
    assert all_gone(workers_of(view), within=2.0)
    report = run(modules, attacks, store)
    assert report.is_complete
    assert report.aftermath is not None
    assert {("spin", "timeout"), ("exit", "worker_exit")} == {
        (ending.kind, ending.code) for ending, _ in report.aftermath.endings
    }


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are found by /proc")
@pytest.mark.chaos  # the demo twice, with a dozen workers each time
@pytest.mark.parametrize("until", ["restarted  spin 1", "failed     exit 1"])
def test_killed_and_run_again_no_worker_is_left_and_all_ends_as_it_should(tmp_path: Path, until: str) -> None:
    """SIGKILL, at a moment that a line of the plain view tells."""
    command = [sys.executable, "-m", "propolis", "demo", "--hostile", "--plain", "--limit", "20"]
    command += ["--store", f"sqlite:///{tmp_path}/demo.db"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=unmeasured()) as first:
        assert first.stdout is not None
        assert any(line.startswith(until) for line in first.stdout)
        workers = processes_below(first.pid)
        first.kill()
    assert workers
    assert all_gone(workers, within=2.0)

    again = subprocess.run(command, capture_output=True, text=True, env=unmeasured(), timeout=PATIENCE, check=False)
    assert (0, "") == (again.returncode, again.stderr), again.stdout
    assert "Hostile executions" in again.stdout
    assert "all 20 modules are accounted for, once" in again.stdout
    for ending, _ in ENDINGS:
        assert ending.code in again.stdout


def processes_below(pid: int) -> set[int]:
    """The children of a process, and theirs."""
    found: set[int] = set()
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listing.read_text().split()):
            found |= {child} | processes_below(child)
    return found


@pytest.mark.parametrize(("modules", "attacks", "most"), [(1, 5, 1), (120, 12, 3), (10_000, 25, 5)])
def test_there_are_attacks_of_every_kind_and_not_too_many(modules: int, attacks: int, most: int) -> None:
    """One for every ten modules."""
    planned = plan_attacks(modules)
    assert attacks == len(planned) == len({attack.key for attack in planned})
    counts = Counter(attack.kind for attack in planned)
    assert (5, most) == (len(counts), max(counts.values()))


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending("spin", "failed", "timeout", "", 1), True),
        (Ending("spin", "failed", "timeout", "", 0), False),
        (Ending("spin", "failed", "out_of_memory", "", 1), False),
        (Ending("spin", "unfinished"), False),
        (Ending("garbage", "completed"), True),
        (Ending("garbage", "failed", "worker_exit", "exit status 0", 1), False),
        (Ending("exit", "completed"), False),
    ],
)
def test_an_ending_is_as_expected_with_the_reason_of_its_kind_after_its_restart(ending: Ending, expected: bool) -> None:
    """One that ends in another way makes the demo fail."""
    assert expected == ending.is_as_expected
    assert expected == Aftermath((*ENDINGS, (ending, 1))).is_as_expected


def test_an_attack_without_a_record_is_unfinished_and_the_report_says_so(library: Path) -> None:
    """It is never taken for one that went well."""
    aftermath = make_aftermath(plan_attacks(0), ())
    assert {"unfinished"} == {ending.status for ending, _ in aftermath.endings}
    report = replace(run(catalogue(library), ()), aftermath=aftermath)
    assert not report.is_complete
    console = text_console()
    print_report(report, console, title="An audit", store="memory:", where="", program="propolis")
    assert 5 == sum(line.split()[-2:] == ["unfinished", "no"] for line in printed(console).splitlines())


def test_the_report_shows_a_row_for_every_kind_and_says_that_the_audit_was_untouched(library: Path) -> None:
    """With how many, and with which reason they ended."""
    report = replace(run(catalogue(library), ()), aftermath=Aftermath(ENDINGS))
    console = text_console()
    print_report(report, console, title="An audit", store="memory:", where="", program="propolis")
    rows = [line.split() for line in printed(console).splitlines()]
    assert ["segfault", "1", "1", "failed", "worker_signal,", "SIGSEGV", "yes"] in rows
    assert ["spin", "1", "1", "failed", "timeout", "yes"] in rows
    assert ["garbage", "1", "0", "completed", "yes"] in rows
    assert "was untouched: all 8 modules are accounted for, once" in printed(console)


def snapshot(*workers: WorkerInfo, attacks: int = 7) -> Snapshot:
    """One made up, of a run that is over."""
    return Snapshot(
        total=1,
        done=1,
        seconds=1.0,
        stats=RuntimeStats(runtime_id="r", store="memory:", running=True),
        tree=SupervisionTree(actors=()),
        attacks=attacks,
        attacks_ended=attacks,
        workers=workers,
    )


WORKERS = (
    WorkerInfo(pool="hostile", pid=4321, state="busy", execution_id="e", executions=3, rss_bytes=50 * 2**20),
    WorkerInfo(pool="hostile", pid=4322, state="idle", rss_bytes=48 * 2**20),
    WorkerInfo(pool="hostile", pid=None, state="starting"),
)


def test_the_live_picture_shows_workers_with_what_they_run() -> None:
    """A line each; none of it without attacks."""
    board = Board()
    board.names["e"] = "spin 2"
    console = text_console()
    console.print(picture(snapshot(*WORKERS), board, "An audit"))
    rows = [line.strip("│ ").split() for line in printed(console).splitlines()]
    assert ["4321", "busy", "50", "MB", "3", "spin", "2"] in rows
    assert ["4322", "idle", "48", "MB", "0"] in rows
    assert ["…", "starting", "0"] in rows
    assert "7 of 7 hostile executions have ended" in printed(console)

    console = text_console()
    console.print(picture(snapshot(attacks=0), board, "An audit"))
    assert "worker" not in printed(console)


def test_the_plain_view_ends_with_a_line_about_the_workers() -> None:
    """When the last attack is over."""
    board = Board()
    board.names["e"] = "spin 2"
    console = text_console()
    view = PlainView(console, board)
    view.show(replace(snapshot(*WORKERS), attacks_ended=6))
    assert "workers" not in printed(console)
    view.show(snapshot(*WORKERS))
    assert "workers    4321 busy 50 MB spin 2, 4322 idle 48 MB, … starting" == printed(console).splitlines()[-1]
