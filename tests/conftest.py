"""What every test gets: a check that it leaves nothing behind, and Hypothesis settings for loaded machines."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from propolis.actors import Host
from propolis.testing import Leaked, no_leaks

from .processes import compile_once

# No deadline: a slow machine is no failing example. print_blob: a failing run prints what reproduces it. A third of
# the examples of Hypothesis's own default, since every run draws others.
settings.register_profile(
    "propolis",
    max_examples=30,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("propolis")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: two processes more than processors. Many tests wait more than they work: with as many processes as
    processors a fifth of the time of two processors was nobody's, with one more still a tenth.
    """
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test prints or logs may be no Unicode, on purpose, and the process that reports takes nothing else."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session", autouse=True)
def statements_are_compiled_once() -> None:
    """For all stores of a process, not for each."""
    compile_once()


@pytest.fixture(scope="session", autouse=True)
def event_loops_have_been_used() -> None:
    """Libuv opens a pipe for its signals with the first loop of a process, and keeps it: no leak of a test's."""
    Host().new_event_loop().close()


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail the test that leaves a thread, a child process, an open file handle or a pending task behind.

    Set up before the test's own fixtures and torn down after them. What wider fixtures hold was there before.
    """
    try:
        with no_leaks(grace=10.0):  # for what is ending already: only a test that fails waits so long
            yield
    except Leaked as leaked:
        pytest.fail(str(leaked), pytrace=False)
