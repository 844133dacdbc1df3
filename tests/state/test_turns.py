"""The lines of those who want to change a key: pure."""

from __future__ import annotations

from propolis.actors.records.state_turns import Lines, Place, Ticket

from propolis.messages import Payload, StateEntry

PLACE = Place("global", "", "k")
ONE, TWO = Ticket("e1", 1, 1), Ticket("e2", 1, 1)


def entry(version: int) -> StateEntry:
    """The key in a version."""
    return StateEntry(scope="global", key="k", value_payload=Payload.of(version), version=version)


def test_a_change_that_is_on_its_way_is_what_the_next_turn_begins_with() -> None:
    """The line is idle when all have landed."""
    lines = Lines()
    line = lines.at(PLACE)
    line.holder = ONE
    generation = line.sent(ONE, entry(1))
    assert (None, entry(1), False) == (line.holder, line.tip, line.is_idle)
    lines.clear(PLACE)
    assert line is lines.get(PLACE)
    line.landed(generation, written=True, now=None)
    assert (entry(1), True) == (line.tip, line.is_idle)
    lines.clear(PLACE)
    assert 0 == len(lines)


def test_a_change_that_was_refused_takes_with_it_what_was_built_on_it_once() -> None:
    """The second refusal of the same generation must not undo what was found since."""
    line = Lines().at(PLACE)
    first, second = line.sent(None, entry(1)), line.sent(None, entry(2))
    line.landed(first, written=False, now=entry(7))
    assert entry(7) == line.tip
    third = line.sent(None, entry(8))
    line.landed(second, written=False, now=entry(7))
    assert entry(8) == line.tip
    line.landed(third, written=True, now=None)
    assert entry(8) == line.tip


def test_who_leaves_is_found_wherever_it_stands() -> None:
    """In a line, at its head, in several lines."""
    lines = Lines()
    other = Place("stream", "s", "k")
    lines.at(PLACE).holder = ONE
    lines.at(PLACE).waiting.append(TWO)
    lines.at(other).waiting.append(ONE)
    assert [(PLACE, ONE), (other, ONE)] == [(place, ticket) for place, _, ticket in lines.of("e1")]
    for _, line, ticket in list(lines.of("e1")):
        line.leave(ticket)
    assert (None, [TWO]) == (lines.at(PLACE).holder, list(lines.at(PLACE).waiting))
    assert not lines.at(other).waiting
    lines.at(PLACE).leave(ONE)  # once more
