"""A program that tests run in a process of its own: `python -m tests.goals.program STORE ROUNDS`.

Each round is a fork that counts for a goal, and dies by SIGKILL at a commit that moves it: before it, or behind it.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from propolis import Constraint, EntryPoint, Goal, Runtime, Stream, SuccessCriterion
from propolis.actors import Host, Store, open_store
from propolis.messages import MoveGoal

from ..triggers.program import Deadly, rounds

EACH_ROUND = 6

__all__ = ["EACH_ROUND", "GOAL", "run_round"]


def is_even(output: Any) -> bool:
    """A predicate."""
    return bool(output["n"] % 2 == 0)


GOAL = Goal(
    id="g",
    success_criteria=[SuccessCriterion(id="even", kind="predicate", check=is_even, at_least=0.5, min_observations=2)],
    constraints=[Constraint(id="tokens", kind="soft", max_latency_ms=10, weight=0.0)],
)


async def work(ctx: Any, data: Any) -> Any:
    """Decide once; every third outcome is too slow."""
    decision = await ctx.decide(intent="n", chosen=data["n"])
    await ctx.record_outcome(decision, success=True, latency_ms=20 if data["n"] % 3 == 0 else 5)
    return data


class DeadlyMove(Deadly):
    """Dies at a commit that moves a goal."""

    def __init__(self, store: Store, when: str, count: int) -> None:
        super().__init__(store, "move", when, count)
        self._is_it = lambda write: isinstance(write, MoveGoal)


def open_work(runtime: Runtime) -> Stream:
    """The stream that pursues the goal."""
    return runtime.open_stream(EntryPoint(id="work"), work, goal=GOAL).get()


def run_round(stream: Stream, round: int) -> list[Any]:
    """Have the executions of a round accepted, once however often it is asked for."""
    numbers = range(EACH_ROUND * round, EACH_ROUND * (round + 1))
    return [stream.execute({"n": n}, idempotency_key=str(n)) for n in numbers]


def one_round(store: str, round: int) -> None:
    """Count until death."""

    def opened(host: Host) -> Any:
        return DeadlyMove(open_store(store, host=host), ("before", "behind")[round % 2], 1 + round % 3)

    with Runtime(opened) as runtime:
        run_round(open_work(runtime), round)
        signal.pause()


if __name__ == "__main__":
    rounds(one_round, sys.argv[1], int(sys.argv[2]))
