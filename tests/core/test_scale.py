"""What many actors cost: bytes each, and work that grows with their number and not with its square."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from propolis.actors import AsyncioActor, ask
from propolis.testing import InlineLoop

from .actors import Boss, Do


class Idle(AsyncioActor):
    """Has nothing to do."""


def operations(call: Callable[[], Any]) -> int:
    """How many functions of Python's, and of C's, are called by a call."""
    count = 0

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count


def test_children_start_and_stop_in_linear_time_and_never_enter_the_registry(inline: InlineLoop) -> None:
    """Twice as many take twice the work; pykka's registry would make it four times."""

    def start_and_stop(count: int) -> None:
        def start(actor: Boss, message: Do) -> int:
            for n in range(count):
                actor.spawn(Idle, name=f"idle-{n}")
            return len(pykka.ActorRegistry.get_all())

        boss = inline.spawn(Boss, register=True, do=start)
        assert 1 == inline.get(ask(boss, Do()))
        for child in boss.actor_inbox.instance().children().values():
            child.stop(block=False)
        inline.settle()
        assert {} == boss.actor_inbox.children
        boss.stop(block=False)
        inline.settle()

    once, twice = operations(lambda: start_and_stop(2_000)), operations(lambda: start_and_stop(4_000))
    assert 2.0 == pytest.approx(twice / once, rel=0.05)


def test_an_idle_actor_takes_less_than_four_kilobytes(
    inline: InlineLoop, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Over 5,000 of them, reference and place in its supervisor included."""
    count = 5_000
    boss = inline.spawn(Boss)
    inline.settle()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    refs = [inline.spawn(Idle, parent=boss.actor_inbox, name=f"idle-{n}") for n in range(count)]
    inline.settle()
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / count
    tracemalloc.stop()
    record_property("bytes_per_idle_actor", round(each))
    with capsys.disabled():
        print(f"\nan idle actor takes {each:,.0f} bytes")  # noqa: T201 - a measurement, to be seen
    assert len(refs) == count
    assert each < 4096


def test_a_mailbox_that_was_never_used_takes_no_room(inline: InlineLoop) -> None:
    """Lanes are made by the first message."""
    ref = inline.spawn(Idle)
    cell = ref.actor_inbox
    assert (None, None) == (cell._user, cell._control)
