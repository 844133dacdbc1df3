"""`on_end`: the last word of an actor, however it ends."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from propolis.actors import LATER, AsyncioActor, Handlers, Reply, Supervisor, ask
from propolis.messages import Request
from propolis.testing import InlineLoop


class Hold(Request[int], tag="test.core.hold.v1"):
    """Answer later."""


class Fail(Request[int], tag="test.core.fail.v1"):
    """Crash."""


class Holding(AsyncioActor):
    """Keeps replies, and gives them at its end."""

    def __init__(self, ends: list[str]) -> None:
        super().__init__()
        self.ends = ends
        self.held: list[Reply[Any]] = self.kept("held", list)

    def hold(self, message: Hold) -> object:
        reply = self.keep_reply()
        assert reply is not None
        self.held.append(reply)
        return LATER

    def fail(self, message: Fail) -> None:
        raise ZeroDivisionError

    def on_stop(self) -> None:
        self.ends.append("stop")

    def on_end(self) -> None:
        self.ends.append("end")
        for reply in self.held:
            reply.offer_error(KeyError("gone"))

    handlers: ClassVar[Handlers] = {Hold: hold, Fail: fail}


class Patient(Supervisor):
    """Restarts nobody for now."""

    def on_child_failure(self, child: Any, failure: Any) -> None:
        """Later."""


def test_it_runs_behind_on_stop_at_an_orderly_end() -> None:
    """And once."""
    ends: list[str] = []
    with InlineLoop() as loop:
        ref = loop.spawn(Holding, ends)
        loop.settle()
        ref.stop(block=False)
        loop.settle()
    assert ["stop", "end"] == ends


def test_who_hangs_on_an_actor_that_crashed_and_is_never_restarted_is_answered() -> None:
    """Its supervisor ends while it waits for its restart; `on_stop` is not for a crashed instance."""
    ends: list[str] = []
    with InlineLoop() as loop:
        parent = loop.spawn(Patient)
        loop.settle()
        ref = loop.spawn(Holding, ends, parent=parent.actor_inbox, name="child")
        held = ask(ref, Hold())
        loop.settle()
        ask(ref, Fail())
        loop.settle()
        assert ([], False) == (ends, held.done())
        parent.stop(block=False)
        loop.settle()
        with pytest.raises(KeyError):
            held.result()
    assert ["end"] == ends
