"""What every store promises of shared memory. Run as `contract.py` is."""

from __future__ import annotations

from typing import Any

from propolis.actors.stores import Store

from propolis.messages import (
    ChangeState,
    EventFilter,
    GetState,
    Payload,
    RecordedStep,
    StaleWriter,
    StateChange,
    StateEntry,
    StateWritten,
)

from .builders import START, Client, advance, opening

MISSING: Any = object()


def changing(
    values: dict[str, Any],
    *,
    execution_id: str | None = "e1",
    epoch: int = 1,
    based_on: int | None = None,
    strict: bool = False,
    call: int | None = None,
    scope: Any = "global",
    **fields: Any,
) -> ChangeState:
    """A change of these keys, with a step where a `call` is given. MISSING deletes."""
    changes = tuple(
        StateChange(key=key, value=None if value is MISSING else Payload.of(value), based_on=based_on)
        for key, value in values.items()
    )
    own = {} if execution_id is None else {"execution_id": execution_id, "expected_epoch": epoch, "run": execution_id}
    step = None if call is None else RecordedStep(kind="state", name="x", call=call, value=Payload.of(values))
    return ChangeState(
        scope=scope, changes=changes, strict=strict, at=START, stream_id="hook", step=step, **own, **fields
    )


def state(store: Store, scope: Any = "global", stream_id: str = "hook") -> dict[str, tuple[Any, int]]:
    """Values and versions."""
    (found,) = store.read_state((GetState(scopes=(scope,), stream_id=stream_id),))
    return {entry.key: (entry.value, entry.version) for entry in found.entries}


def told(store: Store) -> list[tuple[str, Any, Any]]:
    """What events say: type, key, version."""
    events = store.events_after(0, EventFilter(types=("state_changed", "state_conflict")), 1_000)
    return [(event.type, event.data["key"], event.data["version"]) for event in events]


class StateContract:
    """Keys with versions, changes that fit or do not, and their history."""

    def test_a_change_is_there_with_its_version_its_step_and_its_event(self, store: Store) -> None:
        """All of one transaction; each scope for itself."""
        client = Client(store)
        client.opened(opening("e1"))
        done = client.one(changing({"a": 1, "b": None}, call=0))
        assert isinstance(done, StateWritten)
        assert (True, [("a", 1), ("b", 1)]) == (done.written, [(each.key, each.version) for each in done.entries])
        client.one(changing({"a": 2}, scope="stream", call=1))
        assert {"a": (1, 1), "b": (None, 1)} == state(store)
        assert {"a": (2, 1)} == state(store, "stream")
        assert {} == state(store, "stream", "another")
        assert [("state_changed", "a", 1), ("state_changed", "b", 1), ("state_changed", "a", 1)] == told(store)
        assert {0, 1} == {step.call for step in store.history("e1").steps}

    def test_a_key_that_was_deleted_is_not_there_and_its_version_goes_on(self, store: Store) -> None:
        """So whoever has seen it before knows that it is another."""
        client = Client(store)
        for value in (1, MISSING, 3):
            client.one(changing({"k": value}, execution_id=None))
            expected = {} if value is MISSING else {"k": (value, 1 if value == 1 else 3)}
            assert expected == state(store)
        history = store.state_history("global", "", "k")
        assert [(3, 3, True), (2, None, False), (1, 1, True)] == [(e.version, e.value, e.exists) for e in history]

    def test_a_strict_change_that_does_not_fit_touches_nothing_and_says_what_is_there(self, store: Store) -> None:
        """All of its keys or none."""
        client = Client(store)
        client.opened(opening("e1"))
        client.one(changing({"a": 1}, execution_id=None))
        refused = client.one(changing({"a": 5, "b": 5}, based_on=0, strict=True, call=0))
        assert (False, [(1, 1), (None, 0)]) == (refused.written, [(e.value, e.version) for e in refused.entries])
        assert ({"a": (1, 1)}, ()) == (state(store), store.history("e1").steps)
        assert client.one(changing({"a": 5}, based_on=1, strict=True, call=0)).written
        assert {"a": (5, 2)} == state(store)

    def test_of_several_in_a_batch_each_sees_what_the_one_before_has_done(self, store: Store) -> None:
        """In their order, refused ones too, with other writes between them."""
        client = Client(store)
        client.opened(opening("e1"), opening("e2"))
        writes = [
            changing({"n": 1}, based_on=0, strict=True, call=0),
            changing({"n": 1}, based_on=0, strict=True, execution_id="e2", call=0),
            advance("e2", "running", to_epoch=2, attempt=2),
            changing({"n": 2}, based_on=1, strict=True, call=1),
            changing({"n": 9}, based_on=2, strict=True, execution_id="e2", call=0),  # of an epoch that is over
            changing({"n": 3}, based_on=2, strict=True, execution_id="e2", epoch=2, call=0),
        ]
        outcomes: list[Any] = client.commit(*writes)
        assert isinstance(outcomes[4], StaleWriter)
        del outcomes[4], outcomes[2]
        assert [True, False, True, True] == [outcome.written for outcome in outcomes]
        assert {"n": (3, 3)} == state(store)
        assert [("state_changed", "n", n) for n in (1, 2, 3)] == told(store)
        events = store.events_after(0, EventFilter(), 100)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))

    def test_a_change_whose_step_is_recorded_is_made_once(self, store: Store) -> None:
        """Whoever makes it again is told what it gave: later, or in the same batch."""
        client = Client(store)
        client.opened(opening("e1"))
        again = changing({"n": 1}, call=0)
        for outcomes in (
            client.commit(again, again),
            client.commit(again),
            client.commit(changing({"n": 5}, call=1), again),
        ):
            for outcome in outcomes:
                assert isinstance(outcome, StateWritten)
                assert outcome.written
        assert {"n": (5, 2)} == state(store)
        recorded: Any = client.one(changing({"n": 7}, call=0))
        assert ({"n": 1}, ()) == (recorded.recorded.value.value(), recorded.entries)
        assert [("state_changed", "n", 1), ("state_changed", "n", 2)] == told(store)

    def test_what_is_overwritten_unseen_is_told_unless_it_was_ones_own(self, store: Store) -> None:
        """Before the change that it is about."""
        client = Client(store)
        client.opened(opening("e1"), opening("e2"))
        client.one(changing({"n": 1}))
        client.one(changing({"n": 2}, based_on=0))
        client.one(changing({"n": 3}, based_on=1, execution_id="e2"))
        client.one(changing({"n": 4}, based_on=3, execution_id="e1"))
        kinds = [("state_changed", "n", 1), ("state_changed", "n", 2), ("state_conflict", "n", 3)]
        assert [*kinds, ("state_changed", "n", 3), ("state_changed", "n", 4)] == told(store)

    def test_history_is_bounded(self, store: Store) -> None:
        """The last ones, in one batch or in many; of each key for itself."""
        client = Client(store)
        client.commit(
            *[changing({"a": n, "b": 0} if n == 1 else {"a": n}, execution_id=None, keep=3) for n in range(1, 8)]
        )
        assert [7, 6, 5] == [entry.version for entry in store.state_history("global", "", "a")]
        client.one(changing({"a": 8}, execution_id=None, keep=3))
        assert [8, 7, 6] == [entry.version for entry in store.state_history("global", "", "a")]
        assert [8, 7] == [entry.value for entry in store.state_history("global", "", "a", limit=2)]
        assert [1] == [entry.version for entry in store.state_history("global", "", "b")]

    def test_everything_is_listed_with_whose_it_is(self, store: Store) -> None:
        """Global keys first."""
        client = Client(store)
        client.opened(opening("e1"))
        client.commit(changing({"k": 1}, scope="stream"), changing({"z": 2}), changing({"a": MISSING}))
        entries = [
            StateEntry(
                scope="global", key="z", value_payload=Payload.of(2), version=1, execution_id="e1", changed_at=START
            ),
            StateEntry(
                scope="stream", stream_id="hook", key="k", value_payload=Payload.of(1), version=1, execution_id="e1",
                changed_at=START,
            ),
        ]  # fmt: skip
        assert entries == list(store.list_state())
        assert entries[:1] == list(store.list_state(limit=1))
