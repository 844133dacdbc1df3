"""Goals over ever so many decisions: what is kept of them does not grow."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from propolis.actors.goals import Fold, progress_of
from propolis.actors.goals.goal import PAGE

from propolis import EntryPoint, Runtime, Stream
from propolis.actors import rss_of
from propolis.messages import AppendEvents, Event, GoalRow, encode

from ..runtime.support import PATIENCE, until
from . import flood

MEGABYTE = 1024 * 1024


def counted(fold: Fold, events: Iterable[Event]) -> int:
    """Count them; the bytes that are held for it, and were not before."""
    gc.collect()
    tracemalloc.start()
    for event in events:
        fold.take(event)
    gc.collect()
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * MEGABYTE  # what waits for the garbage collector
    return held


def test_a_fold_holds_no_more_after_many_decisions_than_after_few() -> None:
    """In bytes, as they are allocated; and what it writes down is as long, but for the digits."""
    fold = Fold(flood.GOAL)
    stream = flood.events(2_000)
    few = counted(fold, itertools.islice(stream, 1_000))
    written = len(encode(fold.tally()))
    many = counted(fold, stream)
    assert many < few + 10_000, (few, many)
    assert len(encode(fold.tally())) < written + 100
    progress = progress_of(flood.GOAL, fold.tally())
    assert (2_000, 2_000, 1_500, 6_000) == (
        progress.decisions,
        progress.outcomes,
        progress.successes,
        progress.tokens,
    )
    assert (True, True) == tuple(criterion.met for criterion in progress.criteria)
    assert 180 == progress.constraints[0].broken


def row(runtime: Runtime) -> GoalRow:
    """What is kept of the goal."""
    found: GoalRow = runtime.read(lambda store: store.get_goal("flood")).get(timeout=PATIENCE)
    return found


def decided(stream: Stream, begin: int, end: int, each: int) -> None:
    """So many decisions of executions that run side by side."""
    calls = [stream.run({"begin": n, "end": n + each}) for n in range(begin, end, each)]
    for call in calls:
        assert call.get(timeout=PATIENCE * 4).success


def held_by(actor: Any, beyond: set[int]) -> int:
    """Bytes of what hangs on an actor, without what others hold too."""
    seen, waiting, size = set(beyond), [vars(actor)], 0
    while waiting:
        each = waiting.pop()
        if id(each) not in seen:
            seen.add(id(each))
            size += sys.getsizeof(each)
            if isinstance(each, (dict, list, tuple, set)):
                waiting += gc.get_referents(each)
    return size


def test_thousands_of_decisions_of_real_executions_are_counted_in_little_room() -> None:
    """Each once, by pages; its actor and its row are no larger behind them."""
    with Runtime() as runtime:
        point = EntryPoint(id="flood", max_concurrent=20)
        stream = runtime.open_stream(point, flood.decide, goal=flood.GOAL).get(timeout=PATIENCE)
        actor = runtime.ref.actor_inbox.children["goal:flood"].actor
        decided(stream, 0, 200, each=20)
        until(lambda: 200 == row(runtime).tally.outcomes)
        few, written = held_by(actor, set()), len(encode(row(runtime).tally))
        decided(stream, 200, 2_000, each=100)
        until(lambda: 2_000 == row(runtime).tally.outcomes)
        assert held_by(actor, set()) < few + 500
        assert len(encode(row(runtime).tally)) < written + 1_500  # the latest breaches are twenty by now
        progress = runtime.goal_progress("flood").get(timeout=PATIENCE)
        assert (2_000, 2_000, 1_500, 180) == (
            progress.decisions,
            progress.outcomes,
            progress.successes,
            progress.constraints[0].broken,
        )


def some_outcomes(count: int) -> Iterator[Event]:
    """So many decisions, and the outcomes of a tenth of them."""
    outcomes = itertools.count()
    return (each for each in flood.events(count) if each.type == "decision_made" or next(outcomes) % 10 == 0)


@pytest.mark.chaos
def test_a_million_decisions_leave_the_memory_of_a_runtime_flat(tmp_path: Path) -> None:
    """In a file, counted while they come: what the process holds is told by the system."""
    million, batch = 1_000_000, 1_000
    held: list[int] = []
    with Runtime(f"sqlite:///{tmp_path}/store.db") as runtime:
        point = EntryPoint(id="flood")
        runtime.open_stream(point, flood.decide, goal=flood.GOAL).get(timeout=PATIENCE)
        decisions = (event.model_copy(update={"seq": None}) for event in some_outcomes(million))
        for n in range(million * 11 // 10 // batch):
            some = tuple(itertools.islice(decisions, batch))
            runtime.sessions_ref.ask(AppendEvents(events=some), block=False).get(timeout=PATIENCE * 4)
            until(lambda n=n: (n + 1) * batch - row(runtime).tally.seq < 40 * PAGE)
            if n % 100 == 99:
                held.append(rss_of(os.getpid()) or 0)
        until(lambda: row(runtime).tally.decisions == million, patience=PATIENCE * 4)
        held.append(rss_of(os.getpid()) or 0)
        progress = runtime.goal_progress("flood").get(timeout=PATIENCE)
    sys.stdout.write(f"megabytes held: {[round(each / MEGABYTE, 1) for each in held]}\n")
    assert (million, million // 10) == (progress.decisions, progress.outcomes)
    assert max(held) - held[1] < 20 * MEGABYTE, held


@pytest.mark.chaos
def test_a_million_decisions_are_measured_without_a_runtime_in_flat_memory() -> None:
    """The pure fold; what the process holds is told by the system."""
    fold, held = Fold(flood.GOAL), []
    for n, event in enumerate(some_outcomes(1_000_000)):
        fold.take(event)
        if n % 100_000 == 99_999:
            held.append(rss_of(os.getpid()) or 0)
    sys.stdout.write(f"megabytes held: {[round(each / MEGABYTE, 1) for each in held]}\n")
    assert (1_000_000, 100_000) == (fold.tally().decisions, fold.tally().outcomes)
    assert max(held) - held[0] < 5 * MEGABYTE, held
