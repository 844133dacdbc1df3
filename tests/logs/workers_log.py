"""An executor whose module sets up logging as it is imported, as a worker process does it."""

from __future__ import annotations

import logging
import os
from typing import Any

from propolis import SyncContext, log_context

library = logging.getLogger("some.library")


def set_up() -> None:
    """Into the file that the environment names."""
    handler = logging.FileHandler(os.environ["TEST_LOG_FILE"])
    handler.setFormatter(logging.Formatter("%(message)s of %(execution_id)s in %(stream_id)s"))
    library.addHandler(handler)
    library.setLevel("INFO")
    log_context(handler)


if "TEST_LOG_FILE" in os.environ:
    set_up()


def work(ctx: SyncContext, _: Any) -> str:
    """As a library does, which knows nothing of us."""
    library.info("a word")
    return ctx.execution_id
