"""What counts as a sign of life for `idle_timeout`, each by itself, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from propolis import RestartPolicy, Runtime, RuntimeConfig
from propolis.testing import ManualHost

from .support import PATIENCE, Gate, executor_for, point, until

SIGNS: dict[str, Callable[[Any], Any]] = {
    "event": lambda ctx: ctx.emit("custom", {}),
    "live event": lambda ctx: ctx.emit("llm_text_delta", {}),
    "checkpoint": lambda ctx: ctx.checkpoint("here"),
    "progress": lambda ctx: ctx.progress(0.5),
    "heartbeat": lambda ctx: ctx.heartbeat(),
}


@pytest.mark.parametrize("sign", [*SIGNS, None])
def test_a_sign_of_life_puts_the_idle_timeout_off(
    placement: str, new_gate: Callable[[], Gate], sign: str | None
) -> None:
    """A minute after the start, another minute later it still runs; without one it does not."""
    first, second = new_gate(), new_gate()
    given: list[str] = []

    async def work(ctx: Any, data: Any) -> str:
        await first.passed(ctx)
        if sign is not None:
            await SIGNS[sign](ctx)
        given.append("given")
        await second.passed(ctx)
        return "done"

    host = ManualHost()
    once = RestartPolicy(strategy="temporary")
    with Runtime(host=host, config=RuntimeConfig(lease_seconds=1_000_000.0)) as runtime:
        entry_point = point(placement, idle_timeout=100.0, restart=once)
        stream = runtime.open_stream(entry_point, executor_for(placement, work)).get(timeout=PATIENCE)
        run = stream.run()
        first.wait_for(1)
        host.wait_for_timer(100.0)
        host.advance(60.0)
        first.open()
        second.wait_for(1)
        until(lambda: given)
        stream.get_context(stream.active_execution_ids[0]).get(timeout=PATIENCE)  # behind the sign in the mailbox
        host.advance(60.0)
        if sign is None:
            result = run.get(timeout=PATIENCE)
            assert result.failure is not None
            assert "idle_timeout" == result.failure.code
            return
        host.wait_for_timer(40.0)  # it was looked at, and will be again
        second.open()
        assert "done" == run.get(timeout=PATIENCE).output
