"""When an event loop counts as blocked, and whose code it is: the pure part."""

from __future__ import annotations

import asyncio
import sysconfig
import threading

import pytest
from propolis.actors.placements.blockage import (
    GIVEN_UP_MAX,
    LOOK_SECONDS,
    NOTICE_SECONDS,
    STACK_MAX,
    Fine,
    Frame,
    Replace,
    Report,
    Verdict,
    look,
    place_of,
)

MAIN = "the.main"
"""The module that runs the loop."""

USER = Frame("Shop.sell", "/app/shop.py", 7, "shop")
HELPER = Frame("lookup", "/app/helper.py", 3, "helper")
STANDARD = Frame("Event.wait", threading.__file__, 600, "threading")
INSTALLED = Frame("get", f"{sysconfig.get_paths()['purelib']}/http_library/api.py", 9, "http_library.api")
OURS = Frame("_AsyncioAttempt._run", "/ours/placements/asyncio.py", 50, "propolis.actors.placements.asyncio")
LOOP = Frame("Handle._run", asyncio.events.__file__, 80, "asyncio.events")
THREAD = [Frame("UserLoop._main", "/somewhere/user_loop.py", 1, MAIN), STANDARD]


@pytest.mark.parametrize(
    ("age", "reported", "limit", "given_up", "expected"),
    [
        (0.0, False, 10.0, 0, Fine()),
        (NOTICE_SECONDS - 0.001, False, 10.0, 0, Fine()),
        (NOTICE_SECONDS, False, 10.0, 0, Report()),
        (NOTICE_SECONDS, True, 10.0, 0, Fine()),
        (9.999, True, 10.0, 0, Fine()),
        (10.0, True, 10.0, 0, Replace()),
        (10.0, False, 10.0, 0, Replace()),
        (1e9, True, None, 0, Fine()),
        (1e9, False, None, 0, Report()),
        (10.0, True, 10.0, GIVEN_UP_MAX, Fine()),
        (10.0, False, 10.0, GIVEN_UP_MAX, Report()),
        (10.0, True, 10.0, GIVEN_UP_MAX - 1, Replace()),
        (0.0, False, 0.001, 0, Fine()),
        (NOTICE_SECONDS, False, 0.001, 0, Replace()),
    ],
)
def test_a_loop_is_reported_once_and_replaced_at_its_limit(
    age: float, reported: bool, limit: float | None, given_up: int, expected: Verdict
) -> None:
    """Never before it is sure, never without a limit, never when too many threads have not come back."""
    assert expected == look(age, reported=reported, limit=limit, given_up=given_up)


def test_a_blockage_is_noticed_within_250_ms() -> None:
    """It begins just after a call was answered: then the next look calls, and each one after finds no answer."""
    looks = 1
    age = 0.0
    while look(age, reported=False, limit=None, given_up=0) == Fine():
        looks += 1
        age += LOOK_SECONDS
    assert looks * LOOK_SECONDS < 0.25


@pytest.mark.parametrize(
    ("inner", "function"),
    [
        ([USER], "Shop.sell"),
        ([HELPER, USER], "lookup"),
        ([STANDARD, STANDARD, USER], "Shop.sell"),
        ([STANDARD, INSTALLED, USER], "Shop.sell"),
        ([OURS, USER], "Shop.sell"),
        ([STANDARD, INSTALLED], "get"),
        ([STANDARD], "Event.wait"),
    ],
)
@pytest.mark.parametrize("around", [[OURS], [OURS, LOOP], [LOOP], []])
def test_the_culprit_is_the_innermost_function_of_the_users(
    inner: list[Frame], function: str, around: list[Frame]
) -> None:
    """Not the standard library, nor a package that it calls; unless there is nothing else."""
    place = place_of([*inner, *around, *THREAD], MAIN)
    assert place is not None
    assert function == place.function
    assert tuple(map(str, reversed(inner))) == place.stack


@pytest.mark.parametrize("around", [[], [LOOP], [OURS, LOOP]])
def test_a_loop_that_runs_no_code_of_users_has_no_culprit(around: list[Frame]) -> None:
    """It waits, or is at its own work."""
    assert place_of([*around, *THREAD], MAIN) is None
    assert place_of(around, MAIN) is None


def test_a_stack_is_bounded_and_keeps_the_innermost_frames() -> None:
    """Outermost first, as in a traceback."""
    deep = [Frame(f"f{depth}", "/app/deep.py", depth, "deep") for depth in range(1_000)]
    place = place_of([*deep, *THREAD], MAIN)
    assert place is not None
    assert [f"/app/deep.py:{depth} in f{depth}" for depth in reversed(range(STACK_MAX))] == list(place.stack)


def test_a_path_that_is_no_text_can_be_reported() -> None:
    """Python reads file names with bytes that are no UTF-8 as lone surrogates."""
    place = place_of([Frame("f", "/app/\udcff.py", 1, "odd"), *THREAD], MAIN)
    assert place is not None
    assert "/app/\\udcff.py" == place.file
    assert {"seconds": 0.25, "replaced": True, "function": "f", "file": "/app/\\udcff.py", "line": 1} == {
        name: value for name, value in place.data(0.25, replaced=True).items() if name != "stack"
    }
