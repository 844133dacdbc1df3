"""`crash_at`: names that are there, and a crash at the one that is meant, once."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from propolis import EntryPoint, Runtime
from propolis.actors import CRASH_POINTS, CrashPoint, Host
from propolis.messages import InvalidInput
from propolis.testing import crash_at

ROOT = Path(__file__).parents[2]


def test_every_crash_point_stands_in_the_code_and_no_other_does() -> None:
    """A name that no code passes would be a proof of nothing."""
    passed = set()
    for path in (ROOT / "actors").rglob("*.py"):
        passed |= set(re.findall(r'\.reach\("([^"]+)"\)', path.read_text()))
    assert set(CRASH_POINTS) == passed
    assert len(CRASH_POINTS) == len(set(CRASH_POINTS))


def test_a_point_that_is_not_there_is_refused() -> None:
    """With those that are."""
    with pytest.raises(InvalidInput, match=r"commit\.before"):
        crash_at("commit.never")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("point", "skip", "dies_at"), [("accept.before", 1, 2), ("accept.before", 0, 1), ("any", 2, 3)]
)
def test_it_crashes_once_when_the_point_is_passed_so_often(point: str, skip: int, dies_at: int) -> None:
    """Whichever thread comes by."""
    crashes: list[int] = []
    passed = [0]
    host = crash_at(point, skip=skip, crash=lambda: crashes.append(passed[0]))  # type: ignore[arg-type]
    for _ in range(5):
        passed[0] += 1
        host.reach("accept.before")
        if point != "any":
            host.reach("accept.committed")
    assert [dies_at] == crashes


def test_a_runtime_on_it_passes_the_points() -> None:
    """It is a Host as any other."""
    crashes: list[str] = []
    host = crash_at("end.told", crash=lambda: crashes.append("here"))
    assert isinstance(host, Host)

    async def work(ctx: object, data: object) -> object:
        return data

    with Runtime(host=host) as runtime:
        stream = runtime.open_stream(EntryPoint(id="work"), work).get(timeout=30)
        assert 1 == stream.run(1).get(timeout=30).output
    assert ["here"] == crashes


def test_commits_that_are_made_on_the_actor_loop_pass_their_points_too() -> None:
    """In memory, where small ones are."""
    passed: set[tuple[str, str]] = set()

    class Noting(Host):
        def reach(self, name: CrashPoint) -> None:
            passed.add((name, threading.current_thread().name))

    async def work(ctx: object, data: object) -> object:
        return data

    with Runtime(host=Noting()) as runtime:
        stream = runtime.open_stream(EntryPoint(id="work"), work).get(timeout=30)
        assert 1 == stream.run(1).get(timeout=30).output
    assert {("commit.before", "propolis-actors"), ("commit.after", "propolis-actors")} <= passed
