"""A module that a worker cannot import: what it needs is there in the tests' own process only."""

import os
from typing import Any

if os.environ.get("PROPOLIS_TEST_MAIN") != str(os.getpid()):
    raise ImportError("not in here")


def work(ctx: Any, data: Any) -> None:
    """Never runs."""
