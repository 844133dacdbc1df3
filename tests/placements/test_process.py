"""Worker processes: what kills them stays in them, is told with its reason, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from propolis.actors.placements.process.importing import file_of, import_name, name_of_import

from propolis import EntryPoint, Placement, RestartPolicy, Runtime, Stream
from propolis.messages import ExecutionResult, ExecutorNotImportable, InvalidInput

from ..processes import ROOT, is_gone, unmeasured
from ..runtime.support import PATIENCE, Recorder, until
from . import bodies, hostile
from .conftest import joined

NEVER = RestartPolicy(max_restarts=0)


def opened(runtime: Runtime, executor: Any, restart: RestartPolicy = NEVER, **options: Any) -> Stream:
    """A stream of worker processes."""
    options = {"workers": 1, "warm": 0, "start_method": "forkserver", **options}
    point = EntryPoint(id=executor.__name__, placement=Placement.process(**options), restart=restart)
    return runtime.open_stream(point, executor).get(timeout=PATIENCE)


@pytest.fixture
def either(start_method: str, runtime: Runtime, shared: Runtime) -> Runtime:
    """A runtime of the test's own for workers that are spawned, the shared one for those that are forked."""
    return runtime if start_method == "spawn" else shared


def started(either: Runtime, start_method: str, executor: Any) -> Stream:
    """A stream of workers that are started in this way."""
    return opened(either, executor, start_method="spawn") if start_method == "spawn" else joined(either, executor)


def failed(stream: Stream, data: Any = None) -> tuple[str, dict[str, Any]]:
    """Run something that fails: the failure's code, and its details."""
    result = stream.run(data).get(timeout=PATIENCE)
    assert "failed" == result.status
    assert result.failure is not None
    return result.failure.code, result.failure.details.value() if result.failure.details is not None else {}


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_a_pool_that_has_yet_to_start_ends_at_once(start_method: str) -> None:
    """Also when a worker is being forked that moment; the leak check sees whether anything is left."""
    for _ in range(3):
        with Runtime() as runtime:
            opened(runtime, bodies.echo, start_method=start_method, warm=2)
            began = time.monotonic()
        assert time.monotonic() - began < 5.0  # it takes a tenth of a second, or, when it has to be killed, over six


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_a_signal_is_named(either: Runtime, start_method: str) -> None:
    """A segmentation fault, here."""
    code, details = failed(started(either, start_method, hostile.segfaults))
    assert ("worker_signal", "SIGSEGV") == (code, details["signal"])


@pytest.mark.parametrize(("status", "start_method"), [(0, "spawn"), (3, "forkserver")])
def test_an_exit_without_a_word_is_no_completion(either: Runtime, status: int, start_method: str) -> None:
    """Whatever its status."""
    stream = started(either, start_method, hostile.leaves_without_a_word)
    code, details = failed(stream, status)
    assert ("worker_exit", status) == (code, details["exit_status"])


def test_a_death_leaves_what_the_last_checkpoint_said_of_the_way(shared: Runtime) -> None:
    """The attempt itself has no last word."""
    result = joined(shared, bodies.reports).run("exit").get(timeout=PATIENCE)
    assert ("failed", ("a",), 2, 7) == (result.status, result.path, result.total_retries, result.total_tokens)


def test_a_death_is_restarted_by_policy_and_quarantined(shared: Runtime, quick: RestartPolicy) -> None:
    """Each attempt in another process; replay gives it a new budget."""
    result = joined(shared, hostile.segfaults, quick).run().get(timeout=PATIENCE)
    assert ("failed", 5) == (result.status, result.restarts)
    assert result.session_id in [record.session_id for record in shared.quarantined().get(timeout=PATIENCE)]
    replayed = shared.replay(result.session_id).get(timeout=PATIENCE)
    stream = shared.stream("segfaults")
    assert stream is not None
    again: Any = stream.wait_for_completion(replayed).get(timeout=PATIENCE)
    assert ("failed", "worker_signal") == (again.status, again.failure.code)


@pytest.mark.parametrize("body", [hostile.spins, hostile.spins_deaf, hostile.sleeps_in_c])
def test_an_endless_loop_is_dead_within_its_grace_and_reported_cancelled(
    shared: Runtime, gate: Path, body: Callable[..., Any]
) -> None:
    """Asked, then SIGTERM, then SIGKILL."""
    stream = joined(shared, body)
    execution_id = stream.execute(str(gate)).get(timeout=PATIENCE)
    until(Path(f"{gate}.1").exists)
    pid = int(Path(f"{gate}.1").read_text())
    began = time.monotonic()
    outcome = stream.cancel_execution(execution_id, grace=1.0).get(timeout=PATIENCE)
    assert "cancelled" == outcome.outcome
    assert is_gone(pid)
    assert time.monotonic() - began < 2.0


def test_memory_past_the_limit_is_told_as_such(runtime: Runtime) -> None:
    """Allocated, which the kernel bounds; or shared, which it does not count, and the pool sees from outside. The
    neighbours in this process do not notice.
    """
    limit: dict[str, Any] = {"memory_mb": 256, "name": "small"}
    assert "out_of_memory" == failed(opened(runtime, hostile.eats_memory, **limit))[0]
    code, details = failed(opened(runtime, hostile.eats_shared_memory, **limit))
    assert "out_of_memory" == code
    assert details["rss_bytes"] > details["limit_bytes"] > 256 * 2**20


@pytest.mark.parametrize("body", [hostile.closes_everything, hostile.closes_everything_and_spins])
def test_a_worker_that_closes_every_descriptor_is_done_for(shared: Runtime, body: Callable[..., Any]) -> None:
    """Nobody could hear it."""
    assert "worker_exit" == failed(joined(shared, body))[0]


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
@pytest.mark.parametrize("body", [hostile.leaves_children, hostile.dies_with_children])
def test_children_of_an_execution_end_with_it(
    either: Runtime, gate: Path, body: Callable[..., Any], start_method: str
) -> None:
    """Also while they hold the pipes of their parent."""
    started(either, start_method, body).run(str(gate)).get(timeout=PATIENCE)
    for pid in map(int, gate.read_text().split()):
        until(lambda pid=pid: is_gone(pid), f"the end of {pid}")  # type: ignore[misc]


def test_a_thread_that_is_left_behind_costs_the_worker_its_place(shared: Runtime) -> None:
    """The next execution gets another one."""
    stream = joined(shared, hostile.leaves_thread)
    assert ["done", "done"] == [stream.run().get(timeout=PATIENCE).output for _ in range(2)]
    until(lambda: all(worker.executions <= 1 for worker in shared.workers()))


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_what_is_printed_becomes_events(either: Runtime, start_method: str) -> None:
    """A line each, before the end is told; a protocol it is not."""
    recorder = Recorder()
    either.subscribe(["node_internal_output", "execution_completed"], recorder, stream="prints").get(timeout=PATIENCE)
    result = started(either, start_method, bodies.prints).run().get(timeout=PATIENCE)
    recorder.wait_for("execution_completed")
    *outputs, last = recorder.events
    assert "execution_completed" == last.type
    assert {result.execution_id} == {event.execution_id for event in outputs}
    assert {
        ("stdout", "to stdout", None),
        ("stdout", "no end of line", None),
        ("stderr", "to stderr", None),
        ("log", "to a logger", "some.library"),
    } == {(event.data["stream"], event.data["line"], event.data.get("logger")) for event in outputs}


def test_garbage_on_the_standard_streams_is_bounded(shared: Runtime) -> None:
    """So many lines of an attempt, and a last one that says so."""
    recorder = Recorder()
    shared.subscribe(["node_internal_output", "execution_completed"], recorder, stream="writes_garbage").get(
        timeout=PATIENCE
    )
    assert "done" == joined(shared, hostile.writes_garbage).run().get(timeout=PATIENCE).output
    recorder.wait_for("execution_completed")
    lines = recorder.types().count("node_internal_output")
    assert 1001 >= lines > 100  # the subscriber's own queue may have overflowed


def test_a_worker_that_is_killed_is_replaced_by_the_warm_one(
    runtime: Runtime, gate: Path, quick: RestartPolicy
) -> None:
    """Which was there before."""
    stream = opened(runtime, hostile.which_after, quick, warm=1, start_method="spawn")
    execution_id = stream.execute(str(gate)).get(timeout=PATIENCE)
    until(Path(f"{gate}.1").exists)
    victim = int(Path(f"{gate}.1").read_text())
    until(lambda: ["busy", "idle"] == sorted(worker.state for worker in runtime.workers()))
    (spare,) = [worker.pid for worker in runtime.workers() if worker.state == "idle"]
    os.kill(victim, signal.SIGKILL)
    result: Any = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert ("completed", spare, 1) == (result.status, result.output, result.restarts)


def test_workers_can_be_looked_at(runtime: Runtime, gate: Path) -> None:
    """With what they run, and what they take."""
    stream = opened(runtime, hostile.spins)
    execution_id = stream.execute(str(gate)).get(timeout=PATIENCE)
    until(Path(f"{gate}.1").exists)
    (worker,) = runtime.workers()
    assert ("spins", int(Path(f"{gate}.1").read_text())) == (worker.pool, worker.pid)
    assert ("busy", execution_id) == (worker.state, worker.execution_id)
    assert (worker.rss_bytes or 0) > 2**20


def test_a_worker_is_replaced_after_so_many_executions(runtime: Runtime) -> None:
    """By a new one."""
    stream = opened(runtime, hostile.which, recycle_after=2)
    pids = [stream.run().get(timeout=PATIENCE).output for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_streams_share_a_pool_by_its_name(runtime: Runtime) -> None:
    """Each with its own executor; one with other settings is refused; it ends with the last of them."""
    first = opened(runtime, hostile.which, name="shared")
    pid = first.run().get(timeout=PATIENCE).output
    second = opened(runtime, hostile.good, name="shared")
    assert 42 == second.run(21).get(timeout=PATIENCE).output
    assert [pid] == [worker.pid for worker in runtime.workers()]
    with pytest.raises(InvalidInput, match="shared"):
        opened(runtime, hostile.exits, name="shared", warm=3)
    runtime.close_stream("which").get(timeout=PATIENCE)
    assert 44 == second.run(22).get(timeout=PATIENCE).output
    runtime.close_stream("good").get(timeout=PATIENCE)
    until(lambda: () == runtime.workers())


def test_who_waits_for_a_worker_is_not_timed(runtime: Runtime, gate: Path) -> None:
    """A timeout is of running."""
    point = EntryPoint(
        id="held", max_concurrent=2, timeout=0.3, placement=Placement.process(workers=1, warm=0), restart=NEVER
    )
    stream = runtime.open_stream(point, bodies.held).get(timeout=PATIENCE)
    first = stream.execute(str(gate) + "-never").get(timeout=PATIENCE)
    second = stream.execute(str(gate)).get(timeout=PATIENCE)
    gate.touch()
    results: list[Any] = [stream.wait_for_completion(id).get(timeout=PATIENCE) for id in (first, second)]
    assert ["failed", "completed"] == [result.status for result in results]


def nested() -> Callable[..., Any]:
    """A closure."""

    def inner(ctx: Any, data: Any) -> None: ...

    return inner


def of_main(ctx: Any, data: Any) -> None: ...


of_main.__module__ = "__main__"


@pytest.mark.parametrize(
    "executor",
    [
        lambda ctx, data: None,
        nested(),
        of_main,
        functools.partial(hostile.good),
        bodies.CounterPlainly(),
        functools.wraps(hostile.good)(nested()),
    ],
    ids=["lambda", "closure", "main", "partial", "instance", "wrapped"],
)
def test_what_a_worker_could_not_import_is_refused_before_anything_starts(runtime: Runtime, executor: Any) -> None:
    """With what to do about it."""
    point = EntryPoint(id="work", placement=Placement.process())
    with pytest.raises(ExecutorNotImportable, match="top level of a module"):
        runtime.open_stream(point, executor).get(timeout=PATIENCE)
    assert ((), ()) == (runtime.workers(), runtime.streams())


def test_an_object_at_the_top_level_of_a_module_is_imported_by_its_name_there() -> None:
    """Such as a GraphExecutor that is made where its graph is."""
    name = name_of_import(bodies.COUNTER)
    assert bodies.COUNTER is import_name(name, file_of(name))
    assert bodies.__file__ == file_of(name)


def test_a_class_is_made_anew_for_every_attempt_in_a_worker_too(shared: Runtime) -> None:
    """In the same process."""
    stream = joined(shared, bodies.Counter)
    assert [1, 1] == [stream.run().get(timeout=PATIENCE).output for _ in range(2)]


def test_a_module_that_the_worker_cannot_import_is_a_failure_that_is_not_retried(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason."""
    monkeypatch.setenv("PROPOLIS_TEST_MAIN", str(os.getpid()))
    from . import broken_import

    result = opened(runtime, broken_import.work, RestartPolicy()).run().get(timeout=PATIENCE)
    assert result.failure is not None
    assert ("import_failed", False, 0) == (result.failure.code, result.failure.retryable, result.restarts)
    assert "not in here" in result.failure.message


ORPHANS = """
import os, signal, sys, threading
from pathlib import Path
from propolis import EntryPoint, Placement, Runtime
from tests.placements import hostile

def main():
    runtime = Runtime()
    runtime.start().get()
    placement = Placement.process(workers=3, warm=1, start_method=sys.argv[2], name="all")
    for name in ("spins", "sleeps_in_c", "leaves_children"):
        stream = runtime.open_stream(EntryPoint(id=name, placement=placement), getattr(hostile, name)).get()
        stream.execute(f"{sys.argv[1]}-{name}").get()
    while not all(Path(f"{sys.argv[1]}-{name}").exists() for name in ("spins.1", "sleeps_in_c.1", "leaves_children")):
        threading.Event().wait(0.01)
    fork = os.fork()
    if fork:
        keeper = runtime._engine.process_placement._io._keeper.pid
        print(fork, keeper, *(worker.pid for worker in runtime.workers()), flush=True)
    signal.pause()

main()
"""


@pytest.mark.parametrize(("start_method", "keeper_too"), [("spawn", True), ("forkserver", False)])
def test_no_worker_outlives_a_runtime_that_is_killed(gate: Path, start_method: str, *, keeper_too: bool) -> None:
    """Idle, spinning, or asleep in C code; nor do their children, as long as the keeper is there.

    Though a fork of it lives on, which holds all that it had open.
    """
    command = [sys.executable, "-c", ORPHANS, str(gate), start_method]
    with subprocess.Popen(command, cwd=ROOT, env=unmeasured(), stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        fork, keeper, *pids = [int(word) for word in program.stdout.readline().split() if word != "None"]
        if keeper_too:
            os.kill(keeper, signal.SIGKILL)
        program.kill()
    pids += [int(Path(f"{gate}-{name}.1").read_text()) for name in ("spins", "sleeps_in_c")]
    children = [int(word) for word in Path(f"{gate}-leaves_children").read_text().split()]
    pids += [keeper] if keeper_too else [keeper, *children]
    assert len(pids) >= 5
    try:
        began = time.monotonic()
        until(lambda: all(is_gone(pid) for pid in pids))
        assert time.monotonic() - began < 2.0
    finally:
        for pid in (fork, *children):  # without a keeper they may live on
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


MIX: tuple[tuple[Callable[..., Any], str], ...] = (
    (hostile.segfaults, "worker_signal"),
    (hostile.leaves_without_a_word, "worker_exit"),
    (hostile.exits, "crashed"),
    (hostile.eats_memory, "out_of_memory"),
    (hostile.closes_everything, "worker_exit"),
    (hostile.is_of_the_worker, "worker_signal"),
)


def test_good_executions_complete_among_hostile_ones(runtime: Runtime) -> None:
    """In one pool, all at once; each ends as it should, with its reason."""
    restart = RestartPolicy(max_restarts=0)
    placement = Placement.process(workers=2, name="all", memory_mb=256, start_method="forkserver")
    streams: dict[str, Stream] = {}
    for body in (hostile.good, hostile.writes_garbage, *(body for body, _ in MIX)):
        point = EntryPoint(id=body.__name__, placement=placement, restart=restart, max_concurrent=4)
        streams[body.__name__] = runtime.open_stream(point, body).get(timeout=PATIENCE)
    runs: list[tuple[Any, str]] = []
    expected: list[ExecutionResult | Any] = []
    for number in range(60):
        runs.append((streams["good"].run(number), ""))
        expected.append(number * 2)
        if number % 5 == 0:
            body, code = MIX[number // 5 % len(MIX)]
            runs.append((streams[body.__name__].run(0), code))
            expected.append(None)
    for (run, code), output in zip(runs, expected, strict=True):
        result = run.get(timeout=PATIENCE * 2)
        assert (output, code) == (result.output, result.failure.code if result.failure is not None else "")
