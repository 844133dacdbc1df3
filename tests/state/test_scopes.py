"""What an execution sees of memory that it shares, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from propolis import Runtime, RuntimeConfig
from propolis.messages import InvalidInput, PayloadTooLarge, ScopeNotAllowed, StoreUnavailable
from propolis.testing import FailingStore

from ..runtime.support import PATIENCE
from .conftest import Opener, opened


@pytest.mark.parametrize("level", ["shared", "synchronized"])
def test_every_call_does_the_same_in_every_placement(placed: Opener, runtime: Runtime, level: str) -> None:
    """Values come back as they were given; what was deleted is not there."""
    result = placed("every_call", level).run().get(timeout=PATIENCE)
    ours = {"t": (1, b"x")}
    both = {"own": 1, "ours": ours, "a": 2, "b": None}
    assert (None, [2, None, ours, "none", {"a": 2, "b": None}, both, True, False, "none"]) == (
        result.error,
        result.output,
    )
    assert {"own": 1} == result.session_state
    assert {"a": 2} == runtime.state().get(timeout=PATIENCE)
    assert {"ours": ours} == runtime.state("stream", stream="every_call").get(timeout=PATIENCE)


def test_a_read_without_a_scope_looks_at_its_own_then_its_streams_then_everybodys(runtime: Runtime) -> None:
    """The nearest counts, also when its value is None; and so it does in `read_all`."""

    async def body(ctx: Any, data: Any) -> list[Any]:
        seen = [await ctx.memory.read("k")]
        await ctx.memory.write("k", None)
        return [*seen, await ctx.memory.read("k", "none"), await ctx.memory.read_all(), ctx.session_state]

    runtime.set_state({"k": "global", "g": 1}).get(timeout=PATIENCE)
    one, two = opened(runtime, body, "shared", "one"), opened(runtime, body, "shared", "two")
    runtime.set_state({"k": "stream"}, scope="stream", stream="two").get(timeout=PATIENCE)
    everything = {"k": None, "g": 1}
    assert ["global", None, everything, {"k": None}] == one.run().get(timeout=PATIENCE).output
    assert ["stream", None, everything, {"k": None}] == two.run().get(timeout=PATIENCE).output


@pytest.mark.parametrize(
    "call",
    [
        lambda m, scope: m.read("k", scope=scope),
        lambda m, scope: m.read_all(scope=scope),
        lambda m, scope: m.write("k", 1, scope=scope),
        lambda m, scope: m.write_batch({"k": 1}, scope=scope),
        lambda m, scope: m.update("k", str, scope=scope),
        lambda m, scope: m.delete("k", scope=scope),
    ],
)
def test_an_isolated_execution_that_asks_for_another_scope_is_told_what_to_do(runtime: Runtime, call: Any) -> None:
    """By an error of its own; and it reads nothing of anybody's without asking."""

    async def body(ctx: Any, data: Any) -> list[Any]:
        for scope in ("stream", "global"):
            with pytest.raises(ScopeNotAllowed, match=f"'{scope}'.*isolation_level=") as refused:
                await call(ctx.memory, scope)
            assert (ctx.execution_id, "s", scope) == (
                refused.value.execution_id,
                refused.value.stream_id,
                refused.value.scope,
            )
        return [await ctx.memory.read("k", "nothing"), await ctx.memory.read_all()]

    runtime.set_state({"k": 1}).get(timeout=PATIENCE)
    result = opened(runtime, body, "isolated").run().get(timeout=PATIENCE)
    assert (None, ["nothing", {}]) == (result.error, result.output)
    assert {"k": 1} == runtime.state().get(timeout=PATIENCE)


BAD: list[tuple[str, Any, type[Exception], str]] = [
    ("a scope that there is not", lambda m: m.write("k", 1, scope="planet"), InvalidInput, "planet"),
    ("no scope to write in", lambda m: m.write("k", 1, scope=None), InvalidInput, "scope"),
    ("no scope to update in", lambda m: m.update("k", str, scope=None), InvalidInput, "scope"),
    ("no scope to delete from", lambda m: m.delete("k", scope=None), InvalidInput, "scope"),
    ("a key that is no text", lambda m: m.write(3, 1, scope="global"), InvalidInput, "memory key"),
    ("an empty key", lambda m: m.write("", 1, scope="global"), InvalidInput, "memory key"),
    ("a key that is too long", lambda m: m.update("k" * 5_000, str, scope="global"), InvalidInput, "5000 bytes"),
    ("a key to read that is no text", lambda m: m.read(3, scope="global"), InvalidInput, "memory key"),
    ("a value", lambda m: m.write("k", {"x": object()}, scope="global"), InvalidInput, r"memory\.k\.x"),
    ("one value of several", lambda m: m.write_batch({"a": 1, "b": object()}, scope="global"), InvalidInput, "b"),
    ("no mapping", lambda m: m.write_batch([1], scope="global"), InvalidInput, "no mapping"),
    ("what to expect", lambda m: m.write_batch({"a": 1}, expected={"b": 1}, scope="global"), InvalidInput, "expected"),
    ("a value too large", lambda m: m.write("k", b"x" * 2_000_000, scope="global"), PayloadTooLarge, "memory.k"),
    ("what a function gave", lambda m: m.update("k", lambda _: object(), scope="global"), InvalidInput, r"memory\.k"),
    ("no function", lambda m: m.update("k", 5, scope="global"), InvalidInput, "no function"),
]


@pytest.mark.parametrize(("what", "call", "error", "words"), BAD, ids=[bad[0] for bad in BAD])
def test_what_cannot_be_done_is_named_and_leaves_nothing(
    store: str, what: str, call: Any, error: type[Exception], words: str
) -> None:
    """And the next call works."""
    from propolis import RuntimeConfig

    async def body(ctx: Any, data: Any) -> None:
        with pytest.raises(error, match=words):
            await call(ctx.memory)
        await ctx.memory.write("after", what, scope="global")

    with Runtime(store, config=RuntimeConfig(max_payload_bytes=1_000_000)) as runtime:
        result = opened(runtime, body, "synchronized").run().get(timeout=PATIENCE)
        assert result.success, result.error
        assert {"after": what} == runtime.state().get(timeout=PATIENCE)


def test_an_async_function_cannot_make_an_update(runtime: Runtime) -> None:
    """Others would wait for whatever it waits for."""

    async def later(value: Any) -> Any:
        return value

    async def body(ctx: Any, data: Any) -> None:
        with pytest.raises(InvalidInput, match="coroutine"):
            await ctx.memory.update("k", later, scope="global")

    assert opened(runtime, body, "synchronized").run().get(timeout=PATIENCE).success


def test_the_function_of_an_update_changes_nothing_shared_itself(runtime: Runtime) -> None:
    """It would be done again with every try."""

    def body(ctx: Any, data: Any) -> Any:
        def nested(value: Any) -> Any:
            ctx.memory.write("other", 1, scope="global")

        with pytest.raises(InvalidInput, match="before the update"):
            ctx.memory.update("k", nested, scope="global")
        return ctx.memory.update("k", lambda _: 1, scope="global")

    assert 1 == opened(runtime, body, "synchronized").run().get(timeout=PATIENCE).output
    assert {"k": 1} == runtime.state().get(timeout=PATIENCE)


def test_a_fork_and_a_resume_have_their_own_memory_and_share_the_rest(runtime: Runtime) -> None:
    """What is shared is neither copied nor rolled back."""

    async def body(ctx: Any, data: Any) -> Any:
        await ctx.memory.write("own", ctx.execution_id)
        await ctx.memory.update("shared", lambda n: (n or 0) + 1, scope="stream")
        if ctx.resumed_from is None:
            await ctx.pause("here")
        return await ctx.memory.read("shared"), await ctx.memory.read("own") == ctx.execution_id

    stream = opened(runtime, body, "synchronized")
    paused = stream.run().get(timeout=PATIENCE)
    forked = stream.fork(paused.session_id).get(timeout=PATIENCE)
    stream.wait_for_completion(forked).get(timeout=PATIENCE)
    resumed = stream.resume(paused.session_id).get(timeout=PATIENCE)
    result = stream.wait_for_completion(resumed).get(timeout=PATIENCE)
    assert result is not None
    assert result.success
    assert {"shared": result.output[0]} == runtime.state("stream", stream="s").get(timeout=PATIENCE)


@pytest.mark.parametrize("level", ["shared", "synchronized"])
def test_while_the_store_cannot_be_read_whoever_reads_waits_as_for_a_commit(level: str) -> None:
    """Reads, and updates, with turns and without."""

    class Away(FailingStore):
        """Its shared memory cannot be read, a few times."""

        refusals = 3

        def read_state(self, questions: Any) -> Any:
            self.refusals -= 1
            if self.refusals >= 0:
                raise StoreUnavailable(store="memory:", reason="the disk is away")
            return super().__getattr__("read_state")(questions)

    async def body(ctx: Any, data: Any) -> list[Any]:
        away.refusals = 2
        value = await ctx.memory.read("n", 0, scope="global")
        away.refusals = 2
        return [value, await ctx.memory.update("n", lambda n: (n or 0) + 1, scope="global")]

    away = Away()
    with Runtime(away.open, config=RuntimeConfig(grace_seconds=0.5)) as runtime:
        result = opened(runtime, body, level).run().get(timeout=PATIENCE)
        assert [0, 1] == result.output, result.error
        assert away.refusals < 0
