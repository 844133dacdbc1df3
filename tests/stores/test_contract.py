"""The contract, run over every store there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from propolis.actors.stores import open_store
from propolis.actors.stores.sql import SqlStore

from .builders import StillHost
from .contract import StoreContract
from .contract_beside import BesideContract
from .contract_goals import DecisionsContract, GoalsContract
from .contract_state import StateContract
from .contract_triggers import PruningContract, TriggersContract


class WholeContract(
    StoreContract,
    BesideContract,
    StateContract,
    TriggersContract,
    PruningContract,
    GoalsContract,
    DecisionsContract,
):
    """All of it."""


class TestMemoryStore(WholeContract):
    """SQLite in memory."""

    @pytest.fixture
    def store(self) -> Iterator[SqlStore]:
        """A new store, closed afterwards."""
        store = open_store("memory:", host=StillHost())
        yield store
        store.close()


class TestFileStore(WholeContract):
    """SQLite in a file."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqlStore]:
        """A new store, closed afterwards."""
        store = open_store(f"sqlite:///{tmp_path}/store.db", host=StillHost())
        yield store
        store.close()
