"""When the workers of a runtime are reported to its store."""

from __future__ import annotations

from propolis.actors.reporting import WorkerNews

from propolis.messages import WorkerInfo

from ..stores.builders import START

IDLE = (WorkerInfo(pool="p", pid=7, state="idle"),)
BUSY = (WorkerInfo(pool="p", pid=7, state="busy", execution_id="e1"),)


def test_a_runtime_without_workers_reports_nothing() -> None:
    """It would be a commit."""
    news = WorkerNews()
    assert [None, None] == [news.report("r", (), START, now) for now in (0.0, 10.0)]


def test_a_change_is_reported_once_and_not_before_its_time() -> None:
    """What came in between is never told."""
    news = WorkerNews()
    reports = [
        news.report("r", workers, START, now)
        for workers, now in ((IDLE, 0.0), (BUSY, 0.5), (IDLE, 1.5), (BUSY, 2.0), (BUSY, 9.0), ((), 9.5), ((), 11.0))
    ]
    assert [IDLE, None, None, BUSY, None, (), None] == [report and report.workers for report in reports]


def test_under_a_new_name_it_is_told_again() -> None:
    """What was reported under the old one went with that."""
    news = WorkerNews()
    assert news.report("r", IDLE, START, 0.0)
    report = news.report("r2", IDLE, START, 5.0)
    assert report is not None
    assert ("r2", IDLE) == (report.runtime_id, report.workers)


def test_what_could_not_be_written_is_told_again() -> None:
    """Also that there are none left."""
    news = WorkerNews()
    assert news.report("r", IDLE, START, 0.0)
    assert news.report("r", (), START, 1.0)
    news.was_not_written()
    assert news.report("r", (), START, 2.0)
