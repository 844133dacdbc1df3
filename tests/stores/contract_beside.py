"""What every store promises of a session on which executions run beside each other. Run as `contract.py` is."""

from __future__ import annotations

from typing import Any

from propolis.actors.stores import Committed, Store

from propolis.messages import AdvanceExecution, OpenExecution, SessionRecord

from .builders import Client, advance, opening, recorded, recovery


def joining(execution_id: str, **fields: Any) -> OpenExecution:
    """A join that runs beside whoever has the session e0."""
    return opening(execution_id, session_id="e0", origin="join", policy="parallel", **fields)


def beside(execution_id: str, status: Any = "completed", **fields: Any) -> AdvanceExecution:
    """What such a one writes."""
    return advance(execution_id, status, session_id="e0", beside=True, **fields)


def record(store: Store) -> SessionRecord:
    """The session e0."""
    found = store.get_session("e0")
    assert found is not None
    return found


class BesideContract:
    """Each changes what it has changed, and begins again with what it has saved."""

    def test_two_that_join_beside_each_other_lose_nothing_of_each_other(self, store: Store) -> None:
        """Nor of what was there; whoever commits last."""
        client = Client(store)
        client.one(opening("e0", memory={"a": 0}))
        client.one(advance("e0", memory={"a": 1}))
        joined = client.opened(joining("j1"), joining("j2", memory={"c": 3}))
        assert [{"a": 1}, {"a": 1, "c": 3}] == [each.memory.value() for each in joined]  # type: ignore[union-attr]
        client.one(beside("j2", memory={"a": 1, "c": 3, "j2": 2}))
        client.one(beside("j1", memory={"a": 1, "j1": 1}))
        assert {"a": 1, "c": 3, "j1": 1, "j2": 2} == record(store).memory
        assert {"a": 1, "c": 3, "j1": 1, "j2": 2} == client.one(
            opening("k", session_id="e0", origin="join")
        ).memory.value()

    def test_who_has_a_session_and_who_runs_beside_lose_nothing_of_each_other(self, store: Store) -> None:
        """Of a key that both have set the last one wins; one that was not changed is not set back."""
        client = Client(store)
        client.one(opening("e0", memory={"both": 0, "old": 0}))
        client.one(joining("j"))
        client.one(advance("e0", "running", checkpoint=("e0.1", {"both": 1, "old": 0, "e0": 1})))
        client.one(beside("j", "running", checkpoint=("j.1", {"both": 2, "old": 0, "j": 1})))
        assert {"both": 2, "old": 0, "e0": 1, "j": 1} == record(store).memory
        client.one(recorded("e0", 2, {"both": 1, "old": 5, "e0": 2}))
        assert {"both": 2, "old": 5, "e0": 2, "j": 1} == record(store).memory
        client.one(beside("j", memory={"both": 2, "old": 0, "j": 2}))
        client.one(advance("e0", memory={"both": 3, "old": 5, "e0": 2}))
        assert {"both": 3, "old": 5, "e0": 2, "j": 2} == record(store).memory

    def test_a_key_that_one_has_deleted_does_not_come_back_by_another(self, store: Store) -> None:
        """Who still has it in its own memory has not set it."""
        client = Client(store)
        client.one(opening("e0", memory={"a": 1, "b": 2, "c": 3}))
        client.one(joining("j"))
        client.one(beside("j", "running", checkpoint=("j.1", {"b": 2, "c": 3})))
        client.one(advance("e0", "running", checkpoint=("e0.1", {"a": 1, "c": 3, "n": 1})))
        client.one(beside("j", memory={"b": 2, "c": 3, "m": 1}))
        client.one(advance("e0", memory={"a": 1, "c": 3, "n": 1}))
        assert {"c": 3, "n": 1, "m": 1} == record(store).memory

    def test_what_runs_beside_leaves_checkpoint_and_progress_to_who_has_the_session(self, store: Store) -> None:
        """They are what the session's owner is resumed from. Its own checkpoints are kept, and nothing is listed that
        is none.
        """
        client = Client(store)
        client.one(opening("e0"))
        client.one(joining("j"))
        assert () == store.list_checkpoints("e0")
        client.one(advance("e0", "running", checkpoint=("e0.1", {"at": 1}), progress=1))
        client.one(beside("j", checkpoint=("j.1", {"j": 1}), progress=2))
        found = record(store)
        assert ("e0.1", "node-e0.1", {"at": 1, "j": 1}) == (found.checkpoint_id, found.checkpoint_node, found.memory)
        assert found.progress_payload is not None
        assert 1 == found.progress_payload.value()
        assert {"e0.1", "j.1"} == {each.checkpoint_id for each in store.list_checkpoints("e0")}
        client.one(advance("e0", "failed"))
        named = client.one(opening("r", session_id="e0", origin="resume", checkpoint_id="j.1"))
        assert {"j": 1} == named.memory.value()

    def test_in_a_batch_with_others_the_one_that_shares_its_session_hurts_nobody(self, store: Store) -> None:
        """All of them land, in order."""
        client = Client(store)
        client.opened(opening("e0", memory={}), opening("e1", memory={"n": 1}), joining("j"))
        client.one(beside("j", "running", checkpoint=("j.1", {"j": 1})))
        outcomes = client.commit(
            opening("e2", events=1),
            advance("e1", memory={"n": 2}, events=1),
            advance("e0", memory={"e0": 1}, events=1),
            beside("j", memory={"j": 2}, events=1),
        )
        assert [Committed(seq) for seq in (1, 2, 3, 4)] == outcomes
        assert {"e0": 1, "j": 2} == record(store).memory
        other = store.get_session("e1")
        assert other is not None
        assert {"n": 2} == other.memory

    def test_one_that_was_killed_begins_again_with_what_it_saved_or_began_with(self, store: Store) -> None:
        """Whatever the session's memory is by then. And who has the session likewise."""
        dead = Client(store, "dead")
        dead.one(opening("e0", memory={"of": "start"}))
        dead.opened(joining("j0", memory={"more": 1}), joining("j1"))
        dead.one(beside("j1", "running", checkpoint=("j1.1", {"of": "start", "more": 1, "j1": 1}), owner="dead"))
        dead.one(advance("e0", "running", checkpoint=("e0.1", {"of": "e0"}), owner="dead"))
        dead.one(advance("e0", "running", checkpoint=("e0.2", {"of": "e0", "at": 2}), owner="dead"))
        recovered = Client(store, "me").one(recovery("dead"))
        assert {
            "e0": ({"of": "e0", "at": 2}, "node-e0.2"),
            "j0": ({"of": "start", "more": 1}, None),
            "j1": ({"of": "start", "more": 1, "j1": 1}, "node-j1.1"),
        } == {each.spec.execution_id: (each.memory.value(), each.node) for each in recovered.executions}
        assert {"of": "e0", "at": 2, "more": 1, "j1": 1} == record(store).memory

    def test_a_replay_begins_with_what_its_owner_saved_and_others_wrote(self, store: Store) -> None:
        """Beside it, or in turn, with checkpoints of their own; and when it is killed, once more with just that."""
        client, dead = Client(store), Client(store, "dead")
        client.one(opening("e0", memory={"x": 0}))
        client.one(joining("j"))
        client.one(advance("e0", "running", checkpoint=("e0.1", {"x": 1})))
        client.one(advance("e0", "failed"))
        client.one(opening("k", session_id="e0", origin="join"))
        client.one(advance("k", session_id="e0", checkpoint=("k.1", {"x": 1, "k": 1})))
        client.one(beside("j", memory={"x": 0, "j": 1}))
        client.one(advance("e0", "pending", to_epoch=2, owner="r1"))
        claimed = client.one(advance("e0", "running", epoch=2, to_epoch=3, attempt=2, claim=True, owner="r1"))
        assert ({"x": 1, "k": 1, "j": 1}, "node-e0.1") == (claimed.memory.value(), claimed.node)
        client.one(joining("l"))
        client.one(beside("l", memory={"x": 1, "k": 1, "j": 1, "l": 1}))
        store.release("r1")
        recovered = dead.one(recovery())
        assert [({"x": 1, "k": 1, "j": 1}, "node-e0.1")] == [
            (each.memory.value(), each.node) for each in recovered.executions
        ]
        dead.one(advance("e0", epoch=4, memory={"x": 2, "k": 1}, owner="dead"))
        assert {"x": 2, "k": 1, "l": 1} == record(store).memory

    def test_a_resume_goes_on_where_the_owner_stood_with_what_others_wrote(self, store: Store) -> None:
        """And not at a checkpoint of theirs, of whose steps it knows nothing. A checkpoint that is named leads back to
        just that.
        """
        client = Client(store)
        client.one(opening("e0", memory={"x": 0}))
        client.one(advance("e0", "running", checkpoint=("e0.1", {"x": 1})))
        client.one(advance("e0", "failed"))
        client.one(opening("k", session_id="e0", origin="join"))
        client.one(advance("k", session_id="e0", checkpoint=("k.1", {"x": 1, "k": 1}), memory={"x": 1, "k": 2}))
        fork = opening("f", origin="fork").model_copy(update={"source": "e0"})
        assert ({"x": 1, "k": 2}, "node-e0.1") == ((forked := client.one(fork)).memory.value(), forked.node)
        resumed = client.one(opening("r", session_id="e0", origin="resume", memory={"r": 1}))
        assert ({"x": 1, "k": 2, "r": 1}, "node-e0.1") == (resumed.memory.value(), resumed.node)
        client.one(advance("r", "failed", session_id="e0"))
        back = client.one(opening("b", session_id="e0", origin="resume", checkpoint_id="e0.1"))
        assert {"x": 1} == back.memory.value() == record(store).memory

    def test_who_takes_a_session_begins_with_what_is_there_then(self, store: Store) -> None:
        """Also what was written beside it between the two commits that open it and begin it; and it shares no more."""
        client = Client(store)
        client.one(opening("e0", memory={"a": 1}))
        client.one(advance("e0"))
        client.opened(joining("j"), opening("k", session_id="e0", origin="join", started=False))
        client.one(beside("j", memory={"a": 1, "j": 1}))
        claimed = client.one(advance("k", "running", epoch=0, to_epoch=1, session_id="e0", claim=True))
        assert {"a": 1, "j": 1} == claimed.memory.value()
        client.one(advance("k", session_id="e0", memory={"k": 1}))
        assert {"k": 1} == record(store).memory
