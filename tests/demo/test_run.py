"""A run of the demo inside this process, on a small library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from propolis import Runtime
from propolis.demo import (
    Board,
    Interrupted,
    LiveView,
    Module,
    PlainView,
    Report,
    View,
    audit,
    catalogue,
    entry_point,
    print_report,
    run_demo,
)

from .small import BAD, GOOD
from .views import Seen, printed, text_console

FAILURES = {
    "bad/bytes.py": {"UnicodeDecodeError"},
    "bad/coding.py": {"SyntaxError"},
    "bad/future.py": {"SyntaxError"},
    "bad/null.py": {"SyntaxError", "ValueError"},  # by the version of Python
    "bad/syntax.py": {"SyntaxError"},
}


def run(modules: Sequence[Module], store: str, view: View | None = None) -> Report:
    """Run it quietly."""
    board = Board()
    return run_demo(modules, store, workers=3, board=board, view=view or PlainView(text_console(), board))


def test_every_module_ends_completed_or_failed_for_its_own_reason(library: Path) -> None:
    """And what failed was not tried again, since re-reading a file mends nothing."""
    report = run(catalogue(library), "memory:")
    assert report.is_complete
    assert set(GOOD) == {output["module"] for output in report.audited}
    assert FAILURES.keys() == {failed.path for failed in report.failed}
    for failed in report.failed:
        assert failed.kind in FAILURES[failed.path]
        assert 0 == failed.restarts
    assert 0 == report.restarts


def test_a_second_run_on_the_same_store_runs_nothing_and_reports_the_same(library: Path, tmp_path: Path) -> None:
    """The report is what the store says."""
    store = f"sqlite:///{tmp_path}/demo.db"
    modules = catalogue(library)
    first = run(modules, store)
    view = Seen()
    assert first == run(modules, store, view)
    assert 0 == view.snapshots[-1].ended_here
    assert len(modules) == view.snapshots[-1].before == view.snapshots[-1].done


def test_a_changed_module_is_audited_again_and_only_that(library: Path, tmp_path: Path) -> None:
    """Its old record stays and is not part of the report any more."""
    store = f"sqlite:///{tmp_path}/demo.db"
    run(catalogue(library), store)
    (library / "bad" / "syntax.py").write_text("print('hello')\n")
    view = Seen()
    report = run(catalogue(library), store, view)
    assert report.is_complete
    assert "bad/syntax.py" not in {failed.path for failed in report.failed}
    assert 1 == view.snapshots[-1].ended_here


@pytest.mark.parametrize("at", [1, 2])
def test_an_interrupted_run_goes_on_where_it_was(library: Path, tmp_path: Path, at: int) -> None:
    """Ctrl-C stops the runtime in order; the next run takes up what had not ended."""
    store = f"sqlite:///{tmp_path}/demo.db"
    modules = catalogue(library)
    with pytest.raises(Interrupted) as interrupted:
        run(modules, store, Seen(interrupt_at=at))
    assert len(modules) == interrupted.value.total
    report = run(modules, store)
    assert report.is_complete
    assert (len(GOOD), len(BAD)) == (len(report.audited), len(report.failed))


def test_a_file_that_cannot_be_read_is_tried_again_then_failed(library: Path, tmp_path: Path) -> None:
    """An OSError may pass, so it is worth the restarts that the entry point allows."""
    (gone,) = (module for module in catalogue(library) if module.path == "one.py")
    (library / "one.py").unlink()
    board = Board()
    console = text_console()
    report = run_demo([gone], "memory:", workers=1, board=board, view=PlainView(console, board))
    (failed,) = report.failed
    assert ("FileNotFoundError", 3) == (failed.kind, failed.restarts)
    assert 3 == printed(console).count("restarted")


def test_what_the_checkpoint_kept_is_not_worked_out_again(library: Path) -> None:
    """An audit whose memory has the figures does not even open the file."""
    (module,) = (module for module in catalogue(library) if module.path == "one.py")
    with Runtime() as runtime:
        stream = runtime.open_stream(entry_point(1), audit).get()
        session = runtime.session(stream.run(module).get().session_id).get()
        assert session is not None
        (library / "one.py").unlink()
        again = stream.run(module, memory=session.memory).get()
    assert again.success
    assert again.output["functions"] == 1


def test_the_live_picture_shows_tree_figures_and_failures(library: Path) -> None:
    """What somebody in front of a terminal sees at the end."""
    console = text_console(terminal=True)
    board = Board()
    run_demo(catalogue(library), "memory:", workers=2, board=board, view=LiveView(console, board, "An audit"))
    shown = printed(console)
    for expected in ("An audit", "runtime", "sessions", "stream:audit", "modules a second", "failed", "8 / 8"):
        assert expected in shown


def test_the_printed_report_says_what_failed_and_where_the_record_lies(library: Path) -> None:
    """And how to look at it, in commands that can be pasted."""
    report = run(catalogue(library), "memory:")
    console = text_console()
    print_report(report, console, title="An audit", store="sqlite:///x y.db", where="a/x y.db", program="propolis")
    shown = printed(console)
    assert "3 of 8 modules audited, 5 failed, 0 without a result" in shown
    assert "UnicodeDecodeError" in shown
    assert "propolis sessions list --status failed --store 'sqlite:///x y.db'" in shown
    session = next(failed.session_id for failed in report.failed)
    assert f"propolis sessions show {session}" in shown
