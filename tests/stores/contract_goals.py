"""What every store promises about goals and decisions."""

from __future__ import annotations

from typing import Any

from propolis.actors.stores import Store

from propolis.messages import (
    AppendEvents,
    EventFilter,
    GoalProgress,
    GoalTally,
    LeaveGoal,
    Moved,
    MoveGoal,
    OpenGoal,
    Payload,
    RecordedStep,
    RecordSteps,
)

from .builders import START, Client, advance, event, opening
from .contract_triggers import LATER


def opened(stream: str = "hook", shape: str = "s1", **fields: Any) -> OpenGoal:
    """A goal that a stream pursues."""
    return OpenGoal(goal_id="g", shape=shape, stream_id=stream, at=START).model_copy(update=fields)


def moved(expected: int, to: int, shape: str = "s1", events: int = 0) -> MoveGoal:
    """One that was counted further."""
    return MoveGoal(
        goal_id="g",
        shape=shape,
        expected=expected,
        at=LATER,
        tally=GoalTally(seq=to, completed=to),
        progress=GoalProgress(goal_id="g", seq=to),
        events=tuple(event(f"e{n}") for n in range(events)),
    )


def noted(kind: Any, value: Any, call: int = 0, name: str = "", run: str = "e1") -> RecordSteps:
    """A decision or an outcome of an execution."""
    step = RecordedStep(kind=kind, name=name, call=call, value=Payload.of(value))
    ids = {"session_id": run, "stream_id": "hook", "correlation_id": run}
    return RecordSteps(execution_id=run, expected_epoch=1, at=START, run=run, steps=(step,), **ids)


class GoalsContract:
    """Rows that begin with their first stream, are moved by one runtime at a time, and begin anew."""

    def test_a_goal_begins_behind_the_last_event_and_each_stream_where_it_joins(self, store: Store) -> None:
        """Opened again, nothing changes."""
        one, two = Client(store), Client(store, "r2")
        assert () == store.list_goals()
        one.commit(AppendEvents(events=(event(), event())))
        (row,) = one.commit(opened())
        assert (2, {"hook": 2}, None) == (row.tally.seq, dict(row.streams), row.owner)  # type: ignore[union-attr]
        two.commit(AppendEvents(events=(event(),)))
        (row,) = two.commit(opened("timer"))
        assert (2, {"hook": 2, "timer": 3}) == (row.tally.seq, dict(row.streams))  # type: ignore[union-attr]
        assert [row] == one.commit(opened(at=LATER))
        assert (row,) == store.list_goals()
        assert (row, None) == (store.get_goal("g"), store.get_goal("h"))

    def test_a_goal_moves_from_where_it_stands_only(self, store: Store) -> None:
        """Its events are committed with it, or not at all."""
        client = Client(store)
        client.commit(opened())
        outcomes = client.commit(moved(0, 7, events=2), moved(0, 8, events=3), moved(7, 8, shape="s2", events=1))
        assert [Moved(first_seq=1), None, None] == outcomes
        assert ["e0", "e1"] == [e.type for e in store.events_after(0, EventFilter())]
        row = store.get_goal("g")
        assert row is not None
        assert (GoalTally(seq=7, completed=7), GoalProgress(goal_id="g", seq=7)) == (row.tally, row.progress)
        assert ("r1", LATER) == (row.owner, row.updated_at)

    def test_a_goal_is_moved_by_its_owner_while_that_is_registered(self, store: Store) -> None:
        """Or has left it."""
        one, two = Client(store), Client(store, "r2")
        one.commit(opened(), moved(0, 1))
        assert [None] == two.commit(moved(1, 2))
        two.commit(LeaveGoal(goal_id="g"))
        assert [None] == two.commit(moved(1, 2))
        one.commit(LeaveGoal(goal_id="g"))
        assert [Moved()] == two.commit(moved(1, 2))
        assert [None] == one.commit(moved(2, 3))
        store.forget(["r2"])
        assert [Moved()] == one.commit(moved(2, 3))
        store.release("r1")
        assert [Moved()] == Client(store, "r3").commit(moved(3, 4))

    def test_a_goal_of_another_shape_is_counted_anew_from_its_first_stream_on(self, store: Store) -> None:
        """And belongs to nobody."""
        client = Client(store)
        client.commit(AppendEvents(events=(event(),)), opened(), opened("timer"), moved(1, 5))
        (row,) = client.commit(opened(shape="s2"))
        assert ("s2", None, GoalTally(seq=1), None) == (row.shape, row.owner, row.tally, row.progress)  # type: ignore[union-attr]

    def test_sessions_of_a_goal_are_those_of_its_streams_since_they_pursue_it(self, store: Store) -> None:
        """Joined with the other conditions."""
        client = Client(store)
        client.commit(opening("e0", events=1))
        client.commit(opened())
        client.commit(opening("e1", events=1), opening("e2", events=1), opening("x1", entry_point="other", events=1))
        client.commit(advance("e1"))
        assert ["e2", "e1"] == [each.session_id for each in store.list_sessions(goal="g")]
        assert ["e1"] == [each.session_id for each in store.list_sessions(goal="g", status="completed")]
        assert () == store.list_sessions(goal="h")

    def test_what_a_goal_has_yet_to_count_stays(self, store: Store) -> None:
        """Sessions and events; but not for ever, when nobody counts."""
        client = Client(store)
        client.commit(opened())
        client.commit(opening("e1", events=1))
        client.commit(advance("e1"), AppendEvents(events=(event(), event())))

        def expired(now: Any = LATER) -> tuple[Any, Any]:
            bounds = store.retention_bounds(keep_sessions=0, keep_events=0, now=now)
            given: Any = {"before": None, "after": 0, "limit": 100}
            return store.expired_sessions(bounds, **given).ids, store.expired_events(bounds, **given).ids

        last = store.last_seq()
        assert ((), ()) == expired()
        client.commit(moved(0, 2))
        assert (("e1",), (1, 2)) == expired()
        client.commit(moved(2, last))
        every = (("e1",), tuple(range(1, last + 1)))
        assert every == expired()
        client.commit(opened(shape="s2"))
        assert ((), ()) == expired()
        assert every == expired(now=LATER.replace(month=9))


class DecisionsContract:
    """Found by an id that says where they stand, and listed with their outcomes."""

    def test_a_decision_is_found_by_its_id(self, store: Store) -> None:
        """Among those of steps, too; an id that was never given is none."""
        client = Client(store)
        client.commit(opening("e1"))
        plain, within = "e1.d0.0", "e1.d0.0.0a1b2c3d"
        client.commit(
            noted("decision", {"decision_id": plain, "intent": "plain", "chosen": 1}),
            noted("decision", {"decision_id": within, "intent": "within", "chosen": 2}, name="step[0]/"),
        )
        found = [store.get_decision(id) for id in (plain, within)]
        assert [("plain", 1), ("within", 2)] == [(each.intent, each.chosen) for each in found if each is not None]
        assert START == found[0].made_at  # type: ignore[union-attr]
        for unknown in ("", "e1", "e1.d0.1", "e1.d1.0", "e2.d0.0", "e1.d0.0.ffffffff", "e1.d0." + "9" * 30):
            assert store.get_decision(unknown) is None

    def test_decisions_of_a_session_are_listed_with_their_outcomes(self, store: Store) -> None:
        """Those of other sessions are not; nor is a decision twice because a run was branched off."""
        client = Client(store)
        client.commit(opening("e1"), opening("e2"))
        for call, run in ((0, "e1"), (1, "e1"), (0, "e2")):
            client.commit(noted("decision", {"decision_id": f"{run}.d0.{call}", "intent": f"{call}"}, call, run=run))
        for call, decision in enumerate(("e1.d0.1", "e1.d0.1", "e2.d0.0")):
            client.commit(noted("outcome", {"decision_id": decision, "success": call == 1}, call))
        first, second = store.list_decisions("e1")
        assert ("0", (), "1") == (first.intent, first.outcomes, second.intent)
        assert [False, True] == [outcome["success"] for outcome in second.outcomes]
        assert 1 == len(store.list_decisions("e1", limit=1))
        assert ((), 1) == (store.list_decisions("nobody"), len(store.list_decisions("e2")))
