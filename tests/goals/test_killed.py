"""Goals across deaths: of the process that counts, of the actor, of the runtime's name."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from typing import Any

from propolis.actors.goals.goal import GoalActor

from propolis import Runtime, RuntimeConfig
from propolis.messages import Event, EventFilter

from ..runtime.support import PATIENCE, until
from . import program

ROUNDS = 4


def stored(runtime: Runtime, *types: str) -> tuple[Event, ...]:
    """Events of these types."""
    found: tuple[Event, ...] = runtime.read(lambda store: store.events_after(0, EventFilter(types=types), 100_000)).get(
        timeout=PATIENCE
    )
    return found


def test_killed_at_any_move_of_a_goal_everything_is_counted_and_published_once(file_store: str) -> None:
    """Verdicts, breaches, the achievement: each is in the commit that moves the row, or is not said at all."""
    command = [sys.executable, "-m", "tests.goals.program", file_store, str(ROUNDS)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert [-signal.SIGKILL] * ROUNDS == json.loads(ran.stdout)
    total = ROUNDS * program.EACH_ROUND
    with Runtime(file_store) as runtime:
        stream = program.open_work(runtime)
        for round in range(ROUNDS):
            for call in program.run_round(stream, round):
                execution = call.get(timeout=PATIENCE)
                stream.wait_for_completion(execution).get(timeout=PATIENCE)
        until(lambda: total == runtime.goal_progress("g").get(timeout=PATIENCE).criteria[0].observed)
        progress = runtime.goal_progress("g").get(timeout=PATIENCE)
        assert (total, total, total) == (progress.completed, progress.decisions, progress.outcomes)
        assert (0.5, total // 3) == (progress.criteria[0].share, progress.constraints[0].broken)
        until(lambda: progress.seq <= (runtime.read(lambda s: s.get_goal("g")).get(timeout=PATIENCE)).tally.seq)
        verdicts = Counter(event.execution_id for event in stored(runtime, "goal_verdict"))
        assert (total, {1}) == (len(verdicts), set(verdicts.values()))
        broken = Counter(event.data["about_seq"] for event in stored(runtime, "constraint_violation"))
        assert (total // 3, {1}) == (len(broken), set(broken.values()))
        assert 1 == len(stored(runtime, "goal_achieved"))


def test_a_goal_actor_that_crashes_goes_on_where_its_row_stands(file_store: str, monkeypatch: Any) -> None:
    """It keeps nothing else; the runtime lives on."""
    crashes = []
    settle = GoalActor._settle

    def failing(self: GoalActor, *args: Any) -> None:
        if len(crashes) < 2:
            crashes.append(args)
            raise OSError("crash")
        settle(self, *args)

    with Runtime(file_store) as runtime:
        stream = program.open_work(runtime)
        monkeypatch.setattr(GoalActor, "_settle", failing)
        for call in program.run_round(stream, 0):
            stream.wait_for_completion(call.get(timeout=PATIENCE)).get(timeout=PATIENCE)
        until(lambda: program.EACH_ROUND == runtime.goal_progress("g").get(timeout=PATIENCE).criteria[0].observed)
        assert 2 == len(crashes)
        assert program.EACH_ROUND == len(stored(runtime, "goal_verdict"))
        tree = runtime.supervision_tree().get(timeout=PATIENCE).actors
        assert 2 == next(actor.restarts for actor in tree if actor.path == "runtime/goal:g")


def declare_lost(runtime: Runtime, name: str) -> None:
    """As a peer does that takes it for dead."""
    runtime._running().threads.write(lambda store: store.forget([name])).get(timeout=PATIENCE)


def test_a_runtime_that_was_declared_lost_counts_on_under_its_new_name(file_store: str) -> None:
    """The goal is nobody's then, and the next one's who moves it."""
    with Runtime(file_store) as runtime:
        stream = program.open_work(runtime)
        for round in range(2):
            for call in program.run_round(stream, round):
                stream.wait_for_completion(call.get(timeout=PATIENCE)).get(timeout=PATIENCE)
            count = program.EACH_ROUND * (round + 1)
            until(lambda count=count: count == len(stored(runtime, "goal_verdict")))
            was = runtime.stats().get(timeout=PATIENCE).runtime_id
            if round == 0:
                declare_lost(runtime, was)
                until(lambda was=was: was != runtime.stats().get(timeout=PATIENCE).runtime_id)
        assert 1 == len(stored(runtime, "goal_achieved"))


def test_what_retention_deletes_has_been_counted(file_store: str) -> None:
    """Everything goes as soon as it may; the numbers are those of all that there was."""
    config = RuntimeConfig(session_retention_max=0, event_retention_max=0, retention_every_seconds=0.05)
    with Runtime(file_store, config=config) as runtime:
        stream = program.open_work(runtime)
        for round in range(4):
            for call in program.run_round(stream, round):
                stream.wait_for_completion(call.get(timeout=PATIENCE)).get(timeout=PATIENCE)
        total = 4 * program.EACH_ROUND
        until(lambda: total == runtime.goal_progress("g").get(timeout=PATIENCE).criteria[0].observed)
        until(lambda: not runtime.sessions().get(timeout=PATIENCE))
        progress = runtime.goal_progress("g").get(timeout=PATIENCE)
        assert (total, total, total // 3) == (progress.completed, progress.outcomes, progress.constraints[0].broken)
