"""The public API against a plain dict, through crashes, restarts and upgrades: a state machine in a simulated world."""

from __future__ import annotations

import sys
import tempfile
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from propolis.actors.streams import recovering

from propolis import EntryPoint, NonRetryable, Runtime, Stream
from propolis.actors import Reply
from propolis.messages import ENDED
from propolis.testing import Simulation

from .test_planted_bugs import reply_before_commit
from .workload import CONFIG

WITHIN = 60.0
"""Simulated seconds in which every call has to be answered."""

VERSIONS = 3

KINDS = st.sampled_from(["return", "hold", "fail", "steps"])
ORDERS = st.fixed_dictionaries({"n": st.integers(0, 9), "what": KINDS})


async def one_more(n: int) -> int:
    """A step."""
    return n + 1


def executor(version: int) -> Any:
    """The code of one version: it does what an order says, and signs it."""

    async def fill(ctx: Any, order: dict[str, Any]) -> dict[str, Any]:
        n = order["n"]
        match order["what"]:
            case "hold" if ctx.resumed_from is None:
                while True:
                    await ctx.checkpoint("held", {"held": n})
                    await ctx.sleep(0.5)
            case "fail":
                raise NonRetryable("as ordered")
            case "steps":
                for _ in range(3):
                    n = await ctx.step("one more", one_more, n)
                    await ctx.sleep(0.2)
        return {"n": n, "version": version}

    return fill


class PublicApi(RuleBasedStateMachine):
    """Every rule is a call of a user's, or what happens to his process; the model is what he was told.

    An order says what its execution does: return at once, hold on until it is cancelled or paused, fail, or take three
    recorded steps. To whatever happens to the process they are all the same.
    """

    store: str = "memory:"

    executions: ClassVar[Bundle[str]] = Bundle("executions")
    paused: ClassVar[Bundle[str]] = Bundle("paused")

    def __init__(self) -> None:
        super().__init__()
        self.accepted: dict[str, dict[str, Any]] = {}
        self.expected: dict[str, str] = {}
        """How those have to end of which that is known. Of the others it is whatever it is, and stays."""
        self.ended: dict[str, str] = {}
        self.parked: dict[str, int] = {}
        """They wait for a version."""
        self.versions: dict[str, int] = {}
        """Under which they were accepted, or have begun."""
        self.version = 1
        self.policy: Any = "run"
        self.simulation: Simulation | None = None
        self.runtime: Runtime
        self.stream: Stream

    @property
    def world(self) -> Simulation:
        """It is there from the first rule on."""
        assert self.simulation is not None
        return self.simulation

    def told(self, reply: Reply[Any]) -> Any:
        """What a call comes to."""
        return self.world.run(reply, within=WITHIN)

    # -- processes ---------------------------------------------------------------------------------------------------

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        """A world of its own for each run."""
        self.simulation = Simulation(seed, store=self.store)
        self.simulation.__enter__()
        self.start()

    def start(self) -> None:
        """A process, and in it this version of the code."""
        self.runtime = self.world.start(CONFIG)
        self.open()

    def open(self) -> None:
        """What has begun under another version runs, waits or fails, as the entry point says."""
        failing: list[str] = []
        for execution_id, row in self.world.rows().items():
            if row.status in ENDED or self.expected.get(execution_id) == "cancelled":
                continue  # a cancel that was left for it is carried out first
            mismatch = row.attempt > 0 and self.versions[execution_id] != self.version
            if execution_id in self.parked and self.parked[execution_id] != self.version:
                continue
            self.parked.pop(execution_id, None)
            if row.attempt == 0:
                self.versions[execution_id] = self.version
            if mismatch and self.policy == "park":
                self.parked[execution_id] = self.versions[execution_id]
            elif mismatch and self.policy == "fail":
                self.expected[execution_id] = "failed"
                failing.append(execution_id)
        point = EntryPoint(id="orders", max_concurrent=2, version=str(self.version), on_version_mismatch=self.policy)
        self.stream = self.told(self.runtime.open_stream(point, executor(self.version)))
        self.world.run_until(lambda: self.is_settled(failing), WITHIN)

    def is_settled(self, failing: list[str]) -> bool:
        """Whether what is not to run under this version waits, or has failed."""
        rows = self.world.rows()
        return all(rows[id].status == "parked" for id in self.parked) and all(
            rows[id].status in ENDED for id in failing
        )

    @rule(steps=st.integers(0, 60))
    def crash(self, steps: int) -> None:
        """Somewhere in the middle of whatever goes on."""
        self.world.run_steps(steps)
        self.world.crash(self.runtime)
        self.start()

    @rule()
    def restart(self) -> None:
        """In an orderly way."""
        self.told(self.runtime.stop())
        self.start()

    @rule(version=st.integers(1, VERSIONS), policy=st.sampled_from(["run", "park", "fail"]))
    def upgrade(self, version: int, policy: str) -> None:
        """Another version of the code, or one of before, in the same process."""
        self.told(self.runtime.close_stream("orders"))
        self.version, self.policy = version, policy
        self.open()

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 3.0]))
    def let_time_pass(self, seconds: float) -> None:
        """Nothing else happens."""
        self.world.run_for(seconds)

    # -- what a user does --------------------------------------------------------------------------------------------

    def accept(self, execution_id: str, order: dict[str, Any], *, holds: bool) -> None:
        """It was acknowledged."""
        assert execution_id not in self.accepted
        self.accepted[execution_id] = order
        self.versions[execution_id] = self.version
        if not holds:
            self.expected[execution_id] = "failed" if order["what"] == "fail" else "completed"

    @rule(target=executions, order=ORDERS)
    def execute(self, order: dict[str, Any]) -> str:
        """And leave it to itself."""
        execution_id: str = self.told(self.stream.execute(order))
        self.accept(execution_id, order, holds=order["what"] == "hold")
        return execution_id

    @rule(order=ORDERS.filter(lambda order: order["what"] != "hold"))
    def run(self, order: dict[str, Any]) -> None:
        """And wait for its end."""
        result = self.told(self.stream.run(order))
        self.accept(result.execution_id, order, holds=False)
        self.check(result)

    @rule(execution_id=executions)
    def cancel(self, execution_id: str) -> None:
        """Whatever it is at."""
        outcome = self.told(self.stream.cancel_execution(execution_id))
        assert outcome.outcome != "detached", "there is nothing here that cannot be cancelled"
        if outcome.outcome == "cancelling":  # its runtime is dead, and nobody has taken it over yet
            self.expected[execution_id] = "cancelled"
            self.parked.pop(execution_id, None)
        if outcome.outcome == "cancelled":
            assert execution_id not in self.ended
            self.expected[execution_id] = self.ended[execution_id] = "cancelled"
            self.parked.pop(execution_id, None)

    @rule(target=paused, execution_id=executions)
    def pause(self, execution_id: str) -> Any:
        """At its next checkpoint, or before it begins."""
        if not self.told(self.stream.pause_execution(execution_id)):
            return multiple()
        result = self.told(self.stream.wait_for_completion(execution_id, timeout=WITHIN / 2))
        assert result is not None, f"{execution_id} was to be paused, and goes on"
        if result.status != "paused":  # it was quicker
            self.check(result)
            return multiple()
        assert execution_id not in self.ended
        self.expected[execution_id] = self.ended[execution_id] = "paused"
        self.parked.pop(execution_id, None)
        return execution_id

    @rule(target=executions, execution_id=consumes(paused))
    def resume(self, execution_id: str) -> str:
        """From where it was paused."""
        session_id = self.world.rows()[execution_id].session_id
        record = self.told(self.runtime.session(session_id))
        assert (session_id, "paused") == (record.session_id, record.status)
        resumed: str = self.told(self.stream.resume(session_id))
        order = self.accepted[execution_id]
        self.accept(resumed, order, holds=order["what"] == "hold" and record.checkpoint_node is None)
        return resumed

    # -- what he sees ------------------------------------------------------------------------------------------------

    def check(self, result: Any) -> None:
        """A result is what it has to be, and stays so."""
        execution_id, order = result.execution_id, self.accepted[result.execution_id]
        assert self.expected.get(execution_id, result.status) == result.status, result
        assert self.ended.setdefault(execution_id, result.status) == result.status, result
        if result.status == "completed":
            assert order["n"] + (3 if order["what"] == "steps" else 0) == result.output["n"]
            assert 1 <= result.output["version"] <= VERSIONS

    @rule(execution_id=executions)
    def look(self, execution_id: str) -> None:
        """How it stands."""
        context = self.told(self.stream.get_context(execution_id))
        if execution_id in self.ended:
            assert self.ended[execution_id] == context.status
        elif context.status in ENDED:
            self.check(self.told(self.stream.wait_for_completion(execution_id, timeout=5.0)))

    @invariant()
    def what_was_accepted_is_there_and_what_has_ended_has_ended(self) -> None:
        """After every rule, in the store itself."""
        if self.simulation is None:
            return
        rows = self.simulation.rows()
        assert self.accepted.keys() <= rows.keys()
        for execution_id, status in self.ended.items():
            assert status == rows[execution_id].status
        for execution_id in self.parked:
            assert "parked" == rows[execution_id].status, f"{execution_id} runs under another version"

    def teardown(self) -> None:
        """What has to end does, as it has to."""
        if self.simulation is None:
            return
        try:
            if self.simulation.world.failure is not None:
                return
            for execution_id in self.expected.keys() - self.parked.keys():
                result = self.told(self.stream.wait_for_completion(execution_id, timeout=WITHIN / 2))
                assert result is not None, f"{execution_id} ought to be {self.expected[execution_id]}, and goes on"
                self.check(result)
            stats = self.told(self.stream.get_stats())
            assert len(self.stream.active_execution_ids) == stats.active
        finally:
            self.simulation.__exit__(*sys.exc_info())


class PublicApiOnAFile(PublicApi):
    """The same on a file, which each process opens for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = f"sqlite:///{self.folder.name}/store.db"

    def teardown(self) -> None:
        """And the file goes."""
        try:
            super().teardown()
        finally:
            self.folder.cleanup()


SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
# `make test` draws the same each time, and does not look for a shorter way to a failure: that can take minutes.
SHORT = settings(deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=SLOW)

TestPublicApi = PublicApi.TestCase
TestPublicApi.settings = settings(SHORT, max_examples=10, stateful_step_count=15)
TestPublicApiOnAFile = PublicApiOnAFile.TestCase
TestPublicApiOnAFile.settings = settings(SHORT, max_examples=3, stateful_step_count=10)


@pytest.mark.chaos
def test_the_public_api_for_much_longer() -> None:
    """The same machine, seventy times as much of it."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        PublicApi,
        settings=settings(max_examples=500, stateful_step_count=30, deadline=None, suppress_health_check=SLOW),
    )


# -- it has found ----------------------------------------------------------------------------------------------------


def test_what_is_begun_under_another_version_than_it_was_accepted_under_is_of_that_one() -> None:
    """It was taken for one of the version that it was accepted under, and left to that one in the end."""
    machine = PublicApi()
    machine.begin(seed=112950)
    for _ in range(2):  # it takes two at a time
        machine.execute(order={"what": "steps", "n": 8})
    machine.upgrade(policy="run", version=3)
    late = machine.execute(order={"what": "steps", "n": 6})
    assert 0 == machine.world.rows()[late].attempt
    machine.upgrade(policy="run", version=1)
    machine.world.run_until(lambda: machine.world.rows()[late].attempt > 0, 60.0)
    machine.restart()
    machine.upgrade(policy="park", version=2)
    assert "@version:1" == machine.world.rows()[late].owner
    machine.upgrade(policy="park", version=1)
    machine.teardown()


# -- it finds what is wrong --------------------------------------------------------------------------------------------


def any_version_runs(patch: pytest.MonkeyPatch) -> None:
    """What began under another version runs under this one, whatever the entry point says."""
    patch.setattr(recovering, "version_mismatch", lambda *_: "run")


PLANTED = (reply_before_commit, pytest.param(any_version_runs, marks=pytest.mark.chaos))
"""The second one is found after a hundred runs."""


@pytest.mark.parametrize("plant", PLANTED, ids=["reply_before_commit", "any_version_runs"])
def test_it_finds_a_planted_bug(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what a user sees of it."""
    plant(monkeypatch)
    found = settings(SHORT, max_examples=200, stateful_step_count=15, database=None)
    with pytest.raises((AssertionError, KeyError, TimeoutError)):
        run_state_machine_as_test(PublicApi, settings=found)  # type: ignore[no-untyped-call]
