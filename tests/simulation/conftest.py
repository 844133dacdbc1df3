"""What every simulation needs: SQLite and libuv keep what they opened first, and that is no leak of a test's."""

from __future__ import annotations

import pytest

from propolis.testing import Simulation


@pytest.fixture(scope="session", autouse=True)
def _a_simulation_has_been_run() -> None:
    """The database in memory is made once in a process."""
    with Simulation():
        pass
