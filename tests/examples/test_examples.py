"""Every example runs by itself, with no arguments, and prints what it is there to show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE = 60.0
"""Seconds after which an example counts as stuck. Each takes one or two."""

SLOW = re.compile(r"^Executing <.*> took [0-9.]+ seconds\n", re.MULTILINE)
"""What asyncio's debug mode says of whatever took more than 0.1 s: on a busy machine that can be anything."""


def run(name: str, folder: Path) -> list[str]:
    """The lines that an example prints, started in `folder` with warnings as errors."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        cwd=folder,
        env={**os.environ, "PYTHONDEVMODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (0, "") == (ran.returncode, SLOW.sub("", ran.stderr)), f"{ran.stdout}\n{ran.stderr}"
    return ran.stdout.splitlines()


RESTART = [
    "attempt 1 begins behind box 0",
    "attempt 2 begins behind box 1",
    "attempt 3 begins behind box 3",
    "completed: 5 boxes with 2 restarts",
]


def test_restart_goes_on_behind_the_last_checkpoint_and_again_when_run_again(tmp_path: Path) -> None:
    """Two crashes, two restarts; and what the first run left in the file does not change the second."""
    assert RESTART == run("restart.py", tmp_path)
    assert RESTART == run("restart.py", tmp_path)


def test_steps_that_were_recorded_are_not_repeated_after_a_kill(tmp_path: Path) -> None:
    """The second process reserves and charges nothing."""
    assert [
        "attempt 1",
        "  reserve a lamp",
        "  charge ada 1999",
        "killed",
        "attempt 2",
        "  pack from B7",
        "completed: ['receipt charge', 'parcel 1']",
    ] == run("steps.py", tmp_path)


def test_recovery_finishes_what_a_killed_process_left(tmp_path: Path) -> None:
    """It goes on behind the last checkpoint, and the death counts as no restart."""
    assert [
        "  victim: attempt 1 imports rows 1 to 6",
        "  victim: killed here",
        "attempt 2 imports rows 4 to 6",
        "completed: 6 rows",
        "asked again: the same execution, True",
        "restarts 0, attempts in all 2",
    ] == run("recovery.py", tmp_path)


def test_a_stock_is_shared_and_no_piece_is_sold_twice(tmp_path: Path) -> None:
    """Though every customer is run twice."""
    assert [
        "8 pieces sold, 2 customers got nothing",
        "stock: {'stock': -1}",
        "it began with 7 left, in version 1",
    ] == run("shared.py", tmp_path)


def test_sessions_are_shared_in_the_order_in_which_executions_came(tmp_path: Path) -> None:
    """Joiners of one session see what the one before them remembered, also from another stream."""
    assert [
        "line 1",
        "line 2",
        "line 3",
        "hello / are you / there?",
        "4 executions on one session, which belongs to 'chat'",
    ] == run("sessions.py", tmp_path)


def test_a_graph_forks_joins_loops_and_pauses(tmp_path: Path) -> None:
    """Its edges are chosen by expressions; a resume brings what was decided."""
    assert [
        "Dear Bob, a customer since 2019: Thank you. We are sorry.",
        "read > orders > history > draft > draft > send",
        "paused at 'approve'",
        "Dear Ada, a customer since 2019: Thank you. We are sorry. 120 EUR are on their way.",
    ] == run("graph.py", tmp_path)


def test_a_goal_asks_for_an_adjustment_and_is_achieved_with_it(tmp_path: Path) -> None:
    """Two streams are counted together; the recorded events alone say the same."""
    assert [
        "score 0.58, adjust: Criterion 'sorted' is at 44% after 3 observations.",
        "score 0.97, complete: 78% sorted well",
        "too large: 1 of 12 decisions",
        "measured without a runtime: score 0.97",
    ] == run("goals.py", tmp_path)


def test_a_paused_execution_is_resumed_by_a_later_runtime(tmp_path: Path) -> None:
    """No chapter is written twice, and none is left out."""
    paused, goes_on, completed = run("pause_resume.py", tmp_path)
    chapter = paused.removeprefix("paused at ")
    assert chapter in {"'sales'", "'costs'", "'outlook'"}  # where the request to pause met it
    assert f"goes on behind chapter {chapter}" == goes_on
    assert "completed: sales of 2026, costs of 2026, outlook of 2026, summary of 2026" == completed


def test_a_pykka_actor_asks_a_stream_and_gets_events_as_messages(tmp_path: Path) -> None:
    """An executor that fails leaves its neighbours and the host's actor alone."""
    *baked, alive = run("embedding_pykka.py", tmp_path)
    assert ["brioche: ValueError: the oven is too hot", "rye: baked rye", "spelt: baked spelt"] == sorted(baked)
    assert "the clerk is alive: True, and so is the stream: True" == alive


def test_an_asyncio_service_answers_while_executions_run(tmp_path: Path) -> None:
    """A repeated key is one ticket; input that does not fit is refused with a sentence about it."""
    twice, done, refused = run("embedding_asyncio.py", tmp_path)
    assert "posted twice, one ticket: True" == twice
    assert "{'status': 'completed', 'output': {'queue': 'hotline', 'subject': 'no heating'}}" == done
    assert refused.startswith("{'error': 'invalid_input', 'message': 'input_data.subject: Field required.")


def test_threads_share_a_stream_and_another_follows_its_events(tmp_path: Path) -> None:
    """Results come back to the thread that asked."""
    *work, stats, seen = run("embedding_threads.py", tmp_path)
    assert ["1 7e7823f3", "2 1af8fcd4", "3 afe8316d", "4 8da99f93", "5 eccb1542"] == work
    assert "5 of 5 executions have ended" == stats
    assert "5 events seen" == seen


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_run_by_a_test_and_named_in_the_readme(path: Path) -> None:
    """An example that nobody runs does not stay true for long, and one that nobody finds helps nobody."""
    assert f'run("{path.name}"' in Path(__file__).read_text(encoding="utf-8")
    assert f"examples/{path.name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_timers_make_up_for_what_was_missed_and_an_event_starts_something(tmp_path: Path) -> None:
    """The failure of a timer's execution is heard of; every time is there, once."""
    assert [
        "execution_failed in report: NonRetryable: no figures for sales",
        "from one time to the next: {1} intervals, though nobody was there for three of them",
    ] == run("timers.py", tmp_path)
