"""What every store promises about the rows of triggers."""

from __future__ import annotations

from datetime import timedelta

from propolis.actors.stores import Store

from propolis.messages import AppendEvents, EventFilter, Moved, MoveTrigger, OpenTrigger, TriggerKind

from .builders import START, Client, advance, event, opening

LATER = START + timedelta(hours=1)


def opened(
    kind: TriggerKind = "timer", shape: str = "delay", position: int | None = 5, **fields: object
) -> OpenTrigger:
    """A trigger that is opened."""
    return OpenTrigger(entry_point="t", kind=kind, shape=shape, at=START, position=position).model_copy(update=fields)


def moved(expected: int, position: int | None, shape: str = "delay", events: int = 0) -> MoveTrigger:
    """One that moves on."""
    return MoveTrigger(
        entry_point="t",
        shape=shape,
        expected=expected,
        position=position,
        at=LATER,
        events=tuple(event(f"e{n}") for n in range(events)),
    )


class TriggersContract:
    """Rows that begin, move on, and begin anew."""

    def test_a_trigger_begins_once_and_whoever_opens_it_gets_its_row(self, store: Store) -> None:
        """Two runtimes, two positions: the first counts."""
        one, two = Client(store), Client(store, "r2")
        (row,) = one.commit(opened())
        assert [row] == two.commit(opened(position=77, at=LATER))
        assert (row,) == store.list_triggers()
        assert row == store.get_trigger("t")
        assert ("timer", "delay", START, 5) == (row.kind, row.shape, row.began_at, row.position)  # type: ignore[union-attr]
        assert store.get_trigger("u") is None

    def test_another_shape_begins_anew(self, store: Store) -> None:
        """At its own position, and its own time."""
        client = Client(store)
        client.commit(opened())
        (row,) = client.commit(opened(shape="cron", position=9, at=LATER))
        assert ("cron", LATER, 9) == (row.shape, row.began_at, row.position)  # type: ignore[union-attr]

    def test_a_move_happens_from_where_it_stands_only(self, store: Store) -> None:
        """Its events are committed with it, or not at all; their numbers have no gap."""
        client = Client(store)
        client.commit(opened())
        outcomes = client.commit(moved(5, 8, events=2), moved(5, 9, events=3), moved(8, 10, shape="other", events=1))
        assert [Moved(first_seq=1), None, None] == outcomes
        assert ["e0", "e1"] == [e.type for e in store.events_after(0, EventFilter())]
        assert 2 == store.last_seq()
        row = store.get_trigger("t")
        assert row is not None
        assert (8, LATER) == (row.position, row.updated_at)
        assert [Moved()] == client.commit(moved(8, None))
        assert [None] == client.commit(moved(8, 9))

    def test_an_event_trigger_without_a_position_begins_behind_the_last_event(self, store: Store) -> None:
        """Those of the same batch that come after it are not behind it."""
        client = Client(store)
        client.commit(AppendEvents(events=(event(), event())))
        first = AppendEvents(events=(event(),))
        _, row, _ = client.commit(first, opened("event", "now", None), opening("e1", events=4))
        assert 3 == row.position  # type: ignore[union-attr]
        assert 7 == store.last_seq()

    def test_an_event_trigger_of_another_shape_without_a_position_stays_where_it_is(self, store: Store) -> None:
        """Other events in the code are no reason to miss any."""
        client = Client(store)
        client.commit(opened("event", "from 0", 0), AppendEvents(events=(event(), event())))
        (row,) = client.commit(opened("event", "now", None))
        assert ("now", 0) == (row.shape, row.position)  # type: ignore[union-attr]
        (row,) = client.commit(opened("event", "from 1", 1))
        assert 1 == row.position  # type: ignore[union-attr]

    def test_a_timer_that_becomes_an_event_trigger_has_no_seq_to_go_on_from(self, store: Store) -> None:
        """Its position was a time."""
        client = Client(store)
        client.commit(opened(position=1_000_000), AppendEvents(events=(event(),)))
        (row,) = client.commit(opened("event", "now", None))
        assert ("event", 1) == (row.kind, row.position)  # type: ignore[union-attr]


class PruningContract:
    """What is found to be old enough to go, and what must stay for a trigger's sake."""

    def test_what_a_timer_has_fired_and_does_not_know_yet_stays_until_it_does(self, store: Store) -> None:
        """Its row still stands at that time: without the execution it would fire again."""
        client = Client(store)
        client.commit(opened(position=5), opening("e1", key="timer:5", entry_point="t"), opening("e2", entry_point="t"))
        client.commit(advance("e1"), advance("e2"))
        bounds = store.retention_bounds(keep_sessions=0, keep_events=None, now=LATER)

        def expired() -> tuple[object, ...]:
            return store.expired_sessions(bounds, before=None, after=0, limit=100).ids

        assert ("e2",) == expired()
        assert 0 == store.prune_sessions(["e1"], bounds)
        client.commit(moved(5, 6))
        assert ("e1", "e2") == expired()
        assert 1 == store.prune_sessions(["e1"], bounds)
        assert store.get_session("e1") is None

    def test_a_session_that_was_taken_up_between_the_look_and_the_deletion_stays(self, store: Store) -> None:
        """The deletion looks again."""
        client = Client(store)
        client.commit(opening("e1", events=1))
        client.commit(advance("e1"))
        bounds = store.retention_bounds(keep_sessions=0, keep_events=0, now=LATER)
        assert ("e1",) == store.expired_sessions(bounds, before=None, after=0, limit=100).ids
        client.commit(opening("x1", session_id="e1", origin="join"))
        assert 0 == store.prune_sessions(["e1", "nobody"], bounds)
        assert store.get_session("e1") is not None
        assert 0 == store.pruned_seq()

    def test_pages_end_where_nothing_is_old_enough(self, store: Store) -> None:
        """By age and by number; the rest is not looked at."""
        client = Client(store)
        for n in range(6):
            client.commit(opening(f"e{n}", events=2))
            client.commit(advance(f"e{n}"))
        bounds = store.retention_bounds(keep_sessions=2, keep_events=5, now=LATER)
        first = store.expired_sessions(bounds, before=None, after=0, limit=3)
        second = store.expired_sessions(bounds, before=None, after=first.next or 0, limit=2)
        third = store.expired_sessions(bounds, before=None, after=second.next or 0, limit=3)
        assert [("e0", "e1", "e2"), ("e3",), ()] == [page.ids for page in (first, second, third)]
        assert third.next is None
        events = store.expired_events(bounds, before=None, after=0, limit=100)
        assert tuple(range(1, 8)) == events.ids
        assert 7 == store.prune_events(events.ids)
        assert 7 == store.pruned_seq()
        assert 0 == store.prune_events([3])
        assert 7 == store.pruned_seq()
