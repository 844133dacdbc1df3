"""Whole runtimes in drawn worlds: nothing that is promised is broken, and a seed reproduces exactly."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from propolis.testing import Faults

from .workload import explore

BATCHES = 8
SEEDS = 5
"""Of each batch, in `make test`."""

FULL = 5_000
"""Seeds in `make chaos`."""

FOUND = {
    17: "a slot was granted to an actor that crashed with the grant at hand",
    35: "a write was refused because the writer crashed at it, and its execution was left to nobody",
    42: "a stream crashed with the news of an end at hand, and waited for it for ever",
    55: "a resume was under way when the stream crashed, and was never answered",
    90: "a stream had crashed, and the runtime ended before it was restarted: nobody told those who waited",
    2035: "the history of a run could not be read, and its execution was left to nobody",
    3026: "an execution asked again for its slot, and a new instance of the stream counted it twice",
    4051: "an actor crashed while it wrote an end without a slot, and ran again without one",
    1092: "two replays of one execution: the second one was told of a stale writer",
}
"""Seeds that have found a bug. The order of things is another one since then; the worlds are still worth a visit."""


TROUBLE = (
    None,
    Faults(actor_crash=0.02),
    Faults(actor_crash=0.004, read_refused=0.1),
    Faults(commit_refused=0.3, commit_in_doubt=0.3, outage=0.03, read_refused=0.1, store_seconds=0.2),
    Faults(store_seconds=0.2, actor_crash=0.01),
)
"""Kinds of it, in turn; None: some, as it is drawn."""


def length_of(seed: int) -> int:
    """Of seeds from 10,000 on, each tenth is a long run."""
    return 20 if seed >= 10_000 and seed % 10 == 0 else 4


def explored(seeds: range) -> Counter[str]:
    """What happened in all of these."""
    return sum((explore(seed).seen for seed in seeds), Counter())


@pytest.mark.parametrize("batch", range(BATCHES))
def test_nothing_that_is_promised_is_broken_in_any_order(batch: int) -> None:
    """The invariants are checked after every step; a failure has its seed in its notes."""
    seen = explored(range(batch * SEEDS, (batch + 1) * SEEDS))
    assert all(seen[what] for what in ("acknowledged", "heard completed", "begun again", "checkpoints", "events")), seen


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_once_is_mended(seed: int) -> None:
    """See `FOUND`."""
    explore(seed)


FOUND_CRASHING = {
    26: "the writer crashed, and its successor did not look at the turns on sessions again",
    3: "a subscription was under way when the EventActor crashed, and was never answered",
    3075: "the writer crashed over a read that a stream could not do without, and an execution was waited for for ever",
    30362: "a takeover landed in a stream that was stopping, which waited for what had come to it for ever",
    30094: "a lease was lost with a fence in doubt, and what was under way when the stream crashed was never answered",
    21211: "the writer crashed over the end of an attempt that was to be parked, and nobody went on with it",
    21218: "a slot was granted while its execution, which had crashed, asked for it anew",
    20181: "a stream took in what a takeover had brought it meanwhile, and crashed before it answered",
    20230: "an execution was replayed while another one had its session, and both were at work",
    20020: "of two executions side by side on one session, one was taken over with the checkpoint of the other",
    12863: "a lease was lost while an actor that had crashed looked at its row, and it wrote under its former name",
    3091: "a checkpoint was committed and its actor crashed before it knew: steps of before it ran again",
}
"""The same, with actors that crash all the time."""


def test_a_cancel_is_not_said_of_what_another_runtime_has_completed() -> None:
    """The runtime that was asked had lost its lease before it could write the end; found with a store that fails."""
    explore(40_109, faults=TROUBLE[3])


def test_what_an_actor_crashes_over_may_be_the_word_of_a_new_stream() -> None:
    """Which took it for a running execution, and gave it no slot when it asked for one; it waited for ever."""
    explore(10_840, faults=TROUBLE[4], operations=length_of(10_840))


def test_a_stream_that_crashes_over_its_takeover_after_a_lost_lease_knows_whom_it_has_not_begun() -> None:
    """What was left of them from before the lease was lost, and had yet to hear of that, was taken for them."""
    explore(10_110, faults=TROUBLE[1], operations=length_of(10_110))


def test_who_waits_for_room_comes_in_for_those_that_are_let_go_of_after_a_lost_lease() -> None:
    """It got its place, and its row was not written: the room was nobody's, and its caller waited for ever."""
    explore(12_250, faults=TROUBLE[0], operations=length_of(12_250))


def test_one_that_runs_beside_another_does_not_set_back_its_memory() -> None:
    """It wrote all that it knew of the session, and the other one was replayed with its steps and an older memory."""
    explore(12_335, faults=TROUBLE[3], operations=length_of(12_335))


def test_who_took_a_session_and_crashed_before_it_heard_its_memory_is_told_once_more() -> None:
    """It began with none, and what it committed took away all that others had written."""
    explore(13_693, faults=TROUBLE[4], operations=length_of(13_693))


def test_a_stream_that_crashes_between_two_pages_of_its_first_takeover_finds_the_second_one() -> None:
    """It had found some, and so did not ask for what its runtime owned: nobody ran what came with the second page."""
    explore(10_750, faults=TROUBLE[0], operations=length_of(10_750))


@pytest.mark.parametrize("seed", FOUND_CRASHING)
def test_what_was_found_with_crashes_of_actors_is_mended(seed: int) -> None:
    """See `FOUND_CRASHING`."""
    explore(seed, faults=Faults(actor_crash=0.02), operations=length_of(seed))


@pytest.mark.chaos
@pytest.mark.parametrize("batch", range(100))
def test_thousands_of_worlds(batch: int) -> None:
    """As above, with longer runs and with each kind of trouble."""
    size = FULL // 100
    for seed in range(10_000 + batch * size, 10_000 + (batch + 1) * size):
        explore(seed, faults=TROUBLE[seed // 10 % len(TROUBLE)], operations=length_of(seed))


def test_the_same_seed_gives_the_same_run() -> None:
    """Step by step, whatever else this process did before."""
    first = explore(3)
    assert first.digest == explore(3).digest
    assert first.digest != explore(4).digest


def test_a_seed_reproduces_in_another_process() -> None:
    """With another hash seed, other addresses, and nothing cached."""
    code = "from tests.simulation.workload import explore; print(explore(5).digest)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert explore(5).digest == other.stdout.strip()
