"""Executors as nobody should write them: refused when the stream is opened, or failed like any other, never hung."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from propolis import Backoff, EntryPoint, Placement, RestartPolicy, Runtime, Stream
from propolis.messages import InvalidInput, PropolisError

from .support import PATIENCE, executor_for, point

ONCE = RestartPolicy(backoff=Backoff(initial=0.0), max_restarts=1)


def generator(ctx: Any, data: Any) -> Any:
    yield data


async def async_generator(ctx: Any, data: Any) -> Any:
    yield data


class NeedsArguments:
    """Cannot be made anew for every attempt."""

    def __init__(self, option: int) -> None:
        self.option = option

    def execute(self, ctx: Any, data: Any) -> Any:
        """The work."""
        return data


async def awaited(ctx: Any, data: Any) -> Any:
    return data


@pytest.mark.parametrize(
    ("executor", "reason"),
    [
        (generator, "generator function"),
        (async_generator, "generator function"),
        (NeedsArguments, "without arguments"),
        (print, None),
        (len, "ctx, input"),
    ],
    ids=["generator", "async generator", "class", "print", "len"],
)
def test_what_could_never_run_is_refused_when_the_stream_is_opened(
    runtime: Runtime, executor: Any, reason: str | None
) -> None:
    """With the reason; and what merely looks odd is let be."""
    opening = lambda: runtime.open_stream(EntryPoint(id="work"), executor).get(timeout=PATIENCE)  # noqa: E731
    if reason is None:
        assert opening().run(1).get(timeout=PATIENCE).success
        return
    with pytest.raises(InvalidInput, match=reason):
        opening()
    assert () == runtime.streams()


def test_a_coroutine_in_place_of_its_function_is_refused_with_the_remedy(runtime: Runtime) -> None:
    """The usual slip."""
    coroutine = awaited(None, None)
    with pytest.raises(InvalidInput, match="uncalled"):
        runtime.open_stream(EntryPoint(id="work"), coroutine).get(timeout=PATIENCE)
    coroutine.close()


def forgets_to_await(ctx: Any, data: Any) -> Any:
    return awaited(ctx, data)


def test_a_plain_function_that_returns_a_coroutine_fails_once_with_the_remedy(runtime: Runtime) -> None:
    """Nobody would await it; it is closed without a warning."""
    stream = runtime.open_stream(EntryPoint(id="work"), forgets_to_await).get(timeout=PATIENCE)
    result = stream.run(1).get(timeout=PATIENCE)
    assert result.failure is not None
    assert ("failed", 0) == (result.status, result.restarts)
    assert "async def" in result.failure.message


class Static:
    """No instance is needed."""

    @staticmethod
    def execute(ctx: Any, data: Any) -> list[Any]:
        """The work."""
        return ["static", data]


class OfTheClass:
    """The class will do."""

    @classmethod
    async def execute(cls, ctx: Any, data: Any) -> list[Any]:
        """The work."""
        return ["class", data]


@pytest.mark.parametrize("executor", [Static, Static(), OfTheClass, OfTheClass()])
def test_execute_may_be_a_method_of_any_kind(runtime: Runtime, executor: Any) -> None:
    """Static and class methods too."""
    stream = runtime.open_stream(EntryPoint(id="work"), executor).get(timeout=PATIENCE)
    assert stream.run(1).get(timeout=PATIENCE).output[1] == 1


# -- exceptions --------------------------------------------------------------------------------------------------------


class NoClass(Exception):
    """Raises when it is asked what it is."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        """Never there."""
        raise SystemExit("no")

    @__class__.setter
    def __class__(self, value: Any) -> None:
        """Nor to be set."""


class NoName(type):
    """A metaclass that gives nothing away."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        """Never there."""
        raise ValueError("no")

    def __instancecheck__(cls, instance: Any) -> bool:
        raise ValueError("no")

    def __subclasscheck__(cls, subclass: Any) -> bool:
        raise ValueError("no")


class Nameless(Exception, metaclass=NoName):
    """Of that metaclass."""


class BadCode(PropolisError):
    """One of our family, with a code that cannot travel."""

    code = 3  # type: ignore[assignment]


class NoText(Exception):
    """Ends whoever prints it."""

    def __str__(self) -> str:
        raise SystemExit("no")


class NotPickled(Exception):
    """Takes two arguments and keeps none."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__()


class Own(BaseException):
    """Not even an Exception."""


def nested() -> BaseException:
    error: Exception = ValueError("inside")
    for _ in range(3_000):
        error = ExceptionGroup("group", [error])
    return error


def circular() -> BaseException:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


MAKERS: dict[str, Callable[[], BaseException]] = {
    "no class": NoClass,
    "no name": Nameless,
    "bad code": BadCode,
    "no text": NoText,
    "not pickled": lambda: NotPickled(1, 2),
    "own BaseException": Own,
    "nested": nested,
    "circular": circular,
    "not Unicode": lambda: ValueError("\ud800"),
    "huge": lambda: ValueError("x" * 10_000_000),
    "long name": type("N" * 100_000, (Exception,), {}),
    "StopIteration": lambda: StopIteration(3),
    "StopAsyncIteration": StopAsyncIteration,
    "GeneratorExit": GeneratorExit,
    "RecursionError": RecursionError,
    "group of exits": lambda: BaseExceptionGroup("group", [SystemExit(), KeyboardInterrupt()]),
    "group of cancels": lambda: BaseExceptionGroup("group", [asyncio.CancelledError()]),
    "ours": lambda: InvalidInput(what=object(), reason="\ud800"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("make", MAKERS)
def test_whatever_is_raised_is_a_failure_that_is_told(runtime: Runtime, placement: str, make: str) -> None:
    """With a name and a message that fit; and the next one runs."""

    async def work(ctx: Any, data: Any) -> Any:
        if data == "raise":
            error = MAKERS[make]()
            raise error
        return data

    stream = opened(runtime, placement, work)
    result = stream.run("raise").get(timeout=PATIENCE)
    assert result.failure is not None
    assert ("failed", True) == (result.status, 0 < len(result.failure.kind) <= 200)
    assert len(result.failure.message) < 3_000
    assert "ok" == stream.run("ok").get(timeout=PATIENCE).output
    assert () == stream.active_execution_ids


def opened(runtime: Runtime, placement: str, body: Any, id: str = "work") -> Stream:
    """A stream with a body."""
    return runtime.open_stream(point(placement, id, restart=ONCE), executor_for(placement, body)).get(timeout=PATIENCE)


# -- what it passes to its context -------------------------------------------------------------------------------------

CALLS: list[tuple[str, Callable[[Any], Any]]] = [
    ("node", lambda ctx: ctx.checkpoint(3)),
    ("node", lambda ctx: ctx.checkpoint("\ud800")),
    ("node", lambda ctx: ctx.pause(3)),
    ("node", lambda ctx: ctx.pause("\ud800")),
    ("memory", lambda ctx: ctx.checkpoint("a", memory=3)),
    ("memory key", lambda ctx: ctx.checkpoint("a", memory={1: 2})),
    ("memory.a", lambda ctx: ctx.checkpoint("a", memory={"a": object()})),
    ("event type", lambda ctx: ctx.emit(3)),
    ("event type", lambda ctx: ctx.emit("")),
    ("event type", lambda ctx: ctx.emit("\ud800")),
    ("event type", lambda ctx: ctx.emit("x" * 5_000)),
    ("event type", lambda ctx: ctx.emit("execution_completed")),
    ("event.data", lambda ctx: ctx.emit("a", 3)),
    ("event.data", lambda ctx: ctx.emit("a", [1])),
    ("event.data.x", lambda ctx: ctx.emit("a", {"x": object()})),
    ("node_id", lambda ctx: ctx.emit("a", {}, node_id=3)),
    ("progress", lambda ctx: ctx.progress(float("nan"))),
    ("progress", lambda ctx: ctx.progress("x")),
    ("note", lambda ctx: ctx.progress(0.5, 3)),
    ("note", lambda ctx: ctx.progress(0.5, "\ud800")),
    ("memory key", lambda ctx: ctx.memory.write(3, 1)),
    ("memory key", lambda ctx: ctx.memory.write("\ud800", 1)),
    ("memory.a", lambda ctx: ctx.memory.write("a", object())),
    ("memory", lambda ctx: ctx.memory.write_batch(3)),
    ("memory scope", lambda ctx: ctx.memory.write("a", 1, scope="galaxy")),
]


def test_a_wrong_argument_to_the_context_is_named_and_not_tried_again(runtime: Runtime, placement: str) -> None:
    """Uncaught it fails the execution; caught, the executor goes on as if it had not been said."""

    async def work(ctx: Any, data: Any) -> Any:
        n, caught = data
        try:
            await CALLS[n][1](ctx)
        except InvalidInput:
            if not caught:
                raise
        return await ctx.memory.read_all()

    stream = opened(runtime, placement, work)
    for n, (name, _) in enumerate(CALLS):
        result = stream.run([n, False]).get(timeout=PATIENCE)
        assert result.failure is not None
        assert ("failed", 0, "invalid_input") == (result.status, result.restarts, result.failure.code), name
        assert result.failure.message.startswith(name), (name, result.failure.message)
        result = stream.run([n, True]).get(timeout=PATIENCE)
        assert ("completed", {}, None) == (result.status, result.output, result.failure), name


BIG = "x" * 20_000

LARGE: list[tuple[str, Callable[[Any], Any]]] = [
    ("memory.a", lambda ctx: ctx.memory.write("a", BIG)),
    ("memory.a", lambda ctx: ctx.checkpoint("a", memory={"a": BIG})),
    ("event.data", lambda ctx: ctx.emit("a", {"x": BIG})),
]


def test_what_is_too_large_is_refused_wherever_it_comes_in(placement: str) -> None:
    """Input, memory, events, output; also when it is the sum of what is small."""
    from propolis import RuntimeConfig
    from propolis.messages import PayloadTooLarge

    async def work(ctx: Any, data: Any) -> Any:
        if data == "output":
            return BIG
        if data == "sum":
            for n in range(5):
                await ctx.memory.write(f"k{n}", "x" * 3_000)
        elif data == "sum at a checkpoint":
            for n in range(5):
                await ctx.memory.write(f"k{n}", "x" * 3_000)
            await ctx.checkpoint("here")
        else:
            await LARGE[data][1](ctx)
        return None

    with Runtime(config=RuntimeConfig(max_payload_bytes=10_000)) as runtime:
        stream = opened(runtime, placement, work)
        cases = [(n, name) for n, (name, _) in enumerate(LARGE)]
        for data, name in [*cases, ("output", "output"), ("sum", "memory"), ("sum at a checkpoint", "memory")]:
            result = stream.run(data).get(timeout=PATIENCE)
            assert result.failure is not None, name
            assert ("failed", 0, "payload_too_large") == (result.status, result.restarts, result.failure.code), name
            assert result.failure.message.startswith(name), (name, result.failure.message)
        for fields in ({"input_data": BIG}, {"memory": {"m": BIG}}):
            with pytest.raises(PayloadTooLarge, match=next(iter(fields)).removesuffix("_data")):
                stream.run(**fields)


# -- using the runtime from inside -------------------------------------------------------------------------------------


def test_an_async_executor_that_would_block_the_loop_of_all_of_them_is_told_at_once(runtime: Runtime) -> None:
    """What it waits for would have to run on that loop. Awaited, it may: also its own execution's end, for a time."""
    streams: list[Stream] = []

    async def work(ctx: Any, data: Any) -> Any:
        stream = streams[0]
        if data == "block":
            return stream.run("leaf").get().output
        if data == "await":
            return (await stream.run("leaf")).output
        if data == "myself":
            return await stream.wait_for_completion(ctx.execution_id, timeout=0.01)
        return data

    once = RestartPolicy(strategy="temporary")
    entry_point = EntryPoint(id="work", restart=once, placement=Placement.asyncio())
    streams.append(runtime.open_stream(entry_point, work).get(timeout=PATIENCE))
    result = streams[0].run("block").get(timeout=PATIENCE)
    assert result.failure is not None
    assert ("failed", "would_block") == (result.status, result.failure.code)
    assert "leaf" == streams[0].run("await").get(timeout=PATIENCE).output
    assert streams[0].run("myself").get(timeout=PATIENCE).output is None
