"""A pool in trouble: what cannot be started, what is killed beside the workers, what is more than a pipe holds."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from propolis.actors.placements.process import io, pool

from propolis import EntryPoint, Placement, RestartPolicy, Runtime, Stream
from propolis.actors import Host
from propolis.messages import ExecutionResult

from ..processes import is_gone
from ..runtime.support import PATIENCE, until
from . import bodies, hostile, tampering
from .conftest import joined

NEVER = RestartPolicy(max_restarts=0)


class PoorHost(Host):
    """A machine that has no room for some processes."""

    def __init__(self, refused: str) -> None:
        super().__init__()
        self.refused = refused
        self.started: list[subprocess.Popen[bytes]] = []

    def spawn_process(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """As it says."""
        if any(self.refused in word for word in command):
            raise BlockingIOError("no more processes")
        self.started.append(super().spawn_process(command, **options))
        return self.started[-1]


def opened(runtime: Runtime, executor: Any, restart: RestartPolicy = NEVER, **options: Any) -> Stream:
    """A stream with one worker and two slots."""
    options = {"workers": 1, "warm": 0, "start_method": "forkserver", **options}
    point = EntryPoint(id=executor.__name__, placement=Placement.process(**options), restart=restart, max_concurrent=2)
    return runtime.open_stream(point, executor).get(timeout=PATIENCE)


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_a_worker_that_cannot_be_started_is_a_failure(start_method: str) -> None:
    """Of what waits for it, by its policy; when there is room again it works."""
    host = PoorHost("placements.process")
    with Runtime(host=host) as runtime:
        stream = opened(runtime, hostile.good, start_method=start_method)
        result = stream.run(1).get(timeout=PATIENCE)
        assert result.failure is not None
        assert ("worker_not_started", True) == (result.failure.code, result.failure.retryable)
        host.refused = "nothing"
        assert 4 == stream.run(2).get(timeout=PATIENCE).output


def test_a_worker_that_gets_no_descriptors_is_a_failure(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none of those that it got stays open."""
    stream = opened(runtime, hostile.good, start_method="spawn")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe", lambda: (_ for _ in ()).throw(OSError(24, "Too many open files")))
        result = stream.run(1).get(timeout=PATIENCE)
    assert result.failure is not None
    assert "worker_not_started" == result.failure.code
    assert 4 == stream.run(2).get(timeout=PATIENCE).output


class ForkedHost(Host):
    """The program is forked while a process is started."""

    def __init__(self) -> None:
        super().__init__()
        self.forks: list[threading.Thread] = []
        self.forked_meanwhile: list[bool] = []

    def spawn_process(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """With a while for the fork."""
        self.forks.append(threading.Thread(target=self._fork))
        self.forks[-1].start()
        self.forks[-1].join(0.1)
        self.forked_meanwhile.append(not self.forks[-1].is_alive())
        return super().spawn_process(command, **options)

    def _fork(self) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_of_the_program_waits_for_the_process_that_is_being_started() -> None:
    """Else its child would hold the pipe that says that the start is over, and all wait as long as that lives."""
    host = ForkedHost()
    with Runtime(host=host) as runtime:
        assert 4 == opened(runtime, hostile.good).run(2).get(timeout=PATIENCE).output
    for fork in host.forks:
        fork.join(PATIENCE)
    assert [False, False] == host.forked_meanwhile


def test_without_a_keeper_the_workers_work() -> None:
    """There is a warning."""
    with Runtime(host=PoorHost("killpg")) as runtime:
        assert 4 == opened(runtime, hostile.good).run(2).get(timeout=PATIENCE).output


def test_a_keeper_that_is_killed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next worker, or a little later."""
    monkeypatch.setattr(io, "KEEPER_SECONDS", 0.05)
    host = PoorHost("nothing")

    def keepers() -> list[subprocess.Popen[bytes]]:
        return [process for process in host.started if "-S" in process.args]  # type: ignore[operator]

    with Runtime(host=host) as runtime:
        stream = opened(runtime, hostile.which, recycle_after=1)
        stream.run().get(timeout=PATIENCE)
        (keeper,) = keepers()
        keeper.kill()
        pids = {stream.run().get(timeout=PATIENCE).output for _ in range(2)}
        assert 2 == len(pids)
        until(lambda: len(keepers()) == 2)
        keepers()[1].kill()
        until(lambda: len(keepers()) == 3)


def test_a_template_that_is_killed_takes_its_workers_with_it_and_is_replaced(gate: Path) -> None:
    """What ran is restarted in a worker of the next one."""
    host = PoorHost("nothing")
    restart = RestartPolicy(max_restarts=2)
    with Runtime(host=host) as runtime:
        stream = opened(runtime, hostile.which_after, restart, start_method="forkserver")
        execution_id = stream.execute(str(gate)).get(timeout=PATIENCE)
        until(Path(f"{gate}.1").exists)
        (template,) = [process for process in host.started if "-S" not in process.args]  # type: ignore[operator]
        template.send_signal(signal.SIGKILL)
        result: Any = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert ("completed", 1) == (result.status, result.restarts)


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_more_than_a_pipe_holds_passes_both_ways(runtime: Runtime, start_method: str) -> None:
    """Several megabytes, of several executions at once."""
    stream = opened(runtime, bodies.echo, start_method=start_method)
    data = [b"x" * 3_000_000, b"y" * 2_000_000]
    runs = [stream.run(each) for each in data]
    assert data == [run.get(timeout=PATIENCE).output for run in runs]


def test_closing_ends_what_runs_waits_and_starts(gate: Path) -> None:
    """All of it at once; what was accepted is kept in the store, so nothing is told of it as ended."""
    with Runtime() as runtime:
        stream = opened(runtime, hostile.spins_deaf, warm=2)
        ids = [stream.execute(str(gate)).get(timeout=PATIENCE) for _ in range(2)]
        until(Path(f"{gate}.1").exists)
        runtime.stop(grace=0.2).get(timeout=PATIENCE)
    assert 2 == len(ids)


def test_closing_waits_for_no_template_that_has_yet_to_start() -> None:
    """Nor for the worker that it was to fork: here it would never do so. The leak check sees whether it is left."""
    host = PoorHost("nothing")
    with Runtime(host=host) as runtime:
        opened(runtime, hostile.good, warm=1)
        (template,) = until(lambda: [process for process in host.started if "-S" not in process.args])  # type: ignore[operator]
        template.send_signal(signal.SIGSTOP)
    assert -signal.SIGKILL == template.returncode


def test_a_cancel_without_grace_kills_at_once(shared: Runtime, gate: Path) -> None:
    """And is `cancelled` when it is gone."""
    stream = joined(shared, hostile.spins_deaf)
    execution_id = stream.execute(str(gate)).get(timeout=PATIENCE)
    until(Path(f"{gate}.1").exists)
    assert "cancelled" == stream.cancel_execution(execution_id, grace=0.0).get(timeout=PATIENCE).outcome


def test_a_worker_that_dies_idle_is_replaced(runtime: Runtime) -> None:
    """Nobody notices."""
    stream = opened(runtime, hostile.which, warm=1)
    first = stream.run().get(timeout=PATIENCE).output
    os.kill(first, signal.SIGKILL)
    until(lambda: first not in [worker.pid for worker in runtime.workers()])
    result: ExecutionResult = stream.run().get(timeout=PATIENCE)
    assert result.success
    assert first != result.output


def test_a_spare_that_dies_before_it_is_ready_is_started_again_later(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody waits for it; not at once, or one that cannot be started would be tried without end."""
    waited: list[int] = []
    monkeypatch.setattr(pool, "retry_seconds", lambda stillborn: waited.append(stillborn) or 0.05)
    opened(runtime, hostile.good, warm=1, start_method="spawn")
    until(lambda: [worker.pid for worker in runtime.workers() if worker.pid is not None])
    (worker,) = runtime.workers()
    assert ("starting", True) == (worker.state, worker.pid is not None)
    os.kill(worker.pid or 0, signal.SIGKILL)
    until(lambda: ["idle"] == [worker.state for worker in runtime.workers()])
    assert [1] == waited


def test_a_worker_does_not_look_for_garbage_in_what_it_has_imported(shared: Runtime) -> None:
    """Else it does."""
    assert (True, True) == joined(shared, tampering.looks_for_garbage).run().get(timeout=PATIENCE).output


@pytest.mark.parametrize("waitid", [True, False])
def test_where_the_system_does_not_tell_of_ends_they_are_looked_for(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, *, waitid: bool
) -> None:
    """As on macOS, with a newer Python and an older one."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    if not waitid:
        monkeypatch.delattr(os, "waitid", raising=False)
    stream = opened(runtime, hostile.segfaults, start_method="spawn")
    failure = stream.run().get(timeout=PATIENCE).failure
    assert failure is not None
    assert "worker_signal" == failure.code


def test_a_worker_that_talks_nonsense_on_its_line_is_killed(shared: Runtime) -> None:
    """With that as the reason."""
    failure = joined(shared, hostile.talks_nonsense).run().get(timeout=PATIENCE).failure
    assert failure is not None
    assert "worker_protocol" == failure.code


def test_what_is_printed_between_executions_is_nobodys(shared: Runtime) -> None:
    """And does no harm."""
    stream = joined(shared, hostile.prints_late)
    assert ["done", "done"] == [stream.run().get(timeout=PATIENCE).output for _ in range(2)]


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_a_worker_that_dies_before_it_reads_of_its_execution_costs_that_nothing(
    runtime: Runtime, start_method: str
) -> None:
    """It was as good as dead when it was chosen, so the execution begins on another; here one that is stopped first."""
    stream = opened(runtime, hostile.which, start_method=start_method)
    first = stream.run().get(timeout=PATIENCE).output
    until(lambda: ["idle"] == [worker.state for worker in runtime.workers()])
    os.kill(first, signal.SIGSTOP)
    until(lambda: "T" == state_of(first))
    run = stream.run()
    until(lambda: ["busy"] == [worker.state for worker in runtime.workers()])
    os.kill(first, signal.SIGKILL)
    result: ExecutionResult = run.get(timeout=PATIENCE)
    assert ("completed", 0) == (result.status, result.restarts)
    assert first != result.output


def test_a_worker_that_is_dead_already_when_it_is_chosen_costs_nothing(runtime: Runtime) -> None:
    """The runtime has not heard of it yet."""
    stream = opened(runtime, hostile.which, start_method="spawn")
    first = stream.run().get(timeout=PATIENCE).output
    until(lambda: ["idle"] == [worker.state for worker in runtime.workers()])
    deaf, released = threading.Event(), threading.Event()
    runtime._engine.process_placement._io.post(lambda: (deaf.set(), released.wait(PATIENCE)))  # type: ignore[union-attr]
    try:
        assert deaf.wait(PATIENCE)
        os.kill(first, signal.SIGKILL)
        until(lambda: is_gone(first))
        run = stream.run()
        until(lambda: ["busy"] == [worker.state for worker in runtime.workers()])
    finally:
        released.set()
    result: ExecutionResult = run.get(timeout=PATIENCE)
    assert ("completed", 0) == (result.status, result.restarts)
    assert first != result.output


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_a_memory_limit_that_the_imports_do_not_fit_in_is_told_with_the_remedy(
    runtime: Runtime, start_method: str
) -> None:
    """And not retried: no other worker would fare better."""
    from . import greedy_import

    restart = RestartPolicy(max_restarts=3)
    stream = opened(runtime, greedy_import.work, restart, memory_mb=64, start_method=start_method)
    result = stream.run(1).get(timeout=PATIENCE)
    assert result.failure is not None
    assert ("failed", "out_of_memory", 0) == (result.status, result.failure.code, result.restarts)
    assert "memory_mb" in result.failure.message


def state_of(pid: int) -> str:
    """One letter: R, S, T (stopped), ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
