"""Loops for the tests of the actor core: one without a thread, one with."""

from __future__ import annotations

from collections.abc import Iterator

import pykka
import pytest

from propolis.actors import ActorLoop, Host, default_loop
from propolis.testing import InlineLoop


@pytest.fixture(scope="session", autouse=True)
def process_loop() -> ActorLoop:
    """The loop behind `start()`, which lasts as long as the process: here before any test looks for leaks."""
    return default_loop()


@pytest.fixture
def inline() -> Iterator[InlineLoop]:
    """A loop that runs in the test's thread, on a clock held still."""
    with InlineLoop() as loop:
        yield loop


@pytest.fixture
def loop() -> Iterator[ActorLoop]:
    """A real loop with its thread."""
    loop = ActorLoop(Host(), "test-actors").start()
    yield loop
    loop.stop()


@pytest.fixture(autouse=True)
def empty_registry() -> Iterator[None]:
    """No test leaves an actor in pykka's registry."""
    yield
    left = pykka.ActorRegistry.get_all()
    pykka.ActorRegistry.stop_all()
    assert [] == left
