"""`FailingStore`: commits that fail, or wait, when the test says so."""

from __future__ import annotations

from typing import Any

import pytest

from propolis import EntryPoint, Runtime
from propolis.actors import Host, open_store
from propolis.messages import StoreUnavailable
from propolis.testing import FailingStore, Probe

from ..stores.builders import opening, runtime_row

AWAY = StoreUnavailable(store="memory:", reason="the disk is full")


def opened(source: Any = "memory:") -> tuple[FailingStore, Any]:
    """A failing store, and what the runtime sees of it."""
    failing = FailingStore(source)
    store = failing.open(Host())
    store.register(runtime_row("r1"))
    return failing, store


def test_without_a_plan_everything_passes() -> None:
    """Commits, reads, and the rest."""
    failing, store = opened(lambda host: open_store("memory:", host=host))
    store.commit("r1", 1, [opening("e1")])
    assert store.get_execution("e1") is not None
    assert [1] == [len(batch) for batch in failing.batches]
    store.close()


@pytest.mark.parametrize("landed", [False, True])
def test_the_planned_commit_fails_before_or_after_it_has_landed(landed: bool) -> None:
    """The n-th, and so many times."""
    failing, store = opened()
    failing.next_commit(AWAY, landed=landed, skip=1, times=1)
    store.commit("r1", 1, [opening("e1")])
    with pytest.raises(StoreUnavailable):
        store.commit("r1", 2, [opening("e2")])
    assert landed == (store.get_execution("e2") is not None)
    store.commit("r1", 2, [opening("e2")])
    assert store.get_execution("e2") is not None
    store.close()


def test_before_it_is_opened_there_is_nothing_to_ask() -> None:
    """By name."""
    failing = FailingStore()
    with pytest.raises(AttributeError, match="not been opened"):
        failing.last_seq()
    with pytest.raises(AttributeError, match="not been opened"):
        failing.commit("r1", 1, [])


def test_a_runtime_on_it_acknowledges_nothing_while_a_commit_is_held() -> None:
    """D1, seen from outside."""
    failing, probe = FailingStore(), Probe()

    async def double(ctx: Any, n: int) -> int:
        return n * 2

    with Runtime(failing.open) as runtime:
        stream = runtime.open_stream(EntryPoint(id="s"), double).get()
        assert 4 == stream.run(2).get(timeout=5).output
        with failing.hold_commit() as held:
            accepted = stream.execute(3)
            held.wait_reached()
            assert not accepted.done()
        assert stream.wait_for_completion(accepted.get(timeout=5)).get(timeout=5).output == 6
        runtime.subscribe("store_unavailable", probe).get()
        failing.next_commit(AWAY, landed=True)
        assert 8 == stream.run(4).get(timeout=5).output
        probe.expect("store_unavailable")


def test_a_held_commit_that_never_comes_times_out() -> None:
    """In real seconds."""
    failing = FailingStore()
    with failing.hold_commit() as held, pytest.raises(TimeoutError):
        held.wait_reached(timeout=0.01)
