"""What every store promises. A store is run through it by a subclass that has a fixture `store`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from propolis.actors.stores import Committed, Store

from propolis.messages import (
    Advanced,
    AdvanceExecution,
    AppendEvents,
    ClearInbox,
    DeleteSession,
    EventFilter,
    ExecutionNotFound,
    ExecutionState,
    IdempotencyConflict,
    InvalidInput,
    LeaseLost,
    Opened,
    Payload,
    PostToInbox,
    ReleaseExecutions,
    SessionBusy,
    SessionNotFound,
    StaleWriter,
    StoreUnavailable,
    WorkerInfo,
    WorkersReport,
)

from .builders import START, Client, advance, event, opening, recorded, recovery, runtime_row, with_spec


class OpeningContract:
    """Opening executions: fresh, under a key, joining, resuming."""

    def test_what_was_opened_reads_as_it_was_given(self, store: Store) -> None:
        """Spec, state and the session that it opens."""
        client = Client(store)
        write = opening("e1", input_data={"t": (1, b"x")}, memory={"a": 1}, events=2)
        assert [Committed(first_seq=1)] == client.commit(write)
        state = ExecutionState.accepted(write.spec, "r1", START)
        assert (write.spec, state) == store.get_execution("e1")
        record = store.get_session("e1")
        assert record is not None
        assert ("active", "e1", {"t": (1, b"x")}, {"a": 1}, 0) == (
            record.status,
            record.execution_id,
            record.input_data,
            record.memory,
            record.revision,
        )
        assert (START, START) == (record.timestamps.started_at, record.timestamps.updated_at)

    def test_what_is_not_there_reads_as_none(self, store: Store) -> None:
        """Looking up is no error."""
        assert store.get_session("nobody") is None
        assert store.get_execution("nobody") is None
        assert store.find_idempotent("hook", "k") is None
        assert () == store.list_sessions() == store.list_executions() == store.inbox("r1") == store.runtimes()

    @pytest.mark.parametrize("count", [1, 2, 3, 127, 128, 129, 300])
    def test_a_batch_of_any_size_lands_whole(self, store: Store, count: int) -> None:
        """Rows go in by powers of two, 128 at most; what is filled up leaves no trace."""
        client = Client(store)
        ids = [f"e{i:04}" for i in range(count)]
        opened = client.opened(*[opening(own, events=1) for own in ids])
        assert list(range(1, count + 1)) == [outcome.first_seq for outcome in opened]
        advanced = client.commit(*[advance(own, progress={"at": own}, events=1) for own in ids])
        assert list(range(count + 1, 2 * count + 1)) == [outcome.first_seq for outcome in advanced]  # type: ignore[union-attr]
        assert ids == [spec.execution_id for spec, _ in reversed(store.list_executions(limit=1000))]
        assert {"completed": count} == store.count_executions()
        assert [{"at": own} for own in ids] == [s.progress for s in reversed(store.list_sessions(limit=1000))]
        assert 2 * count == len(store.events_after(0, EventFilter(), limit=1000)) == store.last_seq()

    def test_an_id_that_is_taken_is_refused_and_its_neighbours_land(self, store: Store) -> None:
        """The caller draws another; the first session is as it was."""
        client = Client(store)
        client.one(opening("e1", memory={"a": 1}))
        before = store.get_session("e1")
        good, bad, also_good = client.commit(opening("e2"), opening("e1", memory={"a": 2}), opening("e3"))
        assert isinstance(bad, SessionBusy)
        assert ("e1", "id_taken") == (bad.session_id, bad.reason)
        assert [Committed(None)] * 2 == [good, also_good]
        assert before == store.get_session("e1")

    def test_the_same_id_twice_in_a_batch_opens_one(self, store: Store) -> None:
        """The first of the two."""
        first, second = Client(store).commit(opening("e1", input_data=1), opening("e1", input_data=2))
        assert isinstance(first, Committed)
        assert isinstance(second, SessionBusy)
        found = store.get_execution("e1")
        assert found is not None
        assert 1 == found[0].input_data.value()

    # --- under a key ---

    def test_a_known_key_with_equal_input_answers_the_earlier_execution(self, store: Store) -> None:
        """Nothing is written; equal means equal values, whatever the order of keys."""
        client = Client(store)
        client.one(opening("e1", key="k", input_data={"a": 1, "b": 2}, events=1))
        again = client.one(opening("e2", key="k", input_data={"b": 2, "a": 1}, events=1))
        assert Opened(execution_id="e1", session_id="e1", duplicate=True) == again
        assert store.get_execution("e2") is None
        assert 1 == store.last_seq()
        found = store.find_idempotent("hook", "k")
        assert found is not None
        assert "e1" == found[0].execution_id

    def test_a_known_key_with_other_input_is_a_conflict(self, store: Store) -> None:
        """It names the execution that has the key."""
        client = Client(store)
        client.one(opening("e1", key="k", input_data=1))
        with pytest.raises(IdempotencyConflict) as caught:
            client.one(opening("e2", key="k", input_data=2))
        assert "e1" == caught.value.execution_id

    def test_a_known_key_for_another_session_or_memory_is_a_conflict(self, store: Store) -> None:
        """Alone and in a batch. Who asks again later may have newer code, and other ideas of when it is urgent."""
        client = Client(store)
        client.opened(opening("e0"), opening("e1", key="k"))
        client.opened(opening("e2", key="joined", session_id="e0", origin="join"))
        conflicts = {
            "session_id": opening("e3", key="k", session_id="e0", origin="join"),
            "memory": with_spec(opening("e3", key="k"), memory_digest=b"1"),
        }
        for differs, other in conflicts.items():
            for batch in ([other], [opening(f"e-{differs}"), other]):
                *_, conflict = client.commit(*batch)
                assert isinstance(conflict, IdempotencyConflict)
                assert ("e1", differs) == (conflict.execution_id, conflict.differs)
        (fresh,) = client.commit(opening("e4", key="joined"))
        assert isinstance(fresh, IdempotencyConflict)
        later = START + timedelta(hours=1)
        again = with_spec(opening("e4", key="k"), version="2", priority=3, deadline=later, correlation_id="again")
        assert "e1" == client.one(again).execution_id

    def test_a_key_belongs_to_its_entry_point(self, store: Store) -> None:
        """Another entry point may use it for something else, also in one batch."""
        client = Client(store)
        first, second = client.opened(
            opening("e1", key="k", input_data=1), opening("e2", key="k", input_data=2, entry_point="other")
        )
        assert [Committed(None)] * 2 == [first, second]

    def test_a_key_twice_in_one_batch_opens_one(self, store: Store) -> None:
        """Equal input is a duplicate, other input a conflict, and what stands between them lands."""
        one, two, three, four = Client(store).commit(
            opening("e1", key="k"), opening("e2", key="k"), opening("e3"), opening("e4", key="k", input_data="other")
        )
        assert isinstance(one, Committed)
        assert ("e1", True) == (two.execution_id, two.duplicate)  # type: ignore[union-attr]
        assert isinstance(three, Committed)
        assert isinstance(four, IdempotencyConflict)

    # --- joining ---

    def test_joining_an_unknown_session_is_refused(self, store: Store) -> None:
        """With every policy."""
        client = Client(store)
        with pytest.raises(SessionNotFound):
            client.one(opening("j", session_id="nobody", origin="join"))

    def test_a_join_of_a_free_session_starts_with_its_memory_and_keeps_its_owner(self, store: Store) -> None:
        """The session's record stays that of the execution that opened it."""
        client = Client(store)
        client.one(opening("e1", memory={"a": 1, "b": 1}))
        client.one(advance("e1", output="done", memory={"a": 2, "b": 2}))
        joined = client.one(opening("j", session_id="e1", origin="join", memory={"b": 3}))
        assert (True, {"a": 2, "b": 3}) == (joined.may_start, joined.memory.value())
        record = store.get_session("e1")
        assert record is not None
        assert ("e1", "completed", {"a": 2, "b": 3}) == (record.execution_id, record.status, record.memory)

    def test_a_join_waits_for_a_session_that_is_held(self, store: Store) -> None:
        """What it brings to the memory is put there when its turn comes, on top of what is there then."""
        client = Client(store)
        client.one(opening("e1", memory={"a": 1, "b": 1}))
        joined = client.one(opening("j", session_id="e1", origin="join", memory={"b": 9}, started=False, events=1))
        assert (False, None, 1) == (joined.may_start, joined.memory, joined.first_seq)
        client.one(advance("e1", memory={"a": 5, "b": 5}))
        claimed = client.one(advance("j", "running", epoch=0, session_id="e1", claim=True))
        assert {"a": 5, "b": 9} == claimed.memory.value()

    def test_the_reject_policy_refuses_a_session_that_is_held(self, store: Store) -> None:
        """And takes it once it is free."""
        client = Client(store)
        client.one(opening("e1"))
        with pytest.raises(SessionBusy):
            client.one(opening("j1", session_id="e1", origin="join", policy="reject"))
        assert store.get_execution("j1") is None
        client.one(advance("e1"))
        assert client.one(opening("j2", session_id="e1", origin="join", policy="reject")).may_start
        with pytest.raises(SessionBusy):
            client.one(opening("j3", session_id="e1", origin="join", policy="reject"))

    def test_the_parallel_policy_starts_beside_the_holder(self, store: Store) -> None:
        """And does not hold the session against others."""
        client = Client(store)
        client.one(opening("e1", memory={"a": 1}))
        joined = client.one(opening("j1", session_id="e1", origin="join", policy="parallel", memory={"b": 2}))
        assert (True, {"a": 1, "b": 2}) == (joined.may_start, joined.memory.value())
        client.one(advance("e1"))
        assert client.one(opening("j2", session_id="e1", origin="join")).may_start

    def test_memory_that_is_no_mapping_cannot_be_put_on_top(self, store: Store) -> None:
        """It is refused by itself."""
        client = Client(store)
        client.one(opening("e1", policy="parallel"))
        with pytest.raises(InvalidInput):
            client.one(opening("j", session_id="e1", origin="join", policy="parallel", memory=[1]))

    def test_a_join_with_the_id_of_another_execution_is_refused(self, store: Store) -> None:
        """An execution id is drawn again like a session id."""
        client = Client(store)
        client.one(opening("e1"))
        with pytest.raises(SessionBusy) as caught:
            client.one(opening("e1", session_id="e1", origin="join"))
        assert "id_taken" == caught.value.reason

    # --- resuming ---

    def test_a_resume_takes_the_session_over_from_its_start(self, store: Store) -> None:
        """The start counts as the first checkpoint: what was written after it is gone."""
        client = Client(store)
        client.one(opening("e1", memory={"a": 1}))
        client.one(advance("e1", "failed", memory={"a": 2}))
        resumed = client.one(opening("e2", session_id="e1", origin="resume", memory={"b": 1}))
        assert (True, {"a": 1, "b": 1}) == (resumed.may_start, resumed.memory.value())
        record = store.get_session("e1")
        assert record is not None
        assert ("e2", "active", {"a": 1, "b": 1}) == (record.execution_id, record.status, record.memory)

    def test_a_resume_starts_from_the_last_checkpoint(self, store: Store) -> None:
        """Or from it by name; a name that it does not have is not found."""
        client = Client(store)
        client.one(opening("e1"))
        client.one(advance("e1", "running", checkpoint=("cp1", {"at": 1})))
        client.one(advance("e1", "paused", checkpoint=("cp2", {"at": 2}), memory={"at": 3}))
        with pytest.raises(SessionNotFound) as caught:
            client.one(opening("e2", session_id="e1", origin="resume", checkpoint_id="cp1"))
        assert "cp1" == caught.value.checkpoint_id
        resumed = client.one(opening("e2", session_id="e1", origin="resume"))
        assert {"at": 2} == resumed.memory.value()
        client.one(advance("e2", "failed", session_id="e1", memory={"at": 4}))
        again = client.one(opening("e3", session_id="e1", origin="resume", checkpoint_id="cp2"))
        assert {"at": 2} == again.memory.value()

    def test_a_completed_session_is_resumed_only_from_a_named_checkpoint(self, store: Store) -> None:
        """Without a name there is nothing left to do."""
        client = Client(store)
        client.one(opening("e1"))
        client.one(advance("e1", checkpoint=("cp", {"at": 1})))
        with pytest.raises(SessionBusy, match="completed"):
            client.one(opening("e2", session_id="e1", origin="resume"))
        assert {"at": 1} == client.one(
            opening("e2", session_id="e1", origin="resume", checkpoint_id="cp")
        ).memory.value()

    @pytest.mark.parametrize("status", ["pending", "running", "restarting", "parked"])
    def test_a_session_that_is_active_is_not_resumed(self, store: Store, status: str) -> None:
        """Nor one that a joiner has."""
        client = Client(store)
        client.one(opening("e1"))
        client.one(advance("e1", status))  # type: ignore[arg-type]
        with pytest.raises(SessionBusy, match="still active"):
            client.one(opening("e2", session_id="e1", origin="resume"))
        client.one(advance("e1", "failed"))
        client.one(opening("j", session_id="e1", origin="join"))
        with pytest.raises(SessionBusy, match="has not ended"):
            client.one(opening("e2", session_id="e1", origin="resume"))


class AdvancingContract:
    """Changes of executions, and what belongs to the same moment."""

    def test_an_execution_ends_with_its_result(self, store: Store) -> None:
        """The session's status and result are those of its owner."""
        client = Client(store)
        client.one(opening("e1"))
        write = advance("e1", output={"label": "x"}, memory={"m": 1}, progress={"fraction": 1.0})
        assert Committed(first_seq=None) == client.one(write)
        assert vars(store.get_execution("e1")[1]).items() <= vars(write).items()  # type: ignore[index]
        record = store.get_session("e1")
        assert record is not None
        assert record.result is not None
        assert ("completed", {"label": "x"}, {"m": 1}, {"fraction": 1.0}, 1) == (
            record.status,
            record.result.output,
            record.memory,
            record.progress,
            record.revision,
        )

    def test_a_write_of_an_old_epoch_is_stale_and_leaves_its_neighbours_alone(self, store: Store) -> None:
        """It lands nowhere: no state, no memory, no event."""
        client = Client(store)
        client.opened(*[opening(f"e{i}", memory={}) for i in range(5)])
        client.one(advance("e2", "running", to_epoch=7))
        outcomes = client.commit(*[advance(f"e{i}", memory={"i": i}, events=1) for i in range(5)])
        stale = outcomes[2]
        assert isinstance(stale, StaleWriter)
        assert ("e2", 1, 7) == (stale.execution_id, stale.epoch, stale.current)
        assert [1, 2, 3, 4] == [o.first_seq for o in outcomes if isinstance(o, Committed)]
        assert 4 == store.last_seq()
        assert {"completed": 4, "running": 1} == store.count_executions()
        assert {} == store.get_session("e2").memory  # type: ignore[union-attr]

    def test_a_write_to_an_execution_that_is_gone_is_stale(self, store: Store) -> None:
        """There is no epoch any more."""
        with pytest.raises(StaleWriter) as caught:
            Client(store).one(advance("nobody"))
        assert caught.value.current is None

    def test_two_changes_of_one_execution_in_one_batch_apply_in_order(self, store: Store) -> None:
        """The second builds on the epoch of the first."""
        client = Client(store)
        client.one(opening("e1"))
        client.opened(opening("e2"))
        outcomes = client.commit(
            advance("e1", "restarting", to_epoch=2, progress={"p": 1}),
            advance("e2", memory={"x": 1}),
            advance("e1", "running", epoch=2, memory={"y": 1}),
            AppendEvents(events=(event(),), execution_id="e1", expected_epoch=2),
        )
        assert not any(isinstance(outcome, StaleWriter) for outcome in outcomes), outcomes
        record = store.get_session("e1")
        assert record is not None
        assert (2, {"p": 1}, {"y": 1}, 2) == (record.epoch, record.progress, record.memory, record.revision)

    def test_an_execution_opened_and_changed_in_one_batch_lands(self, store: Store) -> None:
        """In the order given."""
        client = Client(store)
        client.commit(opening("e1"), advance("e1", "failed"), opening("e2"))
        assert {"failed": 1, "running": 1} == store.count_executions()

    def test_a_checkpoint_is_the_memory_too(self, store: Store) -> None:
        """Unless a newer one comes with it; and a progress alone changes neither."""
        client = Client(store)
        client.one(opening("e1", memory={"a": 0}))
        client.one(advance("e1", "running", checkpoint=("c1", {"a": 1})))
        record = store.get_session("e1")
        assert record is not None
        assert ({"a": 1}, "c1", "node-c1") == (record.memory, record.checkpoint_id, record.checkpoint_node)
        client.one(advance("e1", "running", checkpoint=("c2", {"a": 2}), memory={"a": 3}))
        client.one(advance("e1", "running", progress={"p": 1}))
        record = store.get_session("e1")
        assert record is not None
        assert ({"a": 3}, "c2", {"p": 1}, 3) == (
            record.memory,
            record.checkpoint_id,
            record.progress,
            record.revision,
        )

    def test_a_recorded_checkpoint_leaves_the_row_of_its_execution_as_it_is(self, store: Store) -> None:
        """Several in one batch too; of the last one is the memory. One of an old epoch changes nothing."""
        client = Client(store)
        client.one(opening("e1", events=1))
        before = store.get_execution("e1")
        batch = [recorded("e1", ordinal, {"n": ordinal}, events=1) for ordinal in (1, 2, 3)]
        assert [Committed(2), Committed(3), Committed(4)] == client.commit(*batch)
        late = recorded("e1", 4, {"n": 4}, events=1, expected_epoch=2)
        last = recorded("e1", 4, {"n": 5}, keep_checkpoints=2, progress=Payload.of({"p": 1}))
        assert ["StaleWriter", "Committed"] == [type(each).__name__ for each in client.commit(late, last)]
        record = store.get_session("e1")
        assert record is not None
        assert ({"n": 5}, "e1.4", "n", {"p": 1}, 4) == (
            record.memory,
            record.checkpoint_id,
            record.checkpoint_node,
            record.progress,
            record.revision,
        )
        assert before == store.get_execution("e1")
        assert [4, 3] == [point.ordinal for point in store.list_checkpoints("e1")]
        assert ["execution_started", *3 * ["step_completed"]] == [
            event.type for event in store.events_after(0, EventFilter())
        ]

    def test_writing_the_memory_of_a_session_that_is_not_there_is_refused(self, store: Store) -> None:
        """And leaves the execution as it was."""
        client = Client(store)
        client.one(opening("e1"))
        with pytest.raises(SessionNotFound):
            client.one(advance("e1", session_id="other", memory={}))
        assert {"running": 1} == store.count_executions()

    # --- claiming ---

    def test_a_claim_of_a_held_session_writes_nothing(self, store: Store) -> None:
        """Ask again when the holder has ended."""
        client = Client(store)
        client.opened(opening("e1"), opening("x"))
        client.one(opening("j", session_id="e1", origin="join", started=False))
        claim = advance("j", "running", epoch=0, session_id="e1", claim=True, events=1, memory={"no": 1})
        assert Advanced(execution_id="j", claimed=False) == client.one(claim)
        assert "pending" == store.get_execution("j")[1].status  # type: ignore[index]
        assert 0 == store.last_seq()
        # the same batch that ends the holder may give the session on
        _, claimed = client.commit(
            advance("e1", memory={"a": 1}), advance("j", "running", epoch=0, session_id="e1", claim=True)
        )
        assert (True, {"a": 1}) == (claimed.claimed, claimed.memory.value())  # type: ignore[union-attr]

    def test_of_two_claims_one_gets_the_session(self, store: Store) -> None:
        """The first in the batch."""
        client = Client(store)
        client.one(opening("e1"))
        client.opened(*[opening(own, session_id="e1", origin="join", started=False) for own in ("j1", "j2")])
        client.one(advance("e1"))
        one, two = client.commit(*[advance(j, "running", epoch=0, session_id="e1", claim=True) for j in ("j1", "j2")])
        assert [True, False] == [one.claimed, two.claimed]  # type: ignore[union-attr]
        assert client.one(advance("j1", "running", epoch=0, session_id="e1", claim=True)).claimed

    def test_a_stale_claim_is_stale(self, store: Store) -> None:
        """Before anything is looked at; and one of an unknown session is not found."""
        client = Client(store)
        client.one(opening("e1"))
        with pytest.raises(StaleWriter):
            client.one(advance("e1", "running", epoch=5, claim=True))
        with pytest.raises(SessionNotFound):
            client.one(advance("e1", "running", session_id="nobody", claim=True))


class EventsContract:
    """Numbering, filtering, following."""

    def test_numbers_are_contiguous_and_in_the_order_of_the_writes(self, store: Store) -> None:
        """Whatever kinds of writes bring them, and also when one of them fails."""
        client = Client(store)
        client.one(opening("e0", events=3))
        outcomes = client.commit(
            AppendEvents(events=(event("a"), event("b"))),
            opening("e1", events=1),
            advance("nobody", events=5),
            PostToInbox(execution_id="e0", kind="k", created_at=START),
            advance("e0", events=2),
            AppendEvents(events=()),
        )
        firsts = [getattr(outcome, "first_seq", "error") for outcome in outcomes]
        assert [4, 6, "error", None, 7, None] == firsts
        found = store.events_after(0, EventFilter())
        assert list(range(1, 9)) == [e.seq for e in found]
        assert ["a", "b", "execution_started", "execution_completed", "execution_completed"] == [
            e.type for e in found[3:]
        ]

    def test_an_event_reads_as_it_was_written(self, store: Store) -> None:
        """Every field, also empty ones."""
        full = event(
            "custom",
            "e1",
            {"x": [1]},
            stream_id="s",
            session_id="e1",
            node_id="",
            graph_id="g",
            correlation_id="c",
        )
        Client(store).one(AppendEvents(events=(full, event("bare"))))
        found = store.events_after(0, EventFilter())
        assert (full.model_copy(update={"seq": 1}), event("bare", seq=2)) == found

    def test_events_are_filtered_and_paged(self, store: Store) -> None:
        """By what the filter names, all of it."""
        client = Client(store)
        client.opened(opening("e0"), opening("e1"))
        places = [("a", "s1", "n1", "g1"), ("b", "s1", "n2", "g1"), ("a", "s2", "n1", "g2"), ("a", "s1", "n1", None)]
        client.one(
            AppendEvents(
                events=tuple(
                    event(t, f"e{i % 2}", stream_id=s, node_id=n, graph_id=g) for i, (t, s, n, g) in enumerate(places)
                )
            )
        )

        def seqs(after: int = 0, limit: int = 10, **filter: object) -> list[int | None]:
            return [e.seq for e in store.events_after(after, EventFilter(**filter), limit)]  # type: ignore[arg-type]

        assert [1, 3, 4] == seqs(types=("a", "c"))
        assert [1, 2, 4] == seqs(stream="s1")
        assert [1, 2] == seqs(graph="g1")
        assert [2] == seqs(node="n2")
        assert [1, 3] == seqs(execution="e0")
        assert [] == seqs(execution="nobody")
        client.commit(advance("e0", events=1), advance("e1"))
        client.one(AppendEvents(events=(event("a"),)))
        assert ([1, 3, 5], [2, 4]) == (seqs(execution="e0"), seqs(execution="e1"))
        assert [4] == seqs(after=1, types=("a",), stream="s1")
        assert [2, 3] == seqs(after=1, limit=2)

    def test_events_of_an_execution_are_fenced_by_its_epoch(self, store: Store) -> None:
        """Those of nobody's are not; several of one execution go together."""
        client = Client(store)
        client.opened(opening("e1"), opening("e2"))

        def append(own: str, epoch: int) -> AppendEvents:
            return AppendEvents(events=(event(),), execution_id=own, expected_epoch=epoch)

        outcomes = client.commit(append("e1", 1), append("e1", 1), append("e2", 3), append("e2", 1))
        assert [1, 2, "StaleWriter", 3] == [getattr(o, "first_seq", type(o).__name__) for o in outcomes]


class RuntimesContract:
    """Registering, leaving, dying, taking over."""

    def test_a_commit_is_a_beat_also_when_it_is_empty(self, store: Store) -> None:
        """And a runtime's row reads as it was given."""
        client = Client(store)
        assert (runtime_row(),) == store.runtimes()
        assert [] == client.commit()
        client.commit(opening("e1"))
        assert (runtime_row(beat=2),) == store.runtimes()

    def test_an_id_is_registered_once(self, store: Store) -> None:
        """A second runtime of that id would share the first one's fence."""
        Client(store)
        with pytest.raises(InvalidInput):
            store.register(runtime_row())

    def test_who_has_no_row_cannot_commit(self, store: Store) -> None:
        """Neither before registering nor after a peer has declared it lost."""
        with pytest.raises(LeaseLost):
            store.commit("r1", 1, [opening("e0")])
        client = Client(store)
        client.one(opening("e1"))
        store.forget(["r1"])
        with pytest.raises(LeaseLost) as caught:
            client.one(advance("e1"))
        assert "r1" == caught.value.runtime_id
        assert {"running": 1} == store.count_executions()

    def test_a_takeover_tells_whose_session_another_one_has(self, store: Store) -> None:
        """One that failed before it began is to be replayed, and since then somebody has joined its session."""
        client = Client(store, "dead")
        client.opened(opening("e1", started=False), opening("e2", started=False))
        client.one(advance("e1", "failed", epoch=0, attempt=0, owner="dead"))
        client.opened(opening("e3", session_id="e1", origin="join"))
        client.one(advance("e1", "pending", epoch=0, to_epoch=1, attempt=0, owner="dead"))
        recovered = Client(store, "me").one(recovery("dead"))
        assert {"e1": True, "e2": False, "e3": False} == {
            found.state.execution_id: found.takes for found in recovered.executions
        }

    def test_an_orderly_leave_frees_what_was_unfinished_uncharged(self, store: Store) -> None:
        """The next one takes it over; what had ended stays as it was."""
        client = Client(store)
        client.opened(opening("e1"), opening("e2"))
        client.one(advance("e2"))
        store.release("r1")
        assert () == store.runtimes()
        recovered = Client(store, "r2").one(recovery())
        (one,) = recovered.executions
        assert ("e1", "r2", 2, 0, "running") == (
            one.spec.execution_id,
            one.state.owner,
            one.state.epoch,
            one.state.lost_attempts,
            one.state.status,
        )
        assert "r1" == store.get_execution("e2")[1].owner  # type: ignore[index]

    def test_what_a_dead_runtime_left_is_taken_over_oldest_first(self, store: Store) -> None:
        """What was running is charged a lost attempt; nothing is taken from the living or of other entry points."""
        dead, alive = Client(store, "dead"), Client(store, "alive")
        for i, status in enumerate(["running", "pending", "restarting", "parked"]):
            dead.one(opening(f"e{i}", started=status != "pending"))
            alive.one(opening(f"a{i}"))
            if status in {"restarting", "parked"}:
                dead.one(advance(f"e{i}", status, owner="dead"))  # type: ignore[arg-type]
        dead.one(opening("done"))
        dead.one(advance("done", owner="dead"))
        dead.one(opening("other", entry_point="other"))
        me = Client(store, "me")
        first = me.one(recovery("dead", limit=3))
        assert [("e0", 1), ("e1", 0), ("e2", 0)] == [
            (r.spec.execution_id, r.state.lost_attempts) for r in first.executions
        ]
        assert first.more
        second = me.one(recovery("dead", limit=3))
        assert (["e3"], False) == ([r.spec.execution_id for r in second.executions], second.more)
        assert () == me.one(recovery("dead")).executions
        (stale,) = dead.commit(advance("e0", owner="dead"))
        assert isinstance(stale, StaleWriter)
        assert ["other"] == [r.spec.execution_id for r in me.one(recovery("dead", entry_point="other")).executions]

    def test_forgetting_charges_once_and_frees(self, store: Store) -> None:
        """Whoever opens that entry point later need not know who had died."""
        Client(store, "dead").opened(opening("e1"), opening("e2", started=False))
        store.forget(["dead"])
        store.forget([])
        (stale,) = Client(store, "heir").commit(advance("e1", owner="heir"))  # nobody has taken it over yet
        assert isinstance(stale, StaleWriter)
        recovered = Client(store, "me").one(recovery("dead"))
        assert [("e1", 1), ("e2", 0)] == [(r.spec.execution_id, r.state.lost_attempts) for r in recovered.executions]

    def test_a_rebuilding_stream_gets_its_own_back_as_they_are(self, store: Store) -> None:
        """Same epoch: what still runs of them goes on. Beyond the limit, as there would be no second page."""
        client = Client(store)
        client.opened(*[opening(f"e{i}") for i in range(4)])
        client.one(opening("free"))
        client.one(advance("free", "running", owner=None))
        recovered = client.one(recovery("r1", limit=2, mine=True))
        assert [("e0", 1), ("e1", 1), ("e2", 1), ("e3", 1), ("free", 2)] == [
            (r.spec.execution_id, r.state.epoch) for r in recovered.executions
        ]
        assert not recovered.more

    def test_a_write_under_a_name_that_its_runtime_has_no_more_is_stale(self, store: Store) -> None:
        """It would give the execution to nobody. Those beside it in the batch land."""
        client = Client(store, "new")
        client.opened(opening("e0"), opening("e1"))
        for others in ((), (opening("e2"),)):
            stale, *rest = client.commit(advance("e0", "running", owner="old"), *others)
            assert isinstance(stale, StaleWriter)
            assert not any(isinstance(outcome, Exception) for outcome in rest)
        assert {"e0": "new", "e1": "new", "e2": "new"} == {
            spec.execution_id: state.owner for spec, state in store.list_executions(limit=10)
        }

    def test_what_was_never_begun_is_of_the_version_that_takes_it_over(self, store: Store) -> None:
        """Whoever takes it over from that one is told so; what has begun stays of the version that it began under."""
        first, second = Client(store, "first"), Client(store, "second")
        first.opened(opening("begun"), opening("queued", started=False))
        store.release("first")
        for client, version in ((second, "2"), (Client(store, "third"), "3")):
            recovered = client.one(recovery("second", version=version))
            assert {"begun": None, "queued": version} == {
                each.spec.execution_id: each.spec.version for each in recovered.executions
            }

    def test_a_recovered_execution_starts_from_its_last_checkpoint(self, store: Store) -> None:
        """At first from its start; and a joiner or resumer from where it took the session."""
        dead = Client(store, "dead")
        dead.opened(*[opening(f"e{i}", memory={"i": i}) for i in range(4)])
        dead.one(advance("e0", "running", memory={"i": "dirty"}, owner="dead"))
        dead.one(advance("e1", "running", checkpoint=("c", {"i": "cp"}), owner="dead"))
        dead.one(advance("e1", "running", memory={"i": "dirty"}, owner="dead"))
        for own in ("e2", "e3"):
            dead.one(advance(own, "failed", checkpoint=("c", {"i": "cp"}), memory={"i": "end"}, owner="dead"))
        dead.one(opening("join", session_id="e2", origin="join"))
        dead.one(advance("join", "running", session_id="e2", memory={"i": "dirty"}, owner="dead"))
        dead.one(opening("resume", session_id="e3", origin="resume", memory={"x": 1}))
        dead.one(advance("resume", "running", session_id="e3", memory={"i": "dirty"}, owner="dead"))
        recovered = Client(store, "me").one(recovery("dead"))
        assert {
            "e0": {"i": 0},
            "e1": {"i": "cp"},
            "join": {"i": "end"},
            "resume": {"i": "cp", "x": 1},
        } == {r.spec.execution_id: r.memory.value() for r in recovered.executions}

    def test_executions_side_by_side_on_one_session_start_each_from_their_own_last_checkpoint(
        self, store: Store
    ) -> None:
        """The session knows only the last of all; the steps that each has recorded go with its own."""
        dead = Client(store, "dead")
        dead.one(opening("e0", memory={"of": "start"}))
        dead.one(opening("join", session_id="e0", origin="join", policy="parallel"))
        dead.one(advance("e0", "running", checkpoint=("e0.1", {"of": "e0", "at": 1}), owner="dead"))
        dead.one(advance("e0", "running", checkpoint=("e0.2", {"of": "e0", "at": 2}), owner="dead"))
        dead.one(
            advance("join", "running", session_id="e0", checkpoint=("join.1", {"of": "join", "at": 1}), owner="dead")
        )
        recovered = Client(store, "me").one(recovery("dead"))
        assert {
            "e0": ({"of": "e0", "at": 2}, "node-e0.2"),
            "join": ({"of": "join", "at": 1}, "node-join.1"),
        } == {r.spec.execution_id: (r.memory.value(), r.node) for r in recovered.executions}

    # --- a commit in doubt ---

    def test_a_batch_that_is_committed_again_answers_as_it_did_and_writes_nothing(self, store: Store) -> None:
        """What landed is not written twice, whatever became of the first answer."""
        client = Client(store)
        writes = [opening("e1", events=1), advance("nobody")]
        first = client.commit(*writes)
        assert first == store.commit("r1", client.batch, writes)
        assert (1, 1) == (store.last_seq(), store.runtimes()[0].beat)
        with pytest.raises(InvalidInput):
            store.commit("r1", client.batch - 1, writes)


class HousekeepingContract:
    """Inbox, deleting, listing, closing."""

    def test_a_row_left_in_the_inbox_reaches_the_owner_until_it_is_cleared(self, store: Store) -> None:
        """Nobody else sees it; an execution that does not exist has no inbox."""
        client, guest = Client(store), Client(store, "guest")
        client.one(opening("e1"))
        for kind in ("answer", "cancel"):
            guest.one(PostToInbox(execution_id="e1", kind=kind, body=Payload.of(kind), created_at=START))
        with pytest.raises(ExecutionNotFound):
            guest.one(PostToInbox(execution_id="nobody", kind="x", created_at=START))
        rows = store.inbox("r1")
        assert [("e1", "answer", "answer", START), ("e1", "cancel", "cancel", START)] == [
            (row.execution_id, row.kind, row.body.value() if row.body else None, row.created_at) for row in rows
        ]
        assert () == store.inbox("guest")
        assert client.one(ClearInbox(ids=(rows[0].id,))) is None
        assert rows[1:] == store.inbox("r1") == store.inbox("r1", after=rows[0].id)
        assert () == store.inbox("r1", after=rows[1].id)

    def test_anybody_may_leave_a_row_without_being_a_runtime(self, store: Store) -> None:
        """Unless it is for nobody, or for what has ended."""
        client = Client(store)
        client.opened(opening("e1"), opening("e2", entry_point="other"))
        for id in ("e2", "e1"):
            store.post(PostToInbox(execution_id=id, kind="cancel", created_at=START))
        assert [("e2", "other", None), ("e1", "hook", None)] == [
            (row.execution_id, row.entry_point, row.body) for row in store.inbox("r1")
        ]
        client.one(advance("e1", "completed"))
        for id, said in (("e1", "has ended"), ("nobody", "not in this store")):
            with pytest.raises(ExecutionNotFound, match=said):
                store.post(PostToInbox(execution_id=id, kind="cancel", created_at=START))
        assert ["e2"] == [row.execution_id for row in store.inbox("r1")]

    def test_a_row_goes_with_the_change_that_it_led_to(self, store: Store) -> None:
        """And stays when that is refused; in a batch of many, and alone."""
        client = Client(store)
        client.opened(opening("e1"), opening("e2"), opening("e3"))
        for id in ("e1", "e2", "e3"):
            store.post(PostToInbox(execution_id=id, kind="k", created_at=START))
        first, second, third = (row.id for row in store.inbox("r1"))

        def ending(id: str, row: int, epoch: int = 1) -> AdvanceExecution:
            return advance(id, epoch=epoch).model_copy(update={"inbox": (row,)})

        assert [Committed(None), Committed(None)] == client.commit(ending("e1", first), ending("e3", third))
        for write in (ending("e2", second, epoch=99), ending("nobody", second)):
            assert isinstance(client.commit(write)[0], StaleWriter)
        assert [second] == [row.id for row in store.inbox("r1")]

    def test_what_was_left_for_it_comes_with_a_recovered_execution(self, store: Store) -> None:
        """In order, with each its own."""
        client = Client(store)
        client.opened(opening("e1"), opening("e2"), opening("e3"))
        for id, kind in (("e1", "a"), ("e3", "b"), ("e1", "c")):
            store.post(PostToInbox(execution_id=id, kind=kind, created_at=START))
        store.forget(("r1",))
        recovered = Client(store, "r2").one(recovery()).executions
        assert [("e1", ["a", "c"]), ("e2", []), ("e3", ["b"])] == [
            (found.state.execution_id, [row.kind for row in found.inbox]) for found in recovered
        ]

    def test_what_a_runtime_releases_of_an_entry_point_is_free_and_uncharged(self, store: Store) -> None:
        """Only what is its own, of that entry point, and unfinished."""
        client, other = Client(store), Client(store, "r2")
        client.opened(opening("e1"), opening("e2", entry_point="other"), opening("e3"))
        client.one(advance("e3"))
        other.opened(opening("e4"))
        assert client.one(ReleaseExecutions(entry_point="hook")) is None
        recovered = other.one(recovery()).executions
        assert [("e1", 0, 2)] == [(f.state.execution_id, f.state.lost_attempts, f.state.epoch) for f in recovered]

    def test_a_session_is_deleted_with_all_that_is_its(self, store: Store) -> None:
        """Executions, events (also of the same batch), inbox; nothing of others. Then it is not there."""
        client = Client(store)
        client.opened(opening("e1", events=1, key="k"), opening("e2", events=1))
        client.one(opening("j", session_id="e1", origin="join", started=False, events=1))
        client.one(PostToInbox(execution_id="e1", kind="k", created_at=START))
        client.one(advance("e1"))
        with pytest.raises(SessionBusy):
            client.one(DeleteSession(session_id="e1"))
        _, deleted, again = client.commit(
            advance("j", "cancelled", epoch=0, session_id="e1", events=1),
            DeleteSession(session_id="e1"),
            DeleteSession(session_id="e1"),
        )
        assert (True, False) == (deleted, again)
        assert ["e2"] == [spec.execution_id for spec, _ in store.list_executions()]
        assert ["e2"] == [e.execution_id for e in store.events_after(0, EventFilter())]
        assert (None, None, ()) == (store.get_session("e1"), store.find_idempotent("hook", "k"), store.inbox("r1"))
        assert 4 == store.last_seq()
        assert isinstance(client.one(opening("e1", key="k")), Committed)

    def test_sessions_and_executions_are_listed_newest_first_and_filtered(self, store: Store) -> None:
        """By status, stream, session, quarantine."""
        client = Client(store)
        client.opened(opening("e1"), opening("e2", entry_point="other"), opening("e3"))
        client.one(advance("e3", "failed", quarantined=True))
        client.one(opening("j", session_id="e1", origin="join", started=False))

        def sessions(**filter: object) -> list[str]:
            return [record.session_id for record in store.list_sessions(**filter)]  # type: ignore[arg-type]

        def executions(**filter: object) -> list[str]:
            return [spec.execution_id for spec, _ in store.list_executions(**filter)]  # type: ignore[arg-type]

        assert ["e3", "e2", "e1"] == sessions()
        assert ["e2", "e1"] == sessions(status="active") == sessions(quarantined=False)
        assert ["e3"] == sessions(status="failed") == sessions(quarantined=True) == sessions(limit=1)
        assert ["e2"] == sessions(stream="other")
        assert ["j", "e3", "e2", "e1"] == executions()
        assert ["j", "e1"] == executions(session="e1")
        assert ["e2"] == executions(stream="other")
        assert ["j"] == executions(status="pending") == executions(limit=1)
        assert {"running": 1, "failed": 1, "pending": 1} == store.count_executions(stream="hook")

    def test_what_has_not_ended_is_listed_with_what_runs_first(self, store: Store) -> None:
        """Then what is to run again, then what waits; and counted."""
        client = Client(store)
        client.opened(opening("e1", started=False), opening("e2"), opening("e3"), opening("e4"))
        client.one(advance("e2", "restarting"))
        client.one(advance("e4", "completed"))
        assert ["e3", "e2", "e1"] == [spec.execution_id for spec, _ in store.list_unfinished()]
        assert ["running", "restarting"] == [state.status for _, state in store.list_unfinished(limit=2)]
        assert {"pending": 1, "restarting": 1, "running": 1} == store.count_unfinished()

    def test_a_report_of_workers_is_kept_until_the_next_and_as_long_as_its_runtime(self, store: Store) -> None:
        """One without workers leaves none; one of a stranger is dropped."""
        client, other = Client(store), Client(store, "r2")
        worker = WorkerInfo(pool="p", pid=7, state="busy", execution_id="e1")
        first = WorkersReport(runtime_id="r1", at=START, workers=(worker,))
        second = WorkersReport(runtime_id="r1", at=START, workers=(worker, worker))
        others = WorkersReport(runtime_id="r2", at=START, workers=(worker,))
        assert () == store.workers()
        for report in (first, second, others, WorkersReport(runtime_id="nobody", at=START, workers=(worker,))):
            store.report_workers(report)
        assert (second, others) == store.workers()
        store.report_workers(WorkersReport(runtime_id="r2", at=START))
        assert (second,) == store.workers()
        store.report_workers(others)
        store.forget(["r2"])
        store.release("r1")
        assert () == store.workers()
        store.report_workers(first)
        assert () == store.workers()
        assert client is not other

    def test_reads_from_other_threads_see_whole_batches(self, store: Store) -> None:
        """Two events a batch: never one of them."""
        client = Client(store)
        stop = threading.Event()

        def read() -> list[int]:
            seen = []
            while not stop.is_set():
                seen.append(len(store.events_after(0, EventFilter(), limit=1000)))
            return seen

        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read) for _ in range(3)]
            try:
                for i in range(40):
                    client.commit(opening(f"e{i}", events=1), opening(f"x{i}", events=1))
            finally:
                stop.set()
            seen = [count for reader in readers for count in reader.result(10)]
        assert {0} == {count % 2 for count in seen}

    def test_a_value_that_cannot_be_stored_is_that_writes_own_trouble(self, store: Store) -> None:
        """The others of the batch land."""
        huge = event("custom", node_id="\ud800")
        good, bad, fine = Client(store).commit(opening("e1"), AppendEvents(events=(huge,)), opening("e2"))
        assert isinstance(bad, InvalidInput)
        assert [Committed, Committed] == [type(good), type(fine)]
        assert 0 == store.last_seq()

    def test_a_closed_store_is_unavailable(self, store: Store) -> None:
        """Every call says so, and closing twice is nothing."""
        client = Client(store)
        store.close()
        store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            client.commit()
        with pytest.raises(StoreUnavailable, match="closed"):
            store.last_seq()


class StoreContract(OpeningContract, AdvancingContract, EventsContract, RuntimesContract, HousekeepingContract):
    """All of it."""
